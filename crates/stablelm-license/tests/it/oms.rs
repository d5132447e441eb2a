//! Signatures: ours, and those that other programs made.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stablelm_license::oms::{
    BundleError, Difference, KeyError, Serialization, SignatureBundle, SignedManifest, SigningKey,
    VerificationKey, sign,
};

use crate::samples::sha256;

/// Made by `openssl ecparam -name prime256v1 -genkey`, for these tests alone.
const SEC1: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEICiqZv6ydZ8yhdmt+lc2lyFpjdjkIV/ElnqXTS2WIAesoAoGCCqGSM49
AwEHoUQDQgAEBIxfqClyWqPAkO+hd+pzfhi0W2J8JFPp0O8kGdG472R36GSFoR+v
08DeONhIXblO7RRWKZsDt5QTesY7hfIOAw==
-----END EC PRIVATE KEY-----
";
/// The same key by `openssl pkcs8 -topk8 -nocrypt`.
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKKpm/rJ1nzKF2a36
VzaXIWmN2OQhX8SWepdNLZYgB6yhRANCAAQEjF+oKXJao8CQ76F36nN+GLRbYnwk
U+nQ7yQZ0bjvZHfoZIWhH6/TwN442EhduU7tFFYpmwO3lBN6xjuF8g4D
-----END PRIVATE KEY-----
";
/// Its public half by `openssl ec -pubout`.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBIxfqClyWqPAkO+hd+pzfhi0W2J8
JFPp0O8kGdG472R36GSFoR+v08DeONhIXblO7RRWKZsDt5QTesY7hfIOAw==
-----END PUBLIC KEY-----
";
/// What `sha256sum` says of that file.
const PUBLIC_SHA256: &str = "f3c5de262c1f3e49fb6101d1781f9cb7f4e998ae32fb4d733c184275f3fb6802";
/// A public key on P-521.
const P521: &str = "-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAEkCHfSW+Vd7vZscxg6XaAVltZ+wc
uR90ceE3bcmBX7f5zHMjYeeIxnzHEx/oMkPBLb9R2isi1/x5+S8OU/2imYIBXV0+
iRCTLf24DZmRSdzLk9Tt49kCvTBBKzt6o9pk8s0+7zxPYq8v1bbvvA3jVEx+QJNI
q9W1VV/kmbGHg3uUnZs=
-----END PUBLIC KEY-----
";

fn key() -> SigningKey {
    SigningKey::from_pem(SEC1.as_bytes()).unwrap()
}

/// A key on P-384, from a number that is no secret.
fn other_curve() -> SigningKey {
    use p384::elliptic_curve::sec1::ToSec1Point as _;
    let secret = p384::SecretKey::from_slice(&[7; 48]).unwrap();
    assert_eq!(
        secret.public_key().to_sec1_point(false).as_bytes().len(),
        97
    );
    let pem = secret.to_sec1_pem(p384::pkcs8::LineEnding::LF).unwrap();
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

fn manifest() -> SignedManifest {
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let files = [
        ("b/x.txt", b.as_str()),
        (".git/config", &a),
        ("a.txt", &a),
        ("model.sig", &b),
    ];
    SignedManifest::of_files("folder", files, &["model.sig"])
}

fn found(files: &[(&str, &[u8])]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), sha256(bytes)))
        .collect()
}

#[test]
fn each_form_of_a_key_is_the_same_key() {
    let public = VerificationKey::from_pem(PUBLIC.as_bytes()).unwrap();
    for pem in [SEC1, PKCS8] {
        let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key.verification_key(), public);
        assert_eq!(format!("{key:?}"), "SigningKey(P-256)");
    }
    assert_eq!(public.to_pem(), PUBLIC);
    assert_eq!(public.hint(), PUBLIC_SHA256);
    assert_eq!(other_curve().verification_key().curve(), "P-384");
}

#[test]
fn what_is_no_key_is_named() {
    let private = |pem: &str| SigningKey::from_pem(pem.as_bytes()).unwrap_err();
    let public = |pem: &str| VerificationKey::from_pem(pem.as_bytes()).unwrap_err();
    assert!(matches!(private("hello"), KeyError::NoPem { .. }));
    assert!(matches!(private(PUBLIC), KeyError::WrongLabel { .. }));
    assert!(matches!(public(SEC1), KeyError::WrongLabel { .. }));
    assert!(matches!(
        public(P521),
        KeyError::Unsupported {
            found: "the curve P-521"
        }
    ));
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(private(locked), KeyError::Encrypted);
    assert!(matches!(
        private(&PKCS8.replace("BG0wawIB", "BG0wawIA")),
        KeyError::Damaged { .. }
    ));
    assert!(matches!(
        private(&PKCS8.replace('/', "!")),
        KeyError::Damaged { .. }
    ));
}

#[test]
fn what_is_signed_is_verified_on_both_curves() {
    for key in [key(), other_curve()] {
        let text = sign(&manifest(), &key);
        assert_eq!(text, sign(&manifest(), &key), "the same bytes each time");
        let bundle = SignatureBundle::parse(text.as_bytes()).unwrap();
        let signed = bundle.verify(&key.verification_key()).unwrap();
        assert_eq!(signed, manifest());
        let names: Vec<_> = signed.resources.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a.txt", "b/x.txt"]);
    }
}

#[test]
fn another_key_is_named_and_so_is_another_curve() {
    let bundle = SignatureBundle::parse(sign(&manifest(), &key()).as_bytes()).unwrap();
    let other = other_curve().verification_key();
    let error = bundle.verify(&other).unwrap_err();
    assert!(matches!(error, BundleError::OtherKey { .. }), "{error}");
    assert!(error.to_string().contains(PUBLIC_SHA256), "{error}");

    // Without a hint the signature itself has to tell.
    let mut value: Value = serde_json::from_str(&sign(&manifest(), &key())).unwrap();
    value["verificationMaterial"]["publicKey"] = json!({ "rawBytes": "" });
    let bundle = SignatureBundle::parse(value.to_string().as_bytes()).unwrap();
    assert!(bundle.verify(&key().verification_key()).is_ok());
    let error = bundle.verify(&other).unwrap_err();
    assert!(
        matches!(error, BundleError::Tampered { hinted: false }),
        "{error}"
    );

    let mut value: Value = serde_json::from_str(&sign(&manifest(), &other_curve())).unwrap();
    value["verificationMaterial"]["publicKey"] = json!({});
    let bundle = SignatureBundle::parse(value.to_string().as_bytes()).unwrap();
    let error = bundle.verify(&key().verification_key()).unwrap_err();
    assert!(
        matches!(error, BundleError::OtherCurve { curve: "P-256" }),
        "{error}"
    );
}

/// Changes the statement of a signature and returns what verifying it says.
fn tampered(change: impl FnOnce(&mut Value)) -> (BundleError, SignatureBundle) {
    let mut value: Value = serde_json::from_str(&sign(&manifest(), &key())).unwrap();
    let payload = value["dsseEnvelope"]["payload"].as_str().unwrap();
    let mut statement: Value = serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap();
    change(&mut statement);
    value["dsseEnvelope"]["payload"] = json!(STANDARD.encode(statement.to_string()));
    let bundle = SignatureBundle::parse(value.to_string().as_bytes()).unwrap();
    (
        bundle.verify(&key().verification_key()).unwrap_err(),
        bundle,
    )
}

#[test]
fn a_changed_statement_does_not_verify() {
    let (error, bundle) = tampered(|statement| {
        statement["predicate"]["resources"][0]["digest"] = json!(sha256(b"evil"));
    });
    assert!(
        matches!(error, BundleError::Tampered { hinted: true }),
        "{error}"
    );
    let error = bundle.unverified_manifest().unwrap_err();
    assert!(matches!(error, BundleError::RootDigest { .. }), "{error}");
}

#[test]
fn a_statement_we_cannot_go_on_with_says_which_field() {
    let check = |change: &dyn Fn(&mut Value), field: &str| {
        let (_, bundle) = tampered(change);
        match bundle.unverified_manifest().unwrap_err() {
            BundleError::Field { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other}"),
        }
    };
    check(
        &|it| it["predicateType"] = json!("https://other"),
        "predicateType",
    );
    check(&|it| it["_type"] = json!("x"), "_type");
    check(&|it| it["subject"] = json!([]), "subject");
    let serialization = |it: &mut Value, key: &str, value: Value| {
        it["predicate"]["serialization"][key] = value;
    };
    check(
        &|it| serialization(it, "hash_type", json!("blake3")),
        "hash_type",
    );
    check(&|it| serialization(it, "method", json!("other")), "method");
    check(
        &|it| serialization(it, "method", json!("shards")),
        "shard_size",
    );
    let name = |it: &mut Value, name: &str| it["predicate"]["resources"][0]["name"] = json!(name);
    check(&|it| name(it, "../a"), "resources.name");
    check(&|it| name(it, "b/x.txt"), "resources.name");
    check(
        &|it| it["predicate"]["resources"][0]["digest"] = json!("ABC"),
        "resources.digest",
    );
}

#[test]
fn signatures_of_other_kinds_are_refused_by_name() {
    let mut value: Value = serde_json::from_str(&sign(&manifest(), &key())).unwrap();
    value["verificationMaterial"] = json!({ "x509CertificateChain": { "certificates": [] } });
    let error = SignatureBundle::parse(value.to_string().as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it was made with a certificate, which needs a network to check; only keys are supported"
    );
}

#[test]
fn every_difference_is_named() {
    let manifest = manifest();
    assert_eq!(
        manifest.differences(&found(&[("a.txt", b"a"), ("b/x.txt", b"b")])),
        []
    );
    let found = found(&[("a.txt", b"A"), ("new", b"")]);
    let differences = manifest.differences(&found);
    assert_eq!(
        differences,
        [
            Difference::Changed {
                name: "a.txt".to_owned(),
                expected: sha256(b"a"),
                found: sha256(b"A"),
            },
            Difference::Missing {
                name: "b/x.txt".to_owned()
            },
            Difference::Extra {
                name: "new".to_owned()
            },
        ]
    );
}

#[test]
fn pieces_are_those_of_the_reference_program() {
    let mut manifest = manifest();
    manifest.serialization = Serialization::Shards { size: 4 };
    let names: Vec<String> = manifest
        .pieces([("a.txt", 9), (".git/x", 3), ("empty", 0), ("four", 4)])
        .into_iter()
        .map(|piece| piece.name)
        .collect();
    assert_eq!(names, ["a.txt:0:4", "a.txt:4:8", "a.txt:8:9", "four:0:4"]);
}

#[test]
fn a_bundle_has_the_shape_of_the_schemas() {
    // Each required field of the four schemas of version 1.0, with the constants they state.
    let value: Value = serde_json::from_str(&sign(&manifest(), &key())).unwrap();
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&value),
        ["dsseEnvelope", "mediaType", "verificationMaterial"]
    );
    let envelope = &value["dsseEnvelope"];
    assert_eq!(keys(envelope), ["payload", "payloadType", "signatures"]);
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    assert_eq!(keys(&envelope["signatures"][0]), ["keyid", "sig"]);
    let payload = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        keys(&statement),
        ["_type", "predicate", "predicateType", "subject"]
    );
    assert_eq!(
        keys(&statement["predicate"]),
        ["resources", "serialization"]
    );
    assert_eq!(
        keys(&statement["predicate"]["serialization"]),
        ["allow_symlinks", "hash_type", "ignore_paths", "method"]
    );
    let root = sha256(&[Sha256::digest(b"a"), Sha256::digest(b"b")].concat());
    assert_eq!(statement["subject"][0]["digest"]["sha256"], root);
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn oracles() -> Option<PathBuf> {
    let folder = stablelm_testkit::shared_oracles().map(|oracles| oracles.join("license"));
    if folder.is_none() {
        eprintln!("skipped: the folder of golden values is not beside the repository");
    }
    folder
}

#[test]
fn signatures_of_other_programs_are_verified() {
    let Some(folder) = oracles() else { return };
    let public =
        VerificationKey::from_pem(&fs::read(folder.join("oms/k.pub.pem")).unwrap()).unwrap();
    for name in ["model.sig", "handmade.sig"] {
        let bundle = fs::read(folder.join("oms").join(name)).unwrap();
        let bundle = SignatureBundle::parse(&bundle).unwrap();
        let manifest = bundle.verify(&public).unwrap();
        assert_eq!(manifest.name, "model", "{name}");
        let mut hashes = BTreeMap::new();
        for file in ["config.json", "model.safetensors"] {
            let bytes = fs::read(folder.join("model").join(file)).unwrap();
            hashes.insert(file.to_owned(), sha256(&bytes));
        }
        assert_eq!(manifest.differences(&hashes), [], "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = SignatureBundle::parse(&bytes);
        let _ = SigningKey::from_pem(&bytes);
        let _ = VerificationKey::from_pem(&bytes);
    }

    #[test]
    fn a_flipped_byte_never_verifies(position in 0_usize..1200, bit in 0_u32..8) {
        let mut bytes = sign(&manifest(), &key()).into_bytes();
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        if let Ok(bundle) = SignatureBundle::parse(&bytes)
            && let Ok(found) = bundle.verify(&key().verification_key())
        {
            // Some bytes are not part of what is signed, such as the optional key id.
            prop_assert_eq!(found, manifest());
        }
    }
}
