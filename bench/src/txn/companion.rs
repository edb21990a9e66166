//! A thread that lives as long as a measurement: what a thread does for the first time, its heap and its part in the collector, is not
//! timed.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Waits when it is asked to, and answers when its wait was over.
pub(super) struct Companion {
    ask: Option<Sender<()>>,
    answers: Receiver<Instant>,
    thread: Option<JoinHandle<()>>,
}

impl Companion {
    pub(super) fn new(mut wait: impl FnMut() -> Instant + Send + 'static) -> Self {
        let (ask, asked) = channel();
        let (answer, answers) = channel();
        let thread = thread::spawn(move || {
            for () in asked {
                // Refused by one that is being dropped.
                let _ = answer.send(wait());
            }
        });
        Self {
            ask: Some(ask),
            answers,
            thread: Some(thread),
        }
    }

    pub(super) fn ask(&self) {
        if let Some(ask) = &self.ask {
            // Refused by one that panicked, which `answer` tells.
            let _ = ask.send(());
        }
    }

    /// When the wait was over.
    pub(super) fn answer(&self) -> Instant {
        self.answers.recv().expect("the companion does not panic")
    }

    pub(super) fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was told by whoever waited for its answer.
            let _ = thread.join();
        }
    }
}
