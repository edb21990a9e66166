//! The store below the modelled transactions: it answers at once, refuses keys that begin with `x`, and remembers what is
//! locked under which numbers.

use bytes::Bytes;
use loom::sync::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use untorn_txn::store::{
    Answer, Begin, Guard, LockAnswers, LockKey, LockTerms, Locked, Pairs, Prewrite, Prewritten,
    SafePoint, ScanRequest, TxnStatus,
};
use untorn_txn::{Error, Store, Timestamp, TxnState};

pub const START: Timestamp = 7;
pub const COMMITTED: Timestamp = 9;

#[derive(Default)]
pub struct ModelStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: BTreeMap<Bytes, BTreeSet<u64>>,
    /// The primary that the newest request for a key named.
    named: BTreeMap<Bytes, Bytes>,
    /// The keys of the commit, each with whether it stands under a lock.
    prewritten: Option<Vec<(Bytes, bool)>>,
    ended: Option<TxnState>,
    beats: usize,
}

impl fmt::Debug for ModelStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelStore")
    }
}

impl ModelStore {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// The keys that are locked: each under one number, and naming a primary that is locked.
    #[track_caller]
    pub fn held(&self) -> Vec<String> {
        self.with(|state| {
            let held = state
                .held
                .iter()
                .filter(|(_, attempts)| !attempts.is_empty());
            held.map(|(key, attempts)| {
                assert_eq!(attempts.len(), 1, "{key:?} is locked once");
                let primary = state.held.get(&state.named[key]);
                assert!(
                    primary.is_some_and(|attempts| !attempts.is_empty()),
                    "{key:?} names a primary that is not locked"
                );
                String::from_utf8_lossy(key).into_owned()
            })
            .collect()
        })
    }

    pub fn prewritten(&self) -> Option<Vec<(Bytes, bool)>> {
        self.with(|state| state.prewritten.clone())
    }

    pub fn ended(&self) -> Option<TxnState> {
        self.with(|state| state.ended)
    }

    pub fn beats(&self) -> usize {
        self.with(|state| state.beats)
    }

    fn end(&self, to: TxnState) -> Result<(), Error> {
        self.with(|state| {
            let ended = *state.ended.get_or_insert(to);
            state.held.clear();
            if ended == to {
                return Ok(());
            }
            Err(Error::TransactionClosed { state: ended })
        })
    }
}

impl Store for ModelStore {
    fn begin(&self, _: Begin) -> Answer<'_, Timestamp> {
        Answer::ready(Ok(START))
    }
    fn timestamp(&self) -> Answer<'_, Timestamp> {
        Answer::ready(Ok(START + 1))
    }
    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        Answer::ready(Ok(at.unwrap_or(START)))
    }
    fn let_go(&self, _: Timestamp) {}
    fn get<'a>(&'a self, _: &'a [u8], _: Timestamp) -> Answer<'a, Option<Bytes>> {
        Answer::ready(Ok(None))
    }
    fn scan<'a>(&'a self, _: &'a ScanRequest) -> Answer<'a, Pairs> {
        Answer::ready(Ok(Pairs::new()))
    }
    fn lock<'a>(
        &'a self,
        _: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        self.with(|state| {
            if let Some(ended) = state.ended {
                return Answer::ready(Err(Error::TransactionClosed { state: ended }));
            }
            let mut answers = LockAnswers::new();
            for key in keys {
                let primary = state.held.get(&terms.primary);
                assert!(
                    terms.primary == key.key || primary.is_some_and(|held| !held.is_empty()),
                    "a primary is locked as long as it is named"
                );
                if key.key.starts_with(b"x") {
                    answers.push(Err(Error::LockNotAvailable {
                        key: key.key.clone(),
                        holders: Vec::new(),
                    }));
                    break;
                }
                state
                    .held
                    .entry(key.key.clone())
                    .or_default()
                    .insert(key.attempt);
                state.named.insert(key.key.clone(), terms.primary.clone());
                answers.push(Ok(Locked {
                    locked: true,
                    for_update_ts: START + 1,
                    conflict_ts: None,
                    exists: key.absent.then_some(false),
                    value: None,
                    waited: Duration::ZERO,
                }));
            }
            Answer::ready(Ok(answers))
        })
    }
    fn unlock(&self, _: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        self.with(|state| {
            for (key, attempt) in locks {
                if let Some(attempts) = state.held.get_mut(&key) {
                    attempts.remove(&attempt);
                }
            }
        });
        Answer::ready(Ok(()))
    }
    fn stop_locking(&self, _: Timestamp) {}
    fn heartbeat(&self, _: Timestamp, _: Bytes, _: Duration) -> Answer<'_, ()> {
        self.with(|state| state.beats += 1);
        Answer::ready(Ok(()))
    }
    fn status(&self, _: Timestamp, _: Bytes) -> Answer<'_, TxnStatus> {
        Answer::ready(Ok(TxnStatus::Open))
    }
    fn prewrite<'a>(&'a self, _: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        self.with(|state| {
            let carried = request.mutations.iter();
            let carried = carried.map(|each| (each.key.clone(), each.guard == Guard::Locked));
            state.prewritten = Some(carried.collect());
        });
        Answer::ready(Ok(Prewritten::Undecided))
    }
    fn commit(&self, _: Timestamp) -> Answer<'_, Timestamp> {
        Answer::ready(self.end(TxnState::Committed).map(|()| COMMITTED))
    }
    fn rollback(&self, _: Timestamp) -> Answer<'_, ()> {
        Answer::ready(self.end(TxnState::RolledBack))
    }
    fn safe_point(&self) -> Answer<'_, SafePoint> {
        let age = Duration::ZERO;
        Answer::ready(Ok(SafePoint { at: START, age }))
    }
}
