//! How far a transaction has come: one word, changed by compare-and-swap.
//!
//! Open -> committing -> committed, rolled back or undetermined; open -> rolled back. Whoever takes the word
//! out of *open* has won: of a commit and a rollback that race, the other is told at once that the transaction is
//! closed.

use crate::error::{Error, TxnState};
use crate::mutant::planted;
use crate::store::Timestamp;
use crate::sync::{AtomicU8, AtomicU64, Ordering};

const STATES: [TxnState; 5] = [
    TxnState::Open,
    TxnState::Committing,
    TxnState::Committed,
    TxnState::RolledBack,
    TxnState::Undetermined,
];

#[derive(Debug, Default)]
pub(super) struct Life {
    word: AtomicU8,
    /// Written before the word says *committed*.
    commit_ts: AtomicU64,
}

impl Life {
    pub(super) fn state(&self) -> TxnState {
        STATES[usize::from(self.word.load(Ordering::Acquire))]
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.state() {
            TxnState::Open => Ok(()),
            state => Err(Error::TransactionClosed { state }),
        }
    }

    /// Takes the word out of *open*, for one caller only.
    pub(super) fn leave_open(&self, to: TxnState) -> Result<(), Error> {
        if planted("life-left-twice") {
            self.set(to);
            return Ok(());
        }
        self.word
            .compare_exchange(
                code(TxnState::Open),
                code(to),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .map(drop)
            .map_err(|seen| Error::TransactionClosed {
                state: STATES[usize::from(seen)],
            })
    }

    /// When it was committed; only once it is.
    pub(super) fn commit_ts(&self) -> Timestamp {
        self.commit_ts.load(Ordering::Acquire)
    }

    pub(super) fn committed_at(&self, at: Timestamp) {
        self.commit_ts.store(at, Ordering::Release);
    }

    /// Moves on; only for the caller that took the word out of *open*.
    pub(super) fn set(&self, to: TxnState) {
        self.word.store(code(to), Ordering::Release);
    }
}

fn code(state: TxnState) -> u8 {
    STATES
        .iter()
        .position(|&known| known == state)
        .map_or(0, |at| at as u8)
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_one_takes_a_transaction_out_of_open() {
        let life = Life::default();
        assert!(life.check_open().is_ok());
        life.leave_open(TxnState::Committing)
            .expect("it was open until now");
        let late = life.leave_open(TxnState::RolledBack);
        assert!(matches!(
            late,
            Err(Error::TransactionClosed {
                state: TxnState::Committing
            })
        ));
        life.set(TxnState::Committed);
        assert_eq!(life.state(), TxnState::Committed);
    }
}
