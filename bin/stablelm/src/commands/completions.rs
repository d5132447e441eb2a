//! `stablelm completions`

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::ui::Ui;

pub(crate) fn run(args: &Completions, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stablelm", &mut script);
    ui.answer(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
