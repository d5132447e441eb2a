//! One file a command: settings, one library call, output.

mod compare;
mod completions;
mod convert;
mod data_croissant;
mod data_explain;
mod data_fingerprint;
mod data_inspect;
mod data_prepare;
mod data_remove;
mod data_tokenize;
mod data_verify;
mod demo;
mod inspect;
mod license;
mod run;

use crate::args::{Command, DataCommand};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::ui::Ui;

/// Runs a command as typed.
pub(crate) fn run(command: Command, ui: &Ui) -> Result<ExitStatus, CommandError> {
    match command {
        Command::Data(data) => match data.command {
            DataCommand::Prepare(args) => data_prepare::run(&args, ui),
            DataCommand::Tokenize(args) => data_tokenize::run(&args, ui),
            DataCommand::Explain(args) => data_explain::run(&args, ui),
            DataCommand::Inspect(args) => data_inspect::run(&args, ui),
            DataCommand::Verify(args) => data_verify::run(&args, ui),
            DataCommand::Fingerprint(args) => data_fingerprint::run(&args, ui),
            DataCommand::Remove(args) => data_remove::run(&args, ui),
        },
        Command::Convert(args) => convert::run(&args, ui),
        Command::Inspect(args) => inspect::run(&args, ui),
        Command::Compare(args) => compare::run(&args, ui),
        Command::Run(args) => run::run(&args, ui),
        Command::License(args) => license::run(args.command, ui),
        Command::Demo(args) => demo::run(&args, ui),
        Command::Completions(args) => completions::run(&args, ui),
    }
}
