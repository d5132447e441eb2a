//! One file a command: settings, one library call, output.

mod bench;
mod compare;
mod completions;
mod convert;
mod convert_gguf;
mod data_croissant;
mod data_explain;
mod data_fingerprint;
mod data_inspect;
mod data_prepare;
mod data_remove;
mod data_tokenize;
mod data_verify;
mod demo;
mod eval_perplexity;
mod inspect;
mod license;
mod run;

use std::path::PathBuf;

use crate::args::{Command, DataCommand, EvalCommand};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::hub::{self, HubSettings, Wanted};
use crate::ui::Ui;

/// Runs a command as typed, after fetching what it names by hub id.
pub(crate) fn run(
    mut command: Command,
    hub: &HubSettings,
    ui: &Ui,
) -> Result<ExitStatus, CommandError> {
    for (path, wanted) in hub_paths(&mut command) {
        *path = hub::resolve(path, wanted, hub)?;
    }
    match command {
        Command::Data(data) => match data.command {
            DataCommand::Prepare(args) => data_prepare::run(&args, hub, ui),
            DataCommand::Tokenize(args) => data_tokenize::run(&args, ui),
            DataCommand::Explain(args) => data_explain::run(&args, ui),
            DataCommand::Inspect(args) => data_inspect::run(&args, ui),
            DataCommand::Verify(args) => data_verify::run(&args, hub, ui),
            DataCommand::Fingerprint(args) => data_fingerprint::run(&args, ui),
            DataCommand::Remove(args) => data_remove::run(&args, ui),
        },
        Command::Convert(args) => convert::run(&args, ui),
        Command::Inspect(args) => inspect::run(&args, ui),
        Command::Compare(args) => compare::run(&args, ui),
        Command::Run(args) => run::run(&args, ui),
        Command::Bench(args) => bench::run(&args, ui),
        Command::Eval(eval) => match eval.command {
            EvalCommand::Perplexity(args) => eval_perplexity::run(&args, ui),
        },
        Command::License(args) => license::run(args.command, ui),
        Command::Demo(args) => demo::run(&args, hub, ui),
        Command::Completions(args) => completions::run(&args, ui),
    }
}

/// Returns the models and tokenizers of a command line, each a path or a hub id.
fn hub_paths(command: &mut Command) -> Vec<(&mut PathBuf, Wanted)> {
    let models: Vec<&mut PathBuf>;
    let tokenizer: Option<&mut PathBuf>;
    match command {
        Command::Data(data) => {
            models = Vec::new();
            tokenizer = match &mut data.command {
                DataCommand::Tokenize(args) => Some(&mut args.tokenizer),
                DataCommand::Inspect(args) => args.tokenizer.as_mut(),
                _ => None,
            };
        }
        Command::Convert(args) => {
            models = vec![&mut args.input];
            tokenizer = args.tokenizer.as_mut();
        }
        Command::Inspect(args) => (models, tokenizer) = (vec![&mut args.path], None),
        Command::Compare(args) => (models, tokenizer) = (vec![&mut args.a, &mut args.b], None),
        Command::Run(args) => {
            models = vec![&mut args.model.model];
            tokenizer = args.tokenizer.as_mut();
        }
        Command::Bench(args) => (models, tokenizer) = (vec![&mut args.model.model], None),
        Command::Eval(eval) => {
            let EvalCommand::Perplexity(args) = &mut eval.command;
            models = vec![&mut args.model.model];
            tokenizer = args.tokenizer.as_mut();
        }
        _ => (models, tokenizer) = (Vec::new(), None),
    }
    let models = models.into_iter().map(|path| (path, Wanted::Model));
    let tokenizer = tokenizer.map(|path| (path, Wanted::Tokenizer));
    models.chain(tokenizer).collect()
}
