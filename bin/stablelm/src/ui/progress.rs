//! One progress bar, drawn from the libraries' `progress` events.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static BAR: Mutex<Option<(String, ProgressBar)>> = Mutex::new(None);

/// What a library says about how far it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) stage: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) unit: String,
}

fn bar() -> MutexGuard<'static, Option<(String, ProgressBar)>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws the bar, a new one for a new stage; the bar goes when its stage is complete.
pub(crate) fn show(progress: &Progress) {
    let mut slot = bar();
    if slot
        .as_ref()
        .is_none_or(|(stage, _)| *stage != progress.stage)
    {
        if let Some((_, old)) = slot.take() {
            old.finish_and_clear();
        }
        *slot = Some((progress.stage.clone(), new_bar(progress)));
    }
    let Some((_, bar)) = slot.as_ref() else {
        return;
    };
    bar.set_length(progress.total);
    bar.set_position(progress.done);
    if progress.total > 0 && progress.done >= progress.total {
        bar.finish_and_clear();
        *slot = None;
    }
}

/// Does something that writes to the terminal while the bar is out of the way.
pub(crate) fn hidden<T>(write: impl FnOnce() -> T) -> T {
    let current = bar().as_ref().map(|(_, bar)| bar.clone());
    match current {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn new_bar(progress: &Progress) -> ProgressBar {
    let (position, length, rate) = match progress.unit.as_str() {
        "bytes" => ("{bytes}", "{total_bytes}", "{bytes_per_sec}"),
        _ => ("{human_pos}", "{human_len}", "{per_sec}"),
    };
    let template = if progress.total == 0 {
        format!("{{prefix:>12}} {{spinner}} {position} ({rate})")
    } else {
        format!("{{prefix:>12}} [{{bar:30}}] {position}/{length} ({rate}, {{eta}} left)")
    };
    let style = ProgressStyle::with_template(&template)
        .expect("the templates above are valid")
        .progress_chars("=> ");
    let bar =
        ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr_with_hz(8));
    bar.with_style(style).with_prefix(progress.stage.clone())
}
