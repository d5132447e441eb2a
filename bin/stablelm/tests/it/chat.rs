//! `stablelm run` with chat templates, in conversation, and with many prompts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::runner::{Runner, fixture};

/// The layout of stablelm-zephyr-3b.
const TEMPLATE: &str = "{% for message in messages %}\n\
    {{ '<|' + message.role + '|>\\n' + message.content + eos_token }}\n\
    {% endfor %}\n\
    {% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

const GREEDY: [&str; 6] = [
    "--model",
    "model",
    "--greedy",
    "--max-new-tokens",
    "12",
    "-q",
];

fn model(runner: &Runner) {
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    runner.ok(&["convert", &input, "model", "--tokenizer", &tokenizer, "-q"]);
}

fn chat_model(runner: &Runner) {
    model(runner);
    let config = json!({ "eos_token": "<|endoftext|>", "chat_template": TEMPLATE });
    runner.write("model/tokenizer_config.json", config.to_string());
}

fn run<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["run"], &GREEDY[..], options].concat()
}

/// Answers lines of JSON, in one go.
fn answers(runner: &Runner, lines: &[Value], options: &[&str]) -> Vec<Value> {
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    runner.write("prompts.jsonl", text.join("\n"));
    let output = runner.ok(&run(&[&["--prompts", "prompts.jsonl"], options].concat()));
    let lines = output.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_message_goes_into_the_template_of_the_model() {
    let runner = Runner::new();
    chat_model(&runner);
    let chat = runner.json(&run(&["--chat", "Where is the lamp?", "--json"]));
    let text = "<|user|>\nWhere is the lamp?<|endoftext|>\n<|assistant|>\n";
    let plain = runner.json(&run(&[text, "--json"]));
    assert_eq!(chat["prompt_ids"], plain["prompt_ids"]);
    assert_eq!(chat["ids"], plain["ids"]);
    let system = runner.json(&run(&["Where?", "--system", "Be brief.", "--json"]));
    let text = "<|system|>\nBe brief.<|endoftext|>\n<|user|>\nWhere?<|endoftext|>\n<|assistant|>\n";
    assert_eq!(
        system["prompt_ids"],
        runner.json(&run(&[text, "--json"]))["prompt_ids"]
    );
    runner.write(
        "other.jinja",
        "{{ messages[0].content }} said I, and{{ eos_token }}",
    );
    let other = runner.json(&run(&["No", "--chat-template", "other.jinja", "--json"]));
    let text = "No said I, and<|endoftext|>";
    assert_eq!(
        other["prompt_ids"],
        runner.json(&run(&[text, "--json"]))["prompt_ids"]
    );
}

#[test]
fn a_chat_ends_at_the_tokens_that_end_a_turn() {
    let runner = Runner::new();
    model(&runner);
    let plain = runner.json(&run(&["The keeper lit the lamp", "--json"]));
    assert_eq!(plain["finish_reason"], "length");
    // Any token of the answer will do for an end.
    let end = &plain["ids"][5];
    let tokenizer = std::fs::read(runner.path().join("model/tokenizer.json")).unwrap();
    let tokenizer: Value = serde_json::from_slice(&tokenizer).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let word = vocabulary.iter().find(|(_, id)| *id == end).unwrap().0;
    let config =
        json!({ "eos_token": { "content": word }, "chat_template": "{{ messages[0].content }}" });
    runner.write("model/tokenizer_config.json", config.to_string());
    let chat = |options: &[&str]| {
        let words = ["The keeper lit the lamp", "--chat", "--json"];
        runner.json(&run(&[&words, options].concat()))
    };
    let answer = chat(&[]);
    assert_eq!(answer["finish_reason"], "stop");
    let first = plain["ids"]
        .as_array()
        .unwrap()
        .iter()
        .position(|id| id == end)
        .unwrap();
    assert_eq!(answer["ids"].as_array().unwrap().len(), first + 1);
    assert_eq!(chat(&["--ignore-eos"])["ids"], plain["ids"]);
}

#[test]
fn a_conversation_remembers_until_it_is_told_to_forget() {
    let runner = Runner::new();
    chat_model(&runner);
    let user = |text: &str| json!({ "role": "user", "content": text });
    let alone = |messages: Value| {
        let answer = answers(&runner, &[json!({ "messages": messages })], &[]).remove(0);
        answer["text"].as_str().unwrap().to_owned()
    };
    let first = alone(json!([user("The ferry")]));
    let second = alone(json!([
        user("The ferry"),
        { "role": "assistant", "content": first },
        user("The lamp"),
    ]));
    let lamp = alone(json!([user("The lamp")]));
    let args = [
        "run",
        "--model",
        "model",
        "--greedy",
        "--max-new-tokens",
        "12",
    ];
    let typed = "The ferry\n\nThe lamp\n/what\n/reset\nThe lamp\n/exit\nThe ferry\n";
    let output = runner.output_with_stdin(&[&args[..], &["-i", "--stats"]].concat(), typed);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout, format!("{first}\n{second}\n{lamp}\n"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("There is no /what"), "{stderr}");
    // Once: after a reset, nothing is known.
    assert_eq!(stderr.matches(" known, ").count(), 1, "{stderr}");
}

#[test]
fn a_conversation_survives_a_message_that_does_not_fit() {
    let runner = Runner::new();
    chat_model(&runner);
    let long = "The keeper lit the lamp. ".repeat(100);
    let args = [
        "run",
        "--model",
        "model",
        "--greedy",
        "--max-new-tokens",
        "4",
        "-i",
    ];
    let output = runner.output_with_stdin(&args, &format!("{long}\nThe lamp\n"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("does not fit the context of 256"),
        "{stderr}"
    );
    assert!(stderr.contains("The message was not added"), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn without_a_template_each_line_is_a_prompt_of_its_own() {
    let runner = Runner::new();
    model(&runner);
    std::fs::remove_file(runner.path().join("model/tokenizer_config.json")).ok();
    let one = |prompt: &str| runner.ok(&run(&[prompt]));
    let output = runner.output_with_stdin(&run(&["-i"]), "The ferry\nThe lamp");
    let expected = one("The ferry") + &one("The lamp");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    insta::assert_snapshot!("no_chat_template", runner.snapshot(&run(&["x", "--chat"])));
}

#[test]
fn many_prompts_get_the_answers_they_would_get_alone_in_their_order() {
    let runner = Runner::new();
    chat_model(&runner);
    let lines = [
        json!({ "prompt": "The keeper lit the lamp", "id": "a" }),
        json!({ "prompt": "The keeper lit the ferry" }),
        json!({ "prompt_ids": [5, 6, 7], "id": 3 }),
        json!({ "messages": [{ "role": "user", "content": "Where?" }] }),
    ];
    let found = answers(&runner, &lines, &[]);
    let alone = [
        runner.json(&run(&["The keeper lit the lamp", "--json"])),
        runner.json(&run(&["The keeper lit the ferry", "--json"])),
        runner.json(&run(&["--prompt-ids", "5,6,7", "--json"])),
        runner.json(&run(&["--chat", "Where?", "--json"])),
    ];
    assert_eq!(found.len(), 4);
    for (number, (found, alone)) in (1..).zip(found.iter().zip(&alone)) {
        for key in [
            "prompt_ids",
            "ids",
            "text",
            "finish_reason",
            "device",
            "dtype",
            "kv_dtype",
        ] {
            assert_eq!(found[key], alone[key], "line {number}, {key}");
        }
        assert_eq!(found["line"], number);
    }
    assert_eq!((&found[0]["id"], &found[2]["id"]), (&json!("a"), &json!(3)));
    assert!(found[1].get("id").is_none());
    let piped = lines.map(|line| line.to_string()).join("\n");
    let args = run(&["--prompts", "-", "--logprobs", "2", "--json"]);
    let piped = runner.output_with_stdin(&args, &piped);
    let piped = String::from_utf8(piped.stdout).unwrap();
    let first: Value = serde_json::from_str(piped.lines().next().unwrap()).unwrap();
    assert_eq!(first["ids"], found[0]["ids"]);
    assert_eq!(first["logprobs"][0]["top"].as_array().unwrap().len(), 2);
}

#[test]
fn many_prompts_get_the_answers_they_would_get_alone_from_a_cache_of_8_bits() {
    let runner = Runner::new();
    chat_model(&runner);
    let prompts = ["The keeper lit the lamp", "The ferry", "A", "The lamp. The"];
    let lines = prompts.map(|prompt| json!({ "prompt": prompt }));
    let f8 = ["--kv-dtype", "f8", "--json", "--logprobs", "2"];
    let found = answers(&runner, &lines, &f8);
    for (found, prompt) in found.iter().zip(prompts) {
        let alone = runner.json(&run(&[&[prompt], &f8[..]].concat()));
        for key in ["ids", "logprobs", "kv_dtype"] {
            assert_eq!(found[key], alone[key], "{prompt}, {key}");
        }
        assert_eq!(found["kv_dtype"], "f8");
    }
}

#[test]
fn who_writes_a_line_may_wait_for_its_answer_before_the_next() {
    let runner = Runner::new();
    chat_model(&runner);
    let mut child = runner
        .command(&run(&["--prompts", "-"]))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut questions = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in 1..=3 {
        // The second has no answer, which is said at once as well.
        let question = ["The ferry", "The keeper lit the lamp. ", "The lamp"][line - 1];
        let question = json!({ "prompt": question.repeat([1, 100, 1][line - 1]) });
        writeln!(questions, "{question}").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["line"], line);
        assert_eq!(answer["error"].is_string(), line == 2);
    }
    drop(questions);
    assert!(answers.next().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_bad_line_is_named_and_the_others_are_answered() {
    let runner = Runner::new();
    model(&runner);
    std::fs::remove_file(runner.path().join("model/tokenizer_config.json")).ok();
    let long = "The keeper lit the lamp. ".repeat(100);
    let lines = format!(
        "{}\n{{\"prompt\": \n\n{}\n{}\n{}\n{}",
        json!({ "prompt": "The ferry" }),
        json!({ "prompt_ids": [1, 5000], "id": 9 }),
        json!({ "prompt": long }),
        json!({ "messages": [{ "role": "user", "content": "Where?" }] }),
        json!({ "prompt": "The lamp" }),
    );
    let output = runner.output_with_stdin(&run(&["--prompts", "-"]), &lines);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("4 of 6 prompts of standard input have no answer"),
        "{stderr}"
    );
    let stdout = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<u64> = found
        .iter()
        .map(|line| line["line"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 4, 5, 6, 7]);
    let errors = [
        (1, "no JSON object"),
        (2, "token 5000 at position 1"),
        (3, "context of 256"),
        (4, "no chat template"),
    ];
    for (index, expected) in errors {
        let error = found[index]["error"].as_str().unwrap();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(found[2]["id"], 9);
    assert!(found[0]["text"].is_string() && found[5]["text"].is_string());
    insta::assert_snapshot!(
        "no_prompts_file",
        runner.snapshot(&run(&["--prompts", "none.jsonl"]))
    );
}
