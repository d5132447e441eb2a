//! `stablelm data fingerprint`

use stablelm_data::{DEFAULT_BLOCK_LETTERS, FingerprintOptions};

use crate::args::Fingerprint;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::output::StagedPrefix;
use crate::ui::Ui;

pub(crate) fn run(args: &Fingerprint, ui: &Ui) -> Result<ExitStatus, CommandError> {
    for input in &args.inputs {
        model_input::require_path(input)?;
    }
    let staged = StagedPrefix::create(&args.output, &[""], args.overwrite)?;
    let output = staged.path();
    let summary = stablelm_data::build_fingerprints(&FingerprintOptions {
        inputs: &args.inputs,
        output: &output,
        block_letters: DEFAULT_BLOCK_LETTERS,
    })
    .map_err(CommandError::input)?;
    staged.commit()?;
    if args.json.json {
        ui.json(&summary)?;
    } else {
        ui.answer(&format!(
            "{} works, {} too short to recognize, {} bytes, sha256 {}\n",
            summary.works, summary.too_short, summary.bytes, summary.sha256
        ))?;
    }
    ui.status("Wrote", &args.output.display().to_string());
    Ok(ExitStatus::Success)
}
