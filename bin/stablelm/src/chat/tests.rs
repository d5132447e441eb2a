//! Templates beside Jinja2, and where they are found.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn template(source: &str, special_tokens: &Value) -> ChatTemplate {
    let special_tokens = special_tokens.as_object().cloned().unwrap_or_default();
    ChatTemplate::new(PathBuf::from("chat.jinja"), source, special_tokens, now()).unwrap()
}

#[test]
fn templates_give_what_jinja2_gives() {
    let golden = stablelm_testkit::fixtures().join("chat/golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let source = golden["templates"][name].as_str().unwrap();
        let messages = case["messages"].as_array().unwrap();
        let add_generation_prompt = case["add_generation_prompt"].as_bool().unwrap();
        let found =
            template(source, &golden["special_tokens"]).render(messages, add_generation_prompt);
        match (found, case["text"].as_str()) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected, "{name}"),
            (Err(error), None) => assert_eq!(error.status().code(), 3, "{name}"),
            (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn a_template_that_objects_is_quoted_with_its_place() {
    let template = template("\n{{ raise_exception('no system role') }}", &json!({}));
    let error = template.render(&[], true).unwrap_err();
    assert_eq!(
        error.messages(),
        [
            "failed to apply the chat template of `chat.jinja`",
            "invalid operation: no system role (in chat_template:2)"
        ]
    );
}

#[test]
fn endless_templates_end() {
    let source =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}";
    assert!(template(source, &json!({})).render(&[], true).is_err());
}

#[test]
fn dates_are_those_of_the_calendar() {
    let check = |seconds: u64, format: &str, expected: &str| {
        let moment = UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(python::strftime(format, moment).unwrap(), expected);
    };
    // As `date -u -d @SECONDS` of GNU coreutils prints them.
    check(
        0,
        "%A %d %B %Y %H:%M:%S",
        "Thursday 01 January 1970 00:00:00",
    );
    check(
        951_782_399,
        "%a %d %b %Y %I:%M %p",
        "Mon 28 Feb 2000 11:59 PM",
    );
    check(951_782_400, "%Y-%m-%d", "2000-02-29");
    check(4_107_542_400, "%d.%m.%y %%", "01.03.00 %");
    check(1_709_164_800, "%Y-%m-%d %I %p", "2024-02-29 12 AM");
    assert!(python::strftime("%Q", now()).is_err());
}

fn find(folder: &Path, given: Option<&Path>) -> Result<Option<String>, CommandError> {
    let found = ChatTemplate::find(given, &[folder.to_owned()], now())?;
    found.map(|template| template.render(&[], true)).transpose()
}

#[test]
fn a_template_is_found_in_each_of_its_places() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    assert_eq!(find(folder, None).unwrap(), None);
    write("tokenizer_config.json", r#"{"eos_token": "<end>"}"#);
    assert_eq!(find(folder, None).unwrap(), None);
    let config = r#"{"eos_token": {"content": "<end>"}, "bos_token": null, "chat_template": "one{{ eos_token }}{{ bos_token }}"}"#;
    write("tokenizer_config.json", config);
    assert_eq!(find(folder, None).unwrap().unwrap(), "one<end>");
    let config = r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "two"}]}"#;
    write("tokenizer_config.json", config);
    assert_eq!(find(folder, None).unwrap().unwrap(), "two");
    write("chat_template.jinja", "three");
    assert_eq!(find(folder, None).unwrap().unwrap(), "three");
    write("mine.jinja", "mine {{ eos_token }}");
    let mine = folder.join("mine.jinja");
    assert_eq!(find(folder, Some(&mine)).unwrap().unwrap(), "mine ");
    assert!(find(folder, Some(&folder.join("none.jinja"))).is_err());
}

#[test]
fn broken_templates_say_where() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let check = |config: &str, expected: &str| {
        std::fs::write(folder.join("tokenizer_config.json"), config).unwrap();
        let error = find(folder, None).unwrap_err();
        let message = error.messages().join(": ");
        assert!(message.contains(expected), "{message}");
    };
    check("[", "tokenizer_config.json` is no JSON object");
    check(r#"{"chat_template": 7}"#, "neither a text nor a list");
    check(
        r#"{"chat_template": [{"name": "rag", "template": ""}]}"#,
        r#"templates ["rag"]"#,
    );
    check(
        r#"{"chat_template": "{% for %}"}"#,
        "holds no valid chat template",
    );
}

#[test]
fn the_assistants_turn_ends_with_the_end_of_text_and_in_chatml_with_its_mark() {
    let end = json!({"eos_token": "<|endoftext|>"});
    assert_eq!(template("plain", &end).end_tokens(), ["<|endoftext|>"]);
    assert_eq!(
        template("<|im_end|>", &end).end_tokens(),
        ["<|endoftext|>", "<|im_end|>"]
    );
    assert!(template("plain", &json!({})).end_tokens().is_empty());
}
