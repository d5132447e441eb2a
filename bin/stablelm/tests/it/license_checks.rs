//! `stablelm license lint`, `sign`, `verify` and `changes`, and what tampering they see.

use std::fs;

use serde_json::Value;

use crate::runner::{Runner, fixture};

/// Made by `openssl ecparam -name prime256v1 -genkey`, for these tests alone.
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEICiqZv6ydZ8yhdmt+lc2lyFpjdjkIV/ElnqXTS2WIAesoAoGCCqGSM49
AwEHoUQDQgAEBIxfqClyWqPAkO+hd+pzfhi0W2J8JFPp0O8kGdG472R36GSFoR+v
08DeONhIXblO7RRWKZsDt5QTesY7hfIOAw==
-----END EC PRIVATE KEY-----
";
/// Its public half.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBIxfqClyWqPAkO+hd+pzfhi0W2J8
JFPp0O8kGdG472R36GSFoR+v08DeONhIXblO7RRWKZsDt5QTesY7hfIOAw==
-----END PUBLIC KEY-----
";
/// A key of somebody else.
const OTHER: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3VUG3lfWGg3904bXjHIg8VQVObL9
f1C6i75mIY0R8KFX0dt2xNVDzovu8Ux1NgaX2IT+yGw9I0KFZSnPWzv8+w==
-----END PUBLIC KEY-----
";

/// A converted model, signed, with the keys beside it.
fn signed() -> Runner {
    let runner = Runner::new();
    runner.write("key.pem", KEY);
    runner.write("key.pub.pem", PUBLIC);
    runner.write("other.pub.pem", OTHER);
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    runner.ok(&["license", "sign", "model", "--key", "key.pem", "-q"]);
    runner
}

/// Verifies the folder, and returns exit code and answer.
fn verified(runner: &Runner, more: &[&str]) -> (i32, Value) {
    let mut args = vec!["license", "verify", "model", "--json"];
    args.extend_from_slice(more);
    let output = runner.output(&args);
    let code = output.status.code().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout);
    (code, answer.unwrap_or_else(|_| panic!("{code}: {stderr}")))
}

#[track_caller]
fn names(answer: &Value, rule: &str, file: &str) {
    let found = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|finding| finding["rule"] == rule && finding["file"] == file);
    assert!(found, "{rule} {file}: {}", answer["findings"]);
}

#[test]
fn a_signed_folder_is_in_order() {
    let runner = signed();
    let (code, answer) = verified(&runner, &["--key", "key.pub.pem"]);
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["passed"], true);
    assert_eq!(answer["signature"]["verified"], true);
    assert_eq!(
        answer["files"]["model.safetensors"]["hashed_by"][0],
        "model.sig"
    );
    // Signing again would replace the signature.
    let again = runner.output(&["license", "sign", "model", "--key", "key.pem"]);
    assert_eq!(again.status.code(), Some(3));
    let before = fs::read(runner.path().join("model/model.sig")).unwrap();
    runner.ok(&[
        "license",
        "sign",
        "model",
        "--key",
        "key.pem",
        "--overwrite",
    ]);
    assert_eq!(
        fs::read(runner.path().join("model/model.sig")).unwrap(),
        before
    );
}

#[test]
fn a_flipped_byte_of_the_weights_is_named() {
    let runner = signed();
    let file = runner.path().join("model/model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (code, answer) = verified(&runner, &["--key", "key.pub.pem"]);
    assert_eq!(code, 1);
    names(&answer, "FILE-CHANGED", "model.safetensors");
}

#[test]
fn a_removed_notice_is_named() {
    let runner = signed();
    fs::remove_file(runner.path().join("model/NOTICE")).unwrap();
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 1);
    names(&answer, "FILE-MISSING", "NOTICE");
    names(&answer, "PAPER-MISSING", "NOTICE");
}

#[test]
fn an_edited_change_record_is_named() {
    let runner = signed();
    let file = runner.path().join("model/CHANGES.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("to safetensors", "to nothing")).unwrap();
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 1);
    names(&answer, "FILE-CHANGED", "CHANGES.json");
    names(&answer, "CHANGES-CHAIN", "CHANGES.json");
    names(&answer, "CHANGES-DIFFER", "CHANGES.json");
}

#[test]
fn another_license_of_the_tokenizer_is_named() {
    let runner = signed();
    let file = runner.path().join("model/ledger.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut ledger: Value = serde_json::from_str(&text).unwrap();
    let components = ledger["components"].as_array_mut().unwrap();
    let tokenizer = components.iter_mut().find(|it| it["kind"] == "tokenizer");
    tokenizer.unwrap()["license"] = "MIT".into();
    fs::write(&file, ledger.to_string()).unwrap();
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 1);
    names(&answer, "FILE-CHANGED", "ledger.json");
    names(&answer, "TOKENIZER-LICENSE", "NOTICE");
}

#[test]
fn an_extra_file_is_named_signed_or_not() {
    let runner = signed();
    runner.write("model/eula.pdf", "no");
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 1);
    names(&answer, "FILE-EXTRA", "eula.pdf");
    fs::remove_file(runner.path().join("model/model.sig")).unwrap();
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 1);
    names(&answer, "FILE-UNACCOUNTED", "eula.pdf");
}

#[test]
fn another_key_and_a_changed_signature_are_named() {
    let runner = signed();
    let (code, answer) = verified(&runner, &["--key", "other.pub.pem"]);
    assert_eq!(code, 1);
    names(&answer, "SIGNATURE-KEY", "model/model.sig");
    assert_eq!(answer["signature"]["verified"], false);
    let file = runner.path().join("model/model.sig");
    let mut signature: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let payload = &mut signature["dsseEnvelope"]["payload"];
    let text = payload.as_str().unwrap().to_owned();
    *payload = format!("{}{}", &text[4..8], &text[4..]).into();
    fs::write(&file, signature.to_string()).unwrap();
    let (code, answer) = verified(&runner, &["--key", "key.pub.pem"]);
    assert_eq!(code, 1);
    names(&answer, "SIGNATURE-TAMPERED", "model/model.sig");
}

#[test]
fn a_document_that_does_not_read_ends_in_3() {
    let runner = signed();
    runner.write("model/ledger.json", "{");
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 3);
    assert_eq!(answer["unreadable"][0]["file"], "ledger.json");
    // So do a key and a signature that are none.
    for args in [
        ["license", "verify", "model", "--key", "model/NOTICE"],
        ["license", "verify", "model", "--signature", "gone.sig"],
        ["license", "sign", "model", "--key", "key.pub.pem"],
    ] {
        assert_eq!(runner.output(&args).status.code(), Some(3), "{args:?}");
    }
}

#[test]
fn a_change_is_appended_to_a_record_that_holds() {
    let runner = signed();
    let add = [
        "license",
        "changes",
        "model",
        "add",
        "--kind",
        "finetune",
        "--detail",
        "on our notes",
        "--tool",
        "trainer",
        "--tool-version",
        "2",
    ];
    runner.ok(&add);
    let shown = runner.json(&["license", "changes", "model", "show", "--json"]);
    let changes = shown["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2]["detail"], "on our notes");
    assert_eq!(changes[2]["tool"], "trainer");
    assert_eq!(changes[2]["previous"], changes[1]["sha256"]);
    // The notice tells it, the header can't: that is a warning.
    fs::remove_file(runner.path().join("model/model.sig")).unwrap();
    let (code, answer) = verified(&runner, &[]);
    assert_eq!(code, 0, "{answer}");
    names(&answer, "META-CHANGES-BEHIND", "model.safetensors");
    let (code, _) = verified(&runner, &["--strict"]);
    assert_eq!(code, 1);

    let file = runner.path().join("model/ledger.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("on our notes", "on nothing")).unwrap();
    let refused = runner.output(&add);
    assert_eq!(refused.status.code(), Some(1));
    let shown = runner.output(&["license", "changes", "model", "show"]);
    assert_eq!(shown.status.code(), Some(1));
}

#[test]
fn cards_are_linted_and_fixed() {
    let runner = Runner::new();
    runner.write("README.md", "---\nlicense: CC-BY-SA-4.0\n---\n# X\n");
    let failed = runner.output(&["license", "lint", "README.md", "--json"]);
    assert_eq!(failed.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(answer["errors"], 1);
    let findings = answer["files"][0]["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|it| it["rule"] == "CARD-LICENSE-ID")
        .unwrap();
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&2.into(), &10.into())
    );
    runner.ok(&["license", "lint", ".", "--fix"]);
    assert_eq!(
        fs::read_to_string(runner.path().join("README.md")).unwrap(),
        "---\nlicense: cc-by-sa-4.0\n---\n# X\n"
    );
    let strict = runner.output(&["license", "lint", "README.md", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert_eq!(
        runner.output(&["license", "lint", "gone.md"]).status.code(),
        Some(3)
    );
}
