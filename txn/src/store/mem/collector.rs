//! The collector: a thread that is there while more is ripe than commits take along.
//!
//! What waits for a snapshot to end becomes ripe at one instant, however much it is, and a store that is only read has
//! no commit that would take it. So whoever makes a backlog ripe looks for that: a transaction or snapshot that lets go
//! of a timestamp older than the backlog, or a commit that did not come to the end of what is ripe. It starts the thread,
//! which collects step by step, each as long as a commit of that many keys, and ends when nothing is ripe any more. At
//! rest there is no thread.
//!
//! One word says whether the thread is there. Who finds that it is not sets it, and starts one; the thread takes it back
//! when it finds no more, and looks once more then. Both are exchanges: what became ripe before somebody found the thread
//! there, it sees when it looks again.

use super::collect::{Collected, STEP};
use super::core::Core;
use super::live::Held;
use crate::sync::spawn;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
pub(super) struct Collector {
    /// The store: its thread does not keep it.
    core: Weak<Core>,
    is_running: AtomicBool,
}

impl Collector {
    pub(super) fn new(core: Weak<Core>) -> Self {
        Self {
            core,
            is_running: AtomicBool::new(false),
        }
    }

    /// Whether it was at rest, and is the caller's to run now.
    fn enter(&self) -> bool {
        !self.is_running.swap(true, Ordering::AcqRel)
    }

    fn leave(&self) {
        self.is_running.swap(false, Ordering::AcqRel);
    }
}

impl Core {
    /// Lets a timestamp go.
    pub(super) fn let_go(&self, held: Held) {
        self.live.release(held);
        if self.garbage.backlog().is_some_and(|since| held.at < since) {
            self.collect_backlog();
        }
    }

    /// Has a backlog collected, if there is one and it is ripe.
    pub(super) fn collect_backlog(&self) {
        if !self.is_backlog_ripe() || !self.collector.enter() {
            return;
        }
        let core = Weak::clone(&self.collector.core);
        let started = spawn("untorn-collector", move || {
            while core.upgrade().is_some_and(|core| core.collect_step()) {
                std::thread::yield_now();
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "a backlog is left to commits");
            self.collector.leave();
        }
    }

    /// One step of the thread; whether there is another.
    fn collect_step(&self) -> bool {
        let step = self.collect_some(STEP);
        self.goes_on_after(step)
    }

    fn goes_on_after(&self, step: Collected) -> bool {
        if step.taken == STEP && !step.is_stuck() {
            return true;
        }
        self.collector.leave();
        // What is locked waits for a later commit.
        !step.is_stuck() && self.is_backlog_ripe() && self.collector.enter()
    }

    fn is_backlog_ripe(&self) -> bool {
        let since = self.garbage.backlog();
        since.is_some_and(|since| since <= self.live.advance(&self.oracle))
    }
}

#[cfg(test)]
mod tests {
    use super::super::collect::Superseded;
    use super::*;

    #[test]
    fn what_becomes_ripe_while_the_thread_is_about_to_end_is_seen_by_it() {
        let core = Core::new(&Default::default(), None);
        let held = core.live.hold_fresh(&core.oracle);
        let time = core.oracle.next();
        let superseded = |n: usize| Superseded {
            key: n.to_string().into(),
            time,
            version: true,
        };
        assert!(core.collector.enter());
        core.collect_along((0..=STEP).map(superseded), 1);
        let step = core.collect_some(STEP);
        assert_eq!(step.taken, 0);
        // Finds that the thread is there.
        core.let_go(held);
        assert!(core.goes_on_after(step));
        while core.collect_step() {}
        assert_eq!(core.garbage.len(), 0);
        assert!(core.collector.enter());
    }
}
