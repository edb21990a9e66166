//! The tables of the embedded store and its open transactions.

use super::asked::Asked;
use super::collect::Garbage;
use super::collector::Collector;
use super::commit::PutDown;
use super::decision::{Decision, Verdict};
use super::ended::{End, Ended};
use super::lease::Lease;
use super::live::{Held, Live};
use super::log::{Fate, Queue};
use super::options::{MemStoreOptions, MemStoreStats};
use super::transactions::Transactions;
use crate::error::Error;
use crate::lock::{LockTable, OwnerId};
use crate::store::oracle::{LARGEST, Oracle};
use crate::store::{Begin, ForUpdate, Timestamp, TxnStatus};
use crate::sync::Mutex;
use std::sync::{Arc, Weak};
use std::time::Instant;
use untorn_memtable::Memtable;

/// The collector's name in the lock table: older than every transaction.
pub(super) const COLLECTOR: OwnerId = 0;

/// What the parts of the store share.
pub(super) struct Core {
    pub(super) oracle: Oracle,
    pub(super) live: Live,
    pub(super) newest: Memtable,
    pub(super) history: Memtable,
    pub(super) touched: Memtable,
    pub(super) transactions: Transactions,
    pub(super) ended: Ended,
    pub(super) locks: LockTable,
    pub(super) garbage: Garbage,
    pub(super) collector: Collector,
    /// What a store has that was opened in a directory.
    pub(super) log: Option<Queue>,
    pub(super) made: Instant,
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) held: Held,
    pub(super) owner: Weak<()>,
    pub(super) lease: Lease,
    pub(super) decision: Decision,
    pub(super) fate: Fate,
    pub(super) asked: Asked,
    pub(super) put_down: Mutex<PutDown>,
}

impl Open {
    /// Refuses what comes after the decision.
    pub(super) fn check_undecided(&self) -> Result<(), Error> {
        match self.decision.verdict() {
            Verdict::Undecided => Ok(()),
            Verdict::Committed(time) => Err(End::Committed(time).closed()),
            Verdict::RolledBack => Err(End::RolledBack.closed()),
        }
    }
}

/// A transaction as a request finds it.
pub(super) enum Standing {
    Open(Arc<Open>),
    Ended(End),
}

impl Core {
    pub(super) fn new(options: &MemStoreOptions, log: Option<Queue>) -> Arc<Self> {
        Arc::new_cyclic(|core| Self {
            oracle: Oracle::default(),
            live: Live::new(options.max_snapshot_age),
            newest: Memtable::new(),
            history: Memtable::new(),
            touched: Memtable::new(),
            transactions: Transactions::default(),
            ended: Ended::default(),
            locks: LockTable::new(),
            garbage: Garbage::default(),
            collector: Collector::new(Weak::clone(core)),
            log,
            made: Instant::now(),
        })
    }

    pub(super) fn stats(&self) -> MemStoreStats {
        let (newest, history) = (self.newest.stats(), self.history.stats());
        let touched = self.touched.stats();
        MemStoreStats {
            keys: newest.len,
            old_versions: history.len,
            touched: touched.len,
            bytes: newest.size + history.size + touched.size,
            open: self.live.len(),
            uncollected: self.garbage.len(),
            safe_point: self.live.safe_point(),
        }
    }

    /// The transaction if it is open, else how it ended.
    pub(super) fn standing(&self, start: Timestamp) -> Result<Standing, Error> {
        match self.transactions.find(start) {
            Some(open) => Ok(Standing::Open(open)),
            None => self.ended.of(start).map(Standing::Ended),
        }
    }

    pub(super) fn open(&self, start: Timestamp) -> Result<Arc<Open>, Error> {
        match self.standing(start)? {
            Standing::Open(open) => Ok(open),
            Standing::Ended(end) => Err(end.closed()),
        }
    }

    pub(super) fn status_of(&self, start: Timestamp) -> Result<TxnStatus, Error> {
        self.resolve(&[start]);
        Ok(match self.standing(start)? {
            Standing::Open(open) => match open.decision.verdict() {
                Verdict::Undecided => match open.fate.failure() {
                    // After the next opening of the store it is known.
                    Some(failure) => return Err(Error::store(failure)),
                    None => TxnStatus::Open,
                },
                Verdict::Committed(time) => TxnStatus::Committed(time),
                Verdict::RolledBack => TxnStatus::RolledBack,
            },
            Standing::Ended(End::Committed(time)) => TxnStatus::Committed(time),
            Standing::Ended(End::RolledBack) => TxnStatus::RolledBack,
        })
    }

    pub(super) fn enter(&self, begin: Begin) -> Result<Timestamp, Error> {
        let Begin { start_ts, owner } = begin;
        let open = |held| {
            Arc::new(Open {
                held,
                owner,
                lease: Lease::default(),
                decision: Decision::default(),
                fate: Fate::default(),
                asked: Asked::default(),
                put_down: Mutex::default(),
            })
        };
        let Some(at) = start_ts else {
            let held = self.live.hold_fresh(&self.oracle);
            self.transactions.insert(held.at, open(held));
            return Ok(held.at);
        };
        let newest = self.oracle.newest();
        let invalid = Error::InvalidTimestamp { given: at, newest };
        // What is still under way of one that has ended must not meet another of its name.
        if at == 0 || at > newest || self.ended.has(at) {
            return Err(invalid);
        }
        // The slot first: it makes sure that no other transaction of this name holds the timestamp.
        let entered = self
            .transactions
            .enter(at, || self.live.hold_given(at).map(open));
        match entered {
            Ok(true) => Ok(at),
            Ok(false) => Err(invalid),
            Err(safe_point) => Err(Error::SnapshotTooOld {
                start_ts: at,
                safe_point,
            }),
        }
    }

    /// A view at a timestamp holds that in the stripe of its number, whether it was drawn or given.
    pub(super) fn hold_view(&self, given: Option<Timestamp>) -> Result<Timestamp, Error> {
        let Some(at) = given else {
            return Ok(self.hold_view_of_now());
        };
        let newest = self.oracle.newest();
        if at == 0 || at > newest {
            return Err(Error::InvalidTimestamp { given: at, newest });
        }
        let held = self.live.hold_given(at);
        held.map(|held| held.at)
            .map_err(|safe_point| Error::SnapshotTooOld {
                start_ts: at,
                safe_point,
            })
    }

    fn hold_view_of_now(&self) -> Timestamp {
        loop {
            let drawn = self.live.hold_fresh(&self.oracle);
            let held = self.live.hold_given(drawn.at);
            self.live.release(drawn);
            // It may be too old by now, where snapshots live for a moment alone and this thread had to wait.
            if let Ok(held) = held {
                return held.at;
            }
        }
    }

    /// Forgets a transaction that is decided and resolved, but for how it ended.
    pub(super) fn leave(&self, open: &Open, end: End) {
        self.ended.note(open.held.at, end);
        self.transactions.remove(open.held.at);
        self.let_go(open.held);
        self.release_locks(open);
    }
}

/// The largest timestamp that may be asked for.
pub(super) fn in_range(at: Timestamp) -> bool {
    at < LARGEST
}

/// As of when a lock sees its key, if that is a timestamp that a transaction begun at `start` may name.
pub(super) fn for_update_ts(
    for_update: ForUpdate,
    start: Timestamp,
    newest: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    match for_update {
        ForUpdate::Fresh => Ok(None),
        ForUpdate::At(given) if given < start || given > newest => {
            Err(Error::InvalidTimestamp { given, newest })
        }
        ForUpdate::At(given) => Ok(Some(given)),
    }
}
