//! Shows the libraries' `tracing` events: warnings always, the rest with `-v`, progress as a bar.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::progress::{self, Progress, ProgressForm};
use super::{Style, UiSettings, to_stderr};

/// The target of progress events.
const PROGRESS: &str = "progress";

/// Starts to listen. Later calls (in tests) change nothing.
pub(super) fn listen(settings: &UiSettings, style: Style) {
    let level = match (settings.quiet, settings.verbose) {
        (0, 0) | (1, _) => LevelFilter::WARN,
        (0, 1) => LevelFilter::DEBUG,
        (0, _) => LevelFilter::TRACE,
        _ => LevelFilter::ERROR,
    };
    let ours = Targets::new().with_default(if settings.verbose > 1 {
        level
    } else {
        LevelFilter::WARN.min(level)
    });
    let ours = [
        "stablelm",
        "stablelm_data",
        "stablelm_checkpoint",
        "stablelm_inference",
        "stablelm_tokenizer",
    ]
    .into_iter()
    .fold(ours, |targets, name| targets.with_target(name, level));
    let asked = settings
        .log
        .as_deref()
        .and_then(|text| text.parse::<Targets>().ok());
    let bar = match settings.progress {
        ProgressForm::Off => LevelFilter::OFF,
        ProgressForm::Bar | ProgressForm::Lines => LevelFilter::INFO,
    };
    progress::set_form(settings.progress);
    let filter = asked.unwrap_or(ours).with_target(PROGRESS, bar);
    let registry = tracing_subscriber::registry().with(Show { style }.with_filter(filter));
    // Only the first listener counts.
    drop(registry.try_init());
}

struct Show {
    style: Style,
}

impl<S: Subscriber> Layer<S> for Show {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == PROGRESS {
            let mut visitor = ProgressVisitor::default();
            event.record(&mut visitor);
            progress::show(&visitor.0);
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let level = *event.metadata().level();
        let label = match level {
            Level::ERROR => self.style.error("error:"),
            Level::WARN => self.style.warning("warning:"),
            Level::INFO => "info:".to_owned(),
            Level::DEBUG => "debug:".to_owned(),
            Level::TRACE => "trace:".to_owned(),
        };
        let fields = if line.fields.is_empty() {
            String::new()
        } else {
            format!(" ({})", line.fields)
        };
        to_stderr(&format!("{label} {}{fields}\n", line.message));
    }
}

/// An event's message and its fields as `name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.message = value.to_string();
            return;
        }
        let separator = if self.fields.is_empty() { "" } else { ", " };
        write!(self.fields, "{separator}{}={value}", field.name())
            .expect("writing to a string does not fail");
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

#[derive(Default)]
struct ProgressVisitor(Progress);

impl Visit for ProgressVisitor {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "done" => self.0.done = value,
            "total" => self.0.total = value,
            "documents" => self.0.documents = Some(value),
            "kept" => self.0.kept = Some(value),
            _ => {}
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record_u64(field, value.unsigned_abs());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "stage" => value.clone_into(&mut self.0.stage),
            "unit" => value.clone_into(&mut self.0.unit),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
