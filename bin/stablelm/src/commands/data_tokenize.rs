//! `stablelm data tokenize`

use std::io;
use std::path::Path;

use stablelm_data::{TokenizeError, TokenizeOptions, TokenizeSummary};
use stablelm_tokenizer::SpecialTokensInText;

use crate::args::{SpecialTokens, Tokenize};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::output::StagedPrefix;
use crate::settings;
use crate::ui::Ui;

pub(crate) fn run(args: &Tokenize, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let from_stdin = args.inputs.iter().any(|input| input == Path::new("-"));
    for input in args.inputs.iter().filter(|input| *input != Path::new("-")) {
        model_input::require_path(input)?;
    }
    let tokenizer = model_input::load_tokenizer(&args.tokenizer)?;
    let suffixes = ["_text_document.bin", "_text_document.idx"];
    let staged = StagedPrefix::create(&args.output, &suffixes, args.overwrite)?;
    let prefix = staged.path();
    let options = TokenizeOptions {
        inputs: &args.inputs,
        text_key: &args.text_key,
        append_eod: args.append_eod,
        special: match args.special_tokens {
            SpecialTokens::Escape => SpecialTokensInText::Escape,
            SpecialTokens::Drop => SpecialTokensInText::Drop,
            SpecialTokens::Error => SpecialTokensInText::Error,
            SpecialTokens::Encode => SpecialTokensInText::Encode,
        },
        tokenizer: &tokenizer,
        output_prefix: &prefix,
        threads: settings::threads(args.threads)?,
        memory_limit: settings::memory_limit(None)?,
    };
    let summary = if from_stdin {
        let mut stdin = io::BufReader::new(io::stdin());
        stablelm_data::tokenize(&options, Some(&mut stdin))
    } else {
        stablelm_data::tokenize(&options, None)
    };
    let mut summary = summary.map_err(|error| match error {
        TokenizeError::Row { .. } => CommandError::input(error).hint(
            "mend or remove the row; `stablelm data prepare` sets such rows aside and goes on",
        ),
        other => CommandError::input(other),
    })?;
    staged.commit()?;
    let mut name = args.output.clone().into_os_string();
    name.push("_text_document");
    summary.prefix = name.into();
    report(args, &summary, &tokenizer, ui)?;
    Ok(ExitStatus::Success)
}

fn report(
    args: &Tokenize,
    summary: &TokenizeSummary,
    tokenizer: &stablelm_tokenizer::Tokenizer,
    ui: &Ui,
) -> Result<(), CommandError> {
    if args.json.json {
        let mut value = serde_json::to_value(summary).expect("a summary is plain data");
        value["engine"] = tokenizer.engine().into();
        ui.json(&value)?;
    } else {
        let (documents, tokens) = (summary.documents, summary.tokens);
        ui.answer(&format!("{documents} documents, {tokens} tokens\n"))?;
    }
    if summary.skipped > 0 {
        ui.warn(&format!(
            "{} documents without tokens were skipped",
            summary.skipped
        ));
    }
    if args.stats {
        ui.note(&stats(summary, tokenizer.engine()));
    }
    ui.status(
        "Tokenized",
        &format!("{}.bin and .idx", summary.prefix.display()),
    );
    Ok(())
}

/// The speed of each phase in text a second, and of the whole.
fn stats(summary: &TokenizeSummary, engine: &str) -> String {
    let megabytes = summary.bytes_in as f64 / 1e6;
    let rate = |seconds: f64| megabytes / seconds.max(1e-9);
    let seconds = &summary.seconds;
    format!(
        "{megabytes:.1} MB of text · read {:.1} MB/s · parse {:.1} MB/s · encode {:.1} MB/s · write {:.1} MB/s · \
         all {:.3} s, {:.1} MB/s · engine {engine}",
        rate(seconds.read),
        rate(seconds.parse),
        rate(seconds.encode),
        rate(seconds.write),
        seconds.wall,
        rate(seconds.wall),
    )
}
