//! One run of a form of use: its operations are timed, its answers are checked.

use std::time::{Duration, Instant};

/// A form done so many times.
#[derive(Debug)]
pub struct Trial {
    n: u64,
    spent: Duration,
    wrong: usize,
}

impl Trial {
    pub(super) fn new(n: u64) -> Self {
        Self {
            n,
            spent: Duration::ZERO,
            wrong: 0,
        }
    }

    /// Times what `work` does with the number of operations; several calls add up. What is outside of it is not timed.
    pub fn time<T>(&mut self, work: impl FnOnce(u64) -> T) -> T {
        let since = Instant::now();
        let done = work(self.n);
        self.spent += since.elapsed();
        done
    }

    /// Times the drop of what was kept: a cost that operations put off is theirs too.
    pub fn drop<T>(&mut self, kept: T) {
        self.time(|_| drop(kept));
    }

    /// Holds an answer against what it has to be.
    pub fn check<T: PartialEq>(&mut self, got: T, want: T) {
        self.wrong += usize::from(got != want);
    }

    /// How many operations.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The time of all operations.
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    /// Answers that were not as they have to be.
    pub(super) fn wrong(&self) -> usize {
        self.wrong
    }
}
