//! What each exit code means; the numbers are a promise to scripts.

use std::process::ExitCode;

/// How a command ended. `docs/reference/exit-codes.md` is made from this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done.
    Success,
    /// The work was done and the answer is no: checkpoints differ, a check failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A file or value given to us is missing, broken or unsupported.
    Input,
    /// Policy forbids it: Books3, license terms.
    Refused,
    /// The machine cannot do it: no such device, out of memory, disk full.
    Environment,
    /// Our bug.
    Internal,
    /// Stopped by Ctrl-C; what was printed stays.
    Interrupted,
}

impl ExitStatus {
    /// Returns the number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Refused => 4,
            Self::Environment => 5,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// Returns a sentence for the reference page.
    #[cfg(test)]
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Success => "Done. Also when the reader of our standard output went away.",
            Self::Failed => {
                "The work was done and the answer is no: checkpoints differ, a check failed."
            }
            Self::Usage => "The command line is wrong.",
            Self::Input => "A file or value given to us is missing, broken or unsupported.",
            Self::Refused => "Policy forbids it: Books3 in a recipe, license terms not met.",
            Self::Environment => {
                "The machine cannot do it: no such device, out of memory, disk full."
            }
            Self::Internal => "A bug in stablelm. Please report it.",
            Self::Interrupted => {
                "Stopped by Ctrl-C. What was printed stays; no output file appeared."
            }
        }
    }

    /// Every status, in the order of the codes.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Success,
        Self::Failed,
        Self::Usage,
        Self::Input,
        Self::Refused,
        Self::Environment,
        Self::Internal,
        Self::Interrupted,
    ];
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// Prints what the command line parser has to say (help and version are answers, not errors).
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to be done when even this cannot be written.
    drop(error.print());
    if error.use_stderr() {
        ExitStatus::Usage.into()
    } else {
        ExitStatus::Success.into()
    }
}
