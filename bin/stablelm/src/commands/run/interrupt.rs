//! Ctrl-C: ends what is being generated, and keeps what was printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit_status::ExitStatus;

/// What Ctrl-C has done, and what it is to do.
pub(super) struct Interrupt {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    asked: AtomicBool,
    /// Nothing is being generated that could be ended.
    waiting: AtomicBool,
}

impl Interrupt {
    /// Listens for Ctrl-C from now on.
    pub(super) fn listen() -> Self {
        let state = Arc::new(State::default());
        let heard = Arc::clone(&state);
        let installed = ctrlc::set_handler(move || {
            // A second Ctrl-C does not wait for the token in the making.
            if heard.asked.swap(true, Ordering::Relaxed) || heard.waiting.load(Ordering::Relaxed) {
                leave();
            }
        });
        // Without a handler, Ctrl-C ends the process at once, which is well enough.
        drop(installed);
        Self { state }
    }

    /// Returns whether to stop.
    pub(super) fn is_asked(&self) -> bool {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// From now on Ctrl-C ends an answer; one that ended the last answer is forgotten.
    pub(super) fn begin(&self) {
        self.state.waiting.store(false, Ordering::Relaxed);
        self.state.asked.store(false, Ordering::Relaxed);
    }

    /// From now on Ctrl-C ends the process.
    pub(super) fn wait_for_input(&self) {
        self.state.waiting.store(true, Ordering::Relaxed);
    }
}

#[expect(
    clippy::exit,
    reason = "a thread that waits for input or a kernel can't be asked to return"
)]
fn leave() {
    std::process::exit(ExitStatus::Interrupted.code().into());
}
