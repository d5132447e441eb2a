//! A file of prompts, a line each.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use super::interrupt::Interrupt;
use crate::error::CommandError;

/// How many lines are read before there is room for them.
const LINES_AHEAD: usize = 64;

/// How long an interrupt waits at most until it is seen.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// An opened file of prompts.
pub(super) struct PromptLines {
    reader: Box<dyn BufRead + Send>,
    /// What it is called in messages.
    pub(super) name: String,
    /// Its bytes; `None` where lines are still being written, perhaps by one who waits for answers.
    pub(super) len: Option<u64>,
}

impl PromptLines {
    /// Opens a file, or standard input where it is `-`.
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        if path == Path::new("-") {
            return Ok(Self {
                reader: Box::new(BufReader::new(io::stdin())),
                name: "standard input".to_owned(),
                len: None,
            });
        }
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        let (file, len) = open().map_err(|error: io::Error| {
            let what = format!("failed to open the prompts `{}`", path.display());
            CommandError::input(anyhow::Error::new(error).context(what))
        })?;
        Ok(Self {
            reader: Box::new(BufReader::new(file)),
            name: format!("`{}`", path.display()),
            len,
        })
    }

    /// Returns the next line with its end; nothing after the last.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, CommandError> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(len) => Ok((len > 0).then_some(line)),
            Err(error) => {
                let what = format!("failed to read {}", self.name);
                Err(CommandError::input(anyhow::Error::new(error).context(what)))
            }
        }
    }

    /// Has the lines read on a thread of their own.
    pub(super) fn read_ahead(mut self) -> io::Result<LinesAhead> {
        let can_wait = self.len.is_some();
        let (sender, lines) = sync_channel(LINES_AHEAD);
        thread::Builder::new()
            .name("prompts".to_owned())
            .spawn(move || {
                while let Some(line) = self.next().transpose() {
                    let is_last = line.is_err();
                    if sender.send(line).is_err() || is_last {
                        break;
                    }
                }
            })?;
        Ok(LinesAhead { lines, can_wait })
    }
}

/// Lines that are read while others are answered.
pub(super) struct LinesAhead {
    lines: Receiver<Result<Vec<u8>, CommandError>>,
    /// Whether the next line comes without any answer.
    can_wait: bool,
}

/// A look at whether there is another line.
pub(super) enum NextLine {
    Line(Vec<u8>),
    /// Not yet.
    Later,
    /// Never.
    End,
}

impl LinesAhead {
    /// Returns the next line if it is there, or is sure to come.
    pub(super) fn look(&self) -> Result<NextLine, CommandError> {
        let line = if self.can_wait {
            self.lines.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            self.lines.try_recv()
        };
        match line {
            Ok(line) => line.map(NextLine::Line),
            Err(TryRecvError::Empty) => Ok(NextLine::Later),
            Err(TryRecvError::Disconnected) => Ok(NextLine::End),
        }
    }

    /// Waits for the next line until an interrupt.
    pub(super) fn wait(&self, interrupt: &Interrupt) -> Result<NextLine, CommandError> {
        while !interrupt.is_asked() {
            match self.lines.recv_timeout(LOOK_UP_EVERY) {
                Ok(line) => return line.map(NextLine::Line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(NextLine::End)
    }
}
