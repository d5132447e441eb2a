//! The `stablelm` command: parse, run, report, exit.

mod args;
mod chat;
mod commands;
mod demo_files;
mod error;
mod exit_status;
mod hub;
mod model_input;
mod output;
mod papers;
#[cfg(test)]
mod reference;
mod settings;
mod stop;
mod ui;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit_status::ExitStatus;
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit_status::of_usage(&error),
    };
    let ui = Ui::new(&settings::ui(cli.global));
    let hub = settings::hub(cli.global);
    let outcome = catch_unwind(AssertUnwindSafe(|| commands::run(cli.command, &hub, &ui)));
    match outcome {
        Ok(Ok(status)) => status.into(),
        Ok(Err(error)) => {
            ui.error(&error);
            error.status().into()
        }
        // The panic's own message is on stderr already.
        Err(_) => {
            ui.internal_error();
            ExitStatus::Internal.into()
        }
    }
}
