//! `stablelm demo`: types the commands that a user would, on built-in files.

use std::fs;
use std::path::Path;
use std::time::Instant;

use clap::Parser as _;

use crate::args::{Cli, Demo};
use crate::demo_files::FILES;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::hub::HubSettings;
use crate::output::StagedDir;
use crate::ui::Ui;

pub(crate) fn run(args: &Demo, hub: &HubSettings, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let started = Instant::now();
    let staged = StagedDir::create(&args.output, args.overwrite)?;
    for (name, bytes) in FILES {
        write_input(staged.path(), name, bytes)?;
    }
    staged.commit()?;

    let out = args.output.display().to_string();
    for (title, command) in steps(&out) {
        let heading = if title.is_empty() {
            String::new()
        } else {
            format!("\n# {title}\n")
        };
        ui.answer(&format!("{heading}$ stablelm {}\n", shell_words(&command)))?;
        let words = std::iter::once("stablelm".to_owned()).chain(command);
        let cli = Cli::try_parse_from(words).expect("the demo's own command lines are valid");
        let status = super::run(cli.command, hub, ui)?;
        if status != ExitStatus::Success {
            return Ok(status);
        }
    }
    ui.answer(&format!(
        "\nDone in {:.0} s. Where to look:\n  \
         {out}/prepared/report.html  what came in, what was dropped and why, and that Books3 is out\n  \
         {out}/prepared/tokens/      indexed datasets for GPT-NeoX, each with the origin of every document\n  \
         {out}/model/                safetensors for transformers, with card, license, notice, changes and bills of materials\n  \
         {out}/NOTICE                the notice that goes with the model\n",
        started.elapsed().as_secs_f64()
    ))?;
    Ok(ExitStatus::Success)
}

/// Returns what each command shows, and its words.
fn steps(out: &str) -> Vec<(&'static str, Vec<String>)> {
    let words = |line: &[&str]| -> Vec<String> {
        line.iter().map(|word| word.replace("OUT", out)).collect()
    };
    vec![
        (
            "Raw documents become training tokens. Books3 stays out, duplicates and poor text too.",
            words(&[
                "data",
                "prepare",
                "OUT/input/data/recipe.toml",
                "--output",
                "OUT/prepared",
            ]),
        ),
        (
            "One of the documents that were kept, and where it came from.",
            words(&[
                "data",
                "inspect",
                "OUT/prepared",
                "--document",
                "0",
                "--tokenizer",
                "OUT/input/tokenizer",
            ]),
        ),
        (
            "A GPT-NeoX checkpoint, trained on such tokens and split over two ranks, becomes safetensors.",
            words(&[
                "convert",
                "OUT/input/model",
                "OUT/model",
                "--tokenizer",
                "OUT/input/tokenizer",
                "--verify",
            ]),
        ),
        (
            "Both hold the same weights.",
            words(&["compare", "OUT/input/model", "OUT/model"]),
        ),
        (
            "The model speaks.",
            words(&[
                "run",
                "--model",
                "OUT/model",
                "The keeper lit the lamp",
                "--max-new-tokens",
                "48",
                "--echo",
                "--seed",
                "7",
                "--stats",
            ]),
        ),
        (
            "The papers: what it is, under which license, and what was changed.",
            words(&["license", "show", "OUT/model"]),
        ),
        (
            "The notice that goes with every copy.",
            words(&["license", "notice", "OUT/model", "--output", "OUT/NOTICE"]),
        ),
        (
            "And how to cite it.",
            words(&["license", "cite", "OUT/model"]),
        ),
    ]
    .into_iter()
    .chain(bills(out))
    .collect()
}

/// Returns the commands that write what the model is made of, for the tools of others to read, and that check the papers.
fn bills(out: &str) -> Vec<(&'static str, Vec<String>)> {
    let bill = |title, format: &str, name: &str| {
        let subject = format!("{out}/model");
        let output = format!("{subject}{name}");
        let words = [
            "license", "bom", &subject, "--format", format, "--output", &output,
        ];
        (title, words.map(str::to_owned).to_vec())
    };
    let verify = |title, folder: &str| {
        let folder = format!("{out}/{folder}");
        let words = ["license", "verify", &folder];
        (title, words.map(str::to_owned).to_vec())
    };
    vec![
        bill(
            "What it is made of, for the tools of others: REUSE, SPDX and CycloneDX.",
            "reuse",
            "",
        ),
        bill("", "spdx3", "/bom.spdx3.json"),
        bill("", "cdx1.6", "/bom-1.6.cdx.json"),
        bill("", "cdx1.7", "/bom-1.7.cdx.json"),
        verify("All of it checked against all of it.", "model"),
        verify("", "prepared"),
    ]
}

fn write_input(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), CommandError> {
    let path = folder.join("input").join(name);
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, bytes)
    };
    write().map_err(|error| {
        CommandError::input(
            anyhow::Error::new(error).context(format!("failed to write `{}`", path.display())),
        )
    })
}

fn shell_words(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        if word.contains(' ') {
            format!("\"{word}\"")
        } else {
            word.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
