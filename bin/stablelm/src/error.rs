//! The one error type of commands: what happened, of which kind, and what to type next.

use std::error::Error;
use std::fmt;
use std::io;

use crate::exit_status::ExitStatus;

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The work was done and the answer is no.
    Failed,
    /// The command line asks for something that cannot be.
    Usage,
    /// A file or value given to us is missing, broken or unsupported.
    Input,
    /// Policy forbids it.
    Refused,
    /// The machine cannot do it.
    Environment,
    /// The reader of our standard output went away: not an error at all.
    OutputClosed,
}

/// A failure on its way to the user.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    source: anyhow::Error,
    hints: Vec<String>,
}

impl CommandError {
    /// Makes an error about something given to us, unless its cause is the machine's.
    pub(crate) fn input(source: impl Into<anyhow::Error>) -> Self {
        let source = source.into();
        let kind = machine_cause(&source).unwrap_or(Kind::Input);
        let error = Self {
            kind,
            source,
            hints: Vec::new(),
        };
        if kind == Kind::Environment {
            error.hint_for_machine()
        } else {
            error
        }
    }

    /// Makes an error that is the answer of a check.
    pub(crate) fn failed(source: impl Into<anyhow::Error>) -> Self {
        Self {
            kind: Kind::Failed,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    /// Makes an error about the command line.
    pub(crate) fn usage(source: impl Into<anyhow::Error>) -> Self {
        Self {
            kind: Kind::Usage,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    /// Makes an error about what policy forbids.
    pub(crate) fn refused(source: impl Into<anyhow::Error>) -> Self {
        Self {
            kind: Kind::Refused,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    /// Makes an error about the machine.
    pub(crate) fn environment(source: impl Into<anyhow::Error>) -> Self {
        Self {
            kind: Kind::Environment,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    /// Adds a line that says what to type.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what was being done, above the error's own message.
    pub(crate) fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.source = self.source.context(context);
        self
    }

    /// Returns the first cause of a type.
    pub(crate) fn cause<E: Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.source.chain().find_map(|cause| cause.downcast_ref())
    }

    /// Returns how the process ends.
    pub(crate) fn status(&self) -> ExitStatus {
        match self.kind {
            Kind::Failed => ExitStatus::Failed,
            Kind::Usage => ExitStatus::Usage,
            Kind::Input => ExitStatus::Input,
            Kind::Refused => ExitStatus::Refused,
            Kind::Environment => ExitStatus::Environment,
            Kind::OutputClosed => ExitStatus::Success,
        }
    }

    /// Returns whether there is nobody left to tell.
    pub(crate) fn is_output_closed(&self) -> bool {
        self.kind == Kind::OutputClosed
    }

    /// Returns the message and then its causes, each different from the one before.
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages: Vec<String> = self.source.chain().map(ToString::to_string).collect();
        messages.dedup();
        messages
    }

    /// Returns what to type.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    fn hint_for_machine(self) -> Self {
        let full = chain_io(&self.source).is_some_and(|error| is_full(error.kind()));
        if full {
            self.hint("free some space or write to another disk")
        } else {
            self
        }
    }

    /// Makes an error about our own standard output.
    pub(crate) fn stdout(error: io::Error) -> Self {
        let kind = if error.kind() == io::ErrorKind::BrokenPipe {
            Kind::OutputClosed
        } else {
            Kind::Environment
        };
        let source = anyhow::Error::new(error).context("failed to write to standard output");
        Self {
            kind,
            source,
            hints: Vec::new(),
        }
    }
}

/// Returns `Environment` when the chain of causes ends in the machine's limits.
fn machine_cause(error: &anyhow::Error) -> Option<Kind> {
    let kind = chain_io(error)?.kind();
    (is_full(kind) || kind == io::ErrorKind::OutOfMemory).then_some(Kind::Environment)
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn chain_io(error: &anyhow::Error) -> Option<&io::Error> {
    error
        .chain()
        .find_map(|cause: &(dyn Error + 'static)| cause.downcast_ref::<io::Error>())
}
