//! How far the libraries are, from their `progress` events: a bar on a terminal, else a line now and then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::to_stderr;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProgressForm {
    /// Not at all.
    #[default]
    Off,
    /// As a bar that is drawn again and again.
    Bar,
    /// As plain lines: one every ten seconds a stage, and one at its end if it took that long.
    Lines,
}

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

static SHOWN: Mutex<Shown> = Mutex::new(Shown {
    form: ProgressForm::Off,
    stage: None,
});

struct Shown {
    form: ProgressForm,
    stage: Option<Stage>,
}

/// The stage that is going on.
struct Stage {
    name: String,
    bar: Option<ProgressBar>,
    begun: Instant,
    /// What was done when we first heard of it: a run that goes on has done much before.
    first: Progress,
    /// When the last line was written.
    told: Instant,
}

/// What a library says about how far it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) stage: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) unit: String,
    /// Documents so far, and how many of them were kept.
    pub(crate) documents: Option<u64>,
    pub(crate) kept: Option<u64>,
}

/// Says how progress is to be shown.
pub(super) fn set_form(form: ProgressForm) {
    shown().form = form;
}

fn shown() -> MutexGuard<'static, Shown> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how far a stage is; what was shown of another stage goes.
pub(crate) fn show(progress: &Progress) {
    let mut shown = shown();
    let form = shown.form;
    if form == ProgressForm::Off {
        return;
    }
    if shown
        .stage
        .as_ref()
        .is_none_or(|stage| stage.name != progress.stage)
    {
        if let Some(bar) = shown.stage.take().and_then(|stage| stage.bar) {
            bar.finish_and_clear();
        }
        shown.stage = Some(Stage {
            name: progress.stage.clone(),
            bar: (form == ProgressForm::Bar).then(|| new_bar(progress)),
            begun: Instant::now(),
            first: progress.clone(),
            told: Instant::now(),
        });
    }
    let Some(stage) = shown.stage.as_mut() else {
        return;
    };
    let complete = progress.total > 0 && progress.done >= progress.total;
    if let Some(bar) = &stage.bar {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(documents(progress, stage));
        if complete {
            bar.finish_and_clear();
        }
    } else if stage.told.elapsed() >= LINE_INTERVAL
        || complete && stage.begun.elapsed() >= LINE_INTERVAL
    {
        stage.told = Instant::now();
        let line = line(progress, stage);
        if complete {
            shown.stage = None;
        }
        drop(shown);
        to_stderr(&line);
        return;
    }
    if complete {
        shown.stage = None;
    }
}

/// Does something that writes to the terminal while the bar is out of the way.
pub(crate) fn hidden<T>(write: impl FnOnce() -> T) -> T {
    let current = shown().stage.as_ref().and_then(|stage| stage.bar.clone());
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
        format!("{{prefix:>12}} {{spinner}} {position} ({rate}{{msg}})")
    } else {
        format!("{{prefix:>12}} [{{bar:30}}] {position}/{length} ({rate}{{msg}}, {{eta}} left)")
    };
    let style = ProgressStyle::with_template(&template)
        .expect("the templates above are valid")
        .progress_chars("=> ");
    let bar =
        ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr_with_hz(8));
    bar.with_style(style).with_prefix(progress.stage.clone())
}

/// Documents a second and the share of them that is kept, for stages that count documents.
fn documents(progress: &Progress, stage: &Stage) -> String {
    let (Some(documents), Some(kept)) = (progress.documents, progress.kept) else {
        return String::new();
    };
    let seconds = stage.begun.elapsed().as_secs_f64().max(1e-3);
    let since = documents.saturating_sub(stage.first.documents.unwrap_or(0));
    format!(
        ", {:.0} documents/s, {:.1} % kept",
        since as f64 / seconds,
        100.0 * kept as f64 / documents.max(1) as f64
    )
}

/// One plain line about a stage.
fn line(progress: &Progress, stage: &Stage) -> String {
    let seconds = stage.begun.elapsed().as_secs_f64().max(1e-3);
    let rate = progress.done.saturating_sub(stage.first.done) as f64 / seconds;
    let (done, total) = match progress.unit.as_str() {
        "bytes" => (
            ByteSize::b(progress.done).to_string(),
            ByteSize::b(progress.total).to_string(),
        ),
        _ => (progress.done.to_string(), progress.total.to_string()),
    };
    let speed = match progress.unit.as_str() {
        "bytes" => format!("{:.1} MB/s", rate / 1e6),
        _ => format!("{rate:.1}/s"),
    };
    let left = progress.total.saturating_sub(progress.done) as f64 / rate.max(1e-9);
    let left = if progress.total > 0 && left.is_finite() {
        format!(", {left:.0} s left")
    } else {
        String::new()
    };
    let documents = documents(progress, stage);
    format!(
        "{}: {done} of {total} ({speed}{documents}{left})\n",
        progress.stage
    )
}
