//! The transactions that were begun here, and what is known of each.
//!
//! A cluster knows locks, not transactions. What [`Store`](crate::Store) promises of one, that it takes nothing after its end, that an
//! attempt which was given back is refused, that an unlock comes before the next lock, is kept here, by this process
//! for the transactions that it began. One mutex for each:
//!
//! - `held`: keys that were granted and told, each with the attempts to which that was;
//! - `asking`: keys that are asked for right now, by attempt. Whoever asks is a task that runs to its end, also if
//!   nobody waits for it any more, so that what it gets is always either held or given back;
//! - `returning`: keys whose give-back is not answered. A lock request for one waits until it is;
//! - `put_down`: what a prewrite was sent for, noted before it is sent.
//!
//! The end of a transaction is decided under `decision`, an async mutex: of a commit and a rollback at once
//! one waits for what the other comes to.

use super::ended::{End, Ended};
use crate::error::Error;
use crate::lock::LockMode;
use crate::store::attempts::Attempts;
use crate::store::{COUNTER_BITS, LockKey, Timestamp, TxnStatus, lock};
use bytes::Bytes;
use dashmap::DashMap;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// All transactions of this store.
#[derive(Debug, Default)]
pub(super) struct Registry {
    open: DashMap<Timestamp, Arc<Open>>,
    ended: Ended,
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) start: Timestamp,
    /// How old it was when it was begun here: time to live counts from the start timestamp.
    age: Duration,
    begun: Instant,
    known: Mutex<Known>,
    /// Something of `known` was settled that somebody may wait for.
    changed: Notify,
    pub(super) decision: AsyncMutex<Decision>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    /// It asks for no more locks.
    pub(super) is_closed: bool,
    is_ended: bool,
    pub(super) primary: Option<Bytes>,
    pub(super) held: HashMap<Bytes, Held>,
    pub(super) asking: HashMap<Bytes, HashSet<u64>>,
    pub(super) returning: HashMap<Bytes, Held>,
    /// Keys of which a request was not answered or is withdrawn, so that it may come late and be granted.
    late: BTreeSet<Bytes>,
    /// There was one.
    may_be_late: bool,
    given_back: Attempts,
    /// Keys that nobody wants of whom they were granted to, while another attempt asks for them still.
    suspect: HashSet<Bytes>,
    /// The largest timestamp as of which any key was asked for.
    pub(super) for_update_ts: Timestamp,
    /// A forced lock may stand of which nobody was told, at any timestamp until now.
    pub(super) may_be_forced: bool,
    pub(super) put_down: BTreeSet<Bytes>,
    /// The first and the last key that was flushed; of those only the primary is in `put_down`.
    pub(super) flushed: Option<(Bytes, Bytes)>,
    /// Until when nobody takes it for dead, if the primary was put down and the clocks of the cluster go on as here.
    pub(super) alive_until: Option<Instant>,
    /// As of when what is trusted was put down.
    pub(super) trusted_at: Option<Timestamp>,
    /// A prewrite was sent, and this is the least commit timestamp that it asked for.
    pub(super) prewritten_from: Option<Timestamp>,
    /// A copy of a prewrite that may decide was not answered.
    pub(super) may_be_decided: bool,
    /// It may have been committed by a copy of a prewrite of one phase, though a later one was not of one phase.
    pub(super) may_be_one_phase: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Held {
    /// To whom it was granted: the lock, which is one, goes back with the last of them.
    pub(super) attempts: Vec<u64>,
    pub(super) mode: LockMode,
    pub(super) for_update_ts: Timestamp,
    pub(super) is_forced: bool,
}

/// How far the end of a transaction has come.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// The timestamp of a commit that was sent and not refused.
    pub(super) candidate: Option<Timestamp>,
    pub(super) end: Option<End>,
}

impl Registry {
    /// Enters a transaction; refused where one of this name is open or has ended.
    pub(super) fn enter(&self, start: Timestamp, newest: Timestamp) -> Result<(), Error> {
        let invalid = Error::InvalidTimestamp {
            given: start,
            newest,
        };
        // What is still under way of one that has ended must not meet another of its name.
        if start == 0 || start > newest || self.ended.of(start).is_some() {
            return Err(invalid);
        }
        let mut is_vacant = false;
        self.open.entry(start).or_insert_with(|| {
            is_vacant = true;
            let age = (newest >> COUNTER_BITS).saturating_sub(start >> COUNTER_BITS);
            Arc::new(Open {
                start,
                age: Duration::from_millis(age),
                begun: Instant::now(),
                known: Mutex::default(),
                changed: Notify::new(),
                decision: AsyncMutex::default(),
            })
        });
        is_vacant.then_some(()).ok_or(invalid)
    }

    /// The transaction, if it is open; else how it ended. One that was never begun here is rolled back.
    pub(super) fn open(&self, start: Timestamp) -> Result<Arc<Open>, Error> {
        match self.open.view(&start, |_, open| Arc::clone(open)) {
            Some(open) => Ok(open),
            None => Err(self
                .ended
                .of(start)
                .map_or_else(|| self.ended.unknown(start), End::closed)),
        }
    }

    /// How a transaction ended that was begun here.
    pub(super) fn end_of(&self, start: Timestamp) -> Option<End> {
        self.ended.of(start)
    }

    /// Forgets a transaction but for how it ended.
    pub(super) fn end(&self, open: &Open, end: End) {
        self.ended.note(open.start, end);
        open.known(|known| (known.is_closed, known.is_ended) = (true, true));
        self.open.remove(&open.start);
        open.changed.notify_waiters();
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }
}

impl Open {
    pub(super) fn known<T>(&self, run: impl FnOnce(&mut Known) -> T) -> T {
        run(&mut lock(&self.known))
    }

    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until something that is looked for is so.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut Known) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before the look: what changes after it is not missed.
            changed.as_mut().enable();
            if let Some(seen) = self.known(&mut look) {
                return seen;
            }
            changed.await;
        }
    }

    /// A time to live from now on, in milliseconds from the start timestamp on.
    pub(super) fn ttl_ms(&self, ttl: Duration) -> u64 {
        // Whoever meets the lock adds it to the time of the start timestamp, without a look at overflow.
        const LONGEST: u64 = Timestamp::MAX >> COUNTER_BITS;
        let whole = ttl.saturating_add(self.age + self.begun.elapsed());
        u64::try_from(whole.as_millis()).map_or(LONGEST, |whole| whole.min(LONGEST))
    }
}

impl Known {
    /// Notes that an attempt was given back.
    pub(super) fn give_back(&mut self, attempt: u64) {
        self.given_back.insert(attempt);
    }

    /// Keys with their attempts, but for those that the same attempt holds.
    pub(super) fn not_held_by_attempt(&self, keys: &[LockKey]) -> Vec<(Bytes, u64)> {
        let keys = keys
            .iter()
            .filter(|key| !self.is_held_by(&key.key, key.attempt));
        keys.map(|key| (key.key.clone(), key.attempt)).collect()
    }

    fn is_held_by(&self, key: &Bytes, attempt: u64) -> bool {
        let held = self.held.get(key);
        held.is_some_and(|held| held.attempts.contains(&attempt))
    }

    /// Takes an attempt off a key that it holds; one that no other holds is returning then.
    pub(super) fn let_go(&mut self, key: &Bytes, attempt: u64) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        if held.attempts != [attempt] {
            return held.attempts.retain(|other| *other != attempt);
        }
        if let Some(held) = self.held.remove(key) {
            self.returning.insert(key.clone(), held);
        }
    }

    /// What an attempt has let go of and is not back yet.
    pub(super) fn returning_from(&self, key: &Bytes, attempt: u64) -> Option<&Held> {
        let returning = self.returning.get(key);
        returning.filter(|held| held.attempts.contains(&attempt))
    }

    pub(super) fn is_returning(&self, key: &Bytes, held: &Held) -> bool {
        let returning = self.returning.get(key);
        returning.is_some_and(|returning| returning.attempts == held.attempts)
    }

    pub(super) fn is_given_back(&self, attempt: u64) -> bool {
        self.given_back.contains(attempt)
    }

    pub(super) fn is_asking(&self, key: &Bytes, attempt: u64) -> bool {
        self.asking
            .get(key)
            .is_some_and(|attempts| attempts.contains(&attempt))
    }

    pub(super) fn asks(&mut self, key: &Bytes, attempt: u64) {
        self.asking.entry(key.clone()).or_default().insert(attempt);
    }

    fn has_asked(&mut self, key: &Bytes, attempt: u64) {
        if let Some(attempts) = self.asking.get_mut(key) {
            attempts.remove(&attempt);
            if attempts.is_empty() {
                self.asking.remove(key);
            }
        }
    }

    /// An attempt is answered; `may_hold` is whether the cluster may hold the lock, `is_wanted` whether somebody is told of
    /// it. Says whether the lock is nobody's and has to go back: it is `returning` then.
    pub(super) fn answered(
        &mut self,
        LockKey { key, attempt, .. }: &LockKey,
        may_hold: bool,
        is_wanted: bool,
        held: Held,
    ) -> bool {
        self.has_asked(key, *attempt);
        if is_wanted {
            self.suspect.remove(key);
            let at = held.for_update_ts;
            let held = self.held.entry(key.clone()).or_insert(held);
            held.for_update_ts = held.for_update_ts.max(at);
            if !held.attempts.contains(attempt) {
                held.attempts.push(*attempt);
            }
            return false;
        }
        if self.held.contains_key(key) {
            return false;
        }
        if self.asking.contains_key(key) {
            // Who asks for it still will know what to do with it.
            if may_hold {
                self.suspect.insert(key.clone());
            }
            return false;
        }
        let goes_back = self.suspect.remove(key) || may_hold;
        if goes_back {
            self.returning.insert(key.clone(), held);
        }
        goes_back
    }

    /// Notes that requests for keys may come late. A forced one stands as late as it was granted.
    pub(super) fn may_come_late(&mut self, keys: impl IntoIterator<Item = Bytes>, is_forced: bool) {
        self.may_be_forced |= is_forced;
        self.may_be_late = true;
        self.late.extend(keys);
    }

    /// The keys for which a request may come late, and that nobody wants now. They are told once.
    pub(super) fn unwanted_late(&mut self) -> BTreeSet<Bytes> {
        let late = std::mem::take(&mut self.late);
        let (unwanted, wanted) = late.into_iter().partition(|key| self.is_unwanted(key));
        self.late = wanted;
        unwanted
    }

    /// Of such keys those that are still unwanted are returning from now on, with what goes back. The others may come late still;
    /// those that return by another way have nothing to come.
    pub(super) fn return_late(&mut self, mut keys: BTreeSet<Bytes>) -> Vec<(Bytes, Held)> {
        keys.retain(|key| !self.returning.contains_key(key));
        let (unwanted, wanted): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| self.is_unwanted(key));
        self.late.extend(wanted);
        let nobody = Held {
            attempts: Vec::new(),
            mode: LockMode::Exclusive,
            for_update_ts: self.for_update_ts,
            is_forced: self.may_be_forced,
        };
        let back: Vec<_> = unwanted
            .into_iter()
            .map(|key| (key, nobody.clone()))
            .collect();
        self.returning.extend(back.iter().cloned());
        back
    }

    /// Those of what returns that were not answered, and will not be, may come late still.
    pub(super) fn leave(&mut self, back: &[(Bytes, Held)]) {
        for (key, held) in back {
            if self.is_returning(key, held) {
                self.returning.remove(key);
                self.late.insert(key.clone());
            }
        }
    }

    /// Neither held nor asked for, nor written. A request that comes late to what was written finds that; but a forced one is granted
    /// all the same. After the end nothing is held.
    fn is_unwanted(&self, key: &Bytes) -> bool {
        let is_held = self.held.contains_key(key) && !self.is_ended;
        let is_written = self.put_down.contains(key) && !(self.is_ended && self.may_be_forced);
        !is_held && !is_written && !self.asking.contains_key(key)
    }

    /// Whether nothing is held, or may be, that was not put down.
    pub(super) fn is_all_put_down(&self) -> bool {
        let held = self.held.keys().chain(self.returning.keys());
        let mut may_be_held = held.chain(self.asking.keys());
        may_be_held.all(|key| self.put_down.contains(key))
    }

    /// Everything that is held without having been written is returning from now on: the transaction is over.
    pub(super) fn let_go_of_all(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.returning.extend(held);
        let put_down = &self.put_down;
        self.returning.retain(|key, _| !put_down.contains(key));
    }

    /// Notes a sign of life that was sent at an instant, and has arrived. A quarter is left for clocks that leap.
    pub(super) fn lives_from(&mut self, sent: Instant, ttl: Duration) {
        let end = sent.checked_add(ttl / 4 * 3);
        self.alive_until = self.alive_until.max(end);
    }

    /// Notes that a key is flushed.
    pub(super) fn reach_to(&mut self, key: &Bytes) {
        let (first, last) = self.flushed.take().unwrap_or((key.clone(), key.clone()));
        self.flushed = Some((first.min(key.clone()), last.max(key.clone())));
    }

    /// Whether the cluster may hold locks that nobody wants.
    pub(super) fn may_hold_unwanted(&self) -> bool {
        self.may_be_late || !self.returning.is_empty()
    }

    /// Whether the cluster surely holds no lock for it.
    pub(super) fn surely_holds_nothing(&self) -> bool {
        self.held.is_empty()
            && self.suspect.is_empty()
            && self.put_down.is_empty()
            && !self.may_hold_unwanted()
    }

    /// The primary, if it was granted or put down. One that is only asked for, after another was given up, tells nothing yet.
    pub(super) fn standing_primary(&self) -> Option<Bytes> {
        self.standing_attempt().map(|(primary, _)| primary)
    }

    /// The same, and the attempt that holds it unless it was put down.
    pub(super) fn standing_attempt(&self) -> Option<(Bytes, Option<u64>)> {
        let primary = self.primary.as_ref()?;
        let held = self.held.get(primary);
        let attempt = held.and_then(|held| held.attempts.first().copied());
        let stands = attempt.is_some() || self.put_down.contains(primary);
        stands.then(|| (primary.clone(), attempt))
    }
}

impl From<End> for TxnStatus {
    fn from(end: End) -> TxnStatus {
        match end {
            End::Committed { at, .. } => TxnStatus::Committed(at),
            End::RolledBack => TxnStatus::RolledBack,
        }
    }
}
