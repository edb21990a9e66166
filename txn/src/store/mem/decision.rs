//! The decision of one transaction: a single word, decided by a single compare-and-swap.
//!
//! Bits 62 and 63 hold the state, the lower 62 a timestamp:
//!
//! | state | timestamp | may become |
//! |---|---|---|
//! | 0 undecided | a commit must be at or above it | undecided with a larger one, committed, rolled back |
//! | 1 committed | when | nothing else |
//! | 2 rolled back | none | nothing else |
//!
//! Readers raise the timestamp of an undecided word ([`Decision::observe`]), the owner decides
//! ([`Decision::commit`], [`Decision::roll_back`]). All steps are acquire and release: who sees *committed*
//! sees every write that the owner made before.

use crate::store::Timestamp;
use crate::store::oracle::{LARGEST, Oracle};
use crate::sync::{AtomicU64, Ordering};

const STATE_SHIFT: u32 = 62;
const COMMITTED: u64 = 1 << STATE_SHIFT;
const ROLLED_BACK: u64 = 2 << STATE_SHIFT;

/// What a decision word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Undecided,
    Committed(Timestamp),
    RolledBack,
}

/// The word.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    word: AtomicU64,
}

impl Decision {
    fn read(word: u64) -> Verdict {
        match word & !LARGEST {
            0 => Verdict::Undecided,
            COMMITTED => Verdict::Committed(word & LARGEST),
            _ => Verdict::RolledBack,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        Self::read(self.word.load(Ordering::Acquire))
    }

    /// The verdict for a reader at `reader`. If it is still open, it can from now on only be a commit above
    /// `reader`: the reader need not wait.
    pub(crate) fn observe(&self, reader: Timestamp) -> Verdict {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let verdict = Self::read(word);
            if verdict != Verdict::Undecided || word > reader {
                return verdict;
            }
            match self.word.compare_exchange_weak(
                word,
                reader + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Verdict::Undecided,
                Err(seen) => word = seen,
            }
        }
    }

    /// Commits at a timestamp drawn here, above every reader that was told *undecided*. If it was decided
    /// already, that verdict.
    pub(crate) fn commit(&self, oracle: &Oracle) -> Verdict {
        loop {
            let at = oracle.next();
            let mut word = self.word.load(Ordering::Acquire);
            // A reader that drew its timestamp after ours may have raised the word beyond it: draw again.
            while Self::read(word) == Verdict::Undecided && word <= at {
                match self.word.compare_exchange_weak(
                    word,
                    COMMITTED | at,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => return Verdict::Committed(at),
                    Err(seen) => word = seen,
                }
            }
            let verdict = Self::read(word);
            if verdict != Verdict::Undecided {
                return verdict;
            }
        }
    }

    /// Rolls back, unless it was decided already: the verdict afterwards.
    pub(crate) fn roll_back(&self) -> Verdict {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let verdict = Self::read(word);
            if verdict != Verdict::Undecided {
                return verdict;
            }
            match self.word.compare_exchange_weak(
                word,
                ROLLED_BACK,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Verdict::RolledBack,
                Err(seen) => word = seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_stands_above_every_reader_that_was_told_undecided() {
        let oracle = Oracle::default();
        let decision = Decision::default();
        let reader = oracle.next() + (1 << 20);
        assert_eq!(decision.observe(reader), Verdict::Undecided);
        // The oracle stands below the reader: drawing goes on until it is above.
        let Verdict::Committed(at) = decision.commit(&oracle) else {
            panic!("nobody else decides");
        };
        assert!(at > reader);
        assert_eq!(decision.observe(u64::MAX >> 2), Verdict::Committed(at));
        assert_eq!(decision.roll_back(), Verdict::Committed(at));
    }

    #[test]
    fn of_a_racing_commit_and_rollback_one_wins() {
        for _ in 0..200 {
            let oracle = Oracle::default();
            let decision = Decision::default();
            let (committed, rolled_back) = std::thread::scope(|scope| {
                let other = scope.spawn(|| decision.roll_back());
                (decision.commit(&oracle), other.join().expect("no panic"))
            });
            assert_eq!(committed, rolled_back);
            assert_eq!(committed, decision.verdict());
        }
    }
}
