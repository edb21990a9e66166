//! The queue of one key: who holds it, who waits, and who is granted it next.
//!
//! Plain data, changed by one caller at a time: the map runs every method below with the key's shard locked, a model
//! may run them under a mutex of its own. Nothing here blocks or wakes; calls whose waits ended are handed out in
//! [`Ended`].
//!
//! Between two calls this holds:
//!
//! 1. If one claim is exclusive, all are of one owner.
//! 2. Every entry of lane and queue is `WAITING`, and stands in one of them once.
//! 3. The lane's calls are exclusive and of one owner, which holds the key shared, as do others.
//! 4. While the lane is not empty nobody is granted but its owner. Else the head of the queue cannot be granted.
//! 5. No call in the queue is of an owner that holds the key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::WaitEdge;
use super::claims::Claims;
use super::request::{Granted, Holder, LockMode, OwnerId};
use super::shards::Slot;
use super::waiter::{Ended, Failure, Waiter};

/// One call in lane or queue; the fields that are looked at are beside each other.
#[derive(Debug)]
struct Entry {
    ticket: i64,
    owner: OwnerId,
    mode: LockMode,
    waiter: Arc<Waiter>,
}

#[derive(Debug, Default)]
struct Waits {
    /// Upgrades, ahead of the queue.
    lane: VecDeque<Entry>,
    /// By ticket, ascending.
    queue: VecDeque<Entry>,
    /// An owner may have more than one call in here.
    siblings: bool,
}

/// The state of one key. See the module.
#[derive(Debug, Default)]
pub(crate) struct KeyQueue {
    claims: Claims,
    waits: Option<Box<Waits>>,
}

impl Slot for KeyQueue {
    fn is_vacant(&self) -> bool {
        self.claims.is_empty() && self.waits.is_none()
    }
}

/// How a call that is ready to wait went on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// Granted at once: its word is untouched.
    Granted(Granted),
    /// In lane or queue, or already failed as a competing upgrade: its word tells.
    Waiting,
}

impl KeyQueue {
    /// Grants the call if that is possible now.
    pub(crate) fn ask(&mut self, owner: OwnerId, mode: LockMode, attempt: u64) -> Option<Granted> {
        if self.is_vacant() {
            self.claims = Claims::one(owner, mode, attempt);
            return Some(Granted::at_once());
        }
        let held = self.mode_of(owner);
        if held.is_none_or(|held| held < mode) && !self.is_free_for(owner, mode, held) {
            return None;
        }
        self.claims.add(owner, mode, attempt);
        Some(Granted {
            already_held: held.is_some_and(|held| held >= mode),
            waiters: self.waiters(),
            ..Granted::at_once()
        })
    }

    /// Grants the call, or puts it where it has to wait. `siblings`: the owner may have other waiting calls.
    pub(crate) fn join(
        &mut self,
        waiter: &Arc<Waiter>,
        siblings: bool,
        ended: &mut Ended,
    ) -> Joined {
        if !waiter.is_waiting() {
            // Cancelled between its entry into the graph and here.
            return Joined::Waiting;
        }
        if let Some(granted) = self.ask(waiter.owner, waiter.mode, waiter.attempt) {
            return Joined::Granted(granted);
        }
        let upgrade = self.mode_of(waiter.owner).is_some();
        let waits = self.waits.get_or_insert_default();
        waits.siblings |= siblings;
        if upgrade {
            self.join_lane(waiter.clone(), ended);
        } else {
            waits.push_back(waiter.clone());
        }
        self.tidy();
        Joined::Waiting
    }

    /// Takes away the claim of one attempt; false if there is none.
    pub(crate) fn release(&mut self, owner: OwnerId, attempt: u64, ended: &mut Ended) -> bool {
        let removed = self.claims.remove(owner, attempt);
        if removed {
            self.room_made(owner, ended);
        }
        removed
    }

    /// Takes away every claim of an owner; false if there is none.
    pub(crate) fn release_owner(&mut self, owner: OwnerId, ended: &mut Ended) -> bool {
        let removed = self.claims.remove_owner(owner);
        if removed {
            self.room_made(owner, ended);
        }
        removed
    }

    /// Takes back one call's grant that its caller never heard of. Where a request came twice under one attempt, the
    /// other call's claim stays.
    pub(crate) fn forget(&mut self, owner: OwnerId, attempt: u64, ended: &mut Ended) {
        if self.claims.forget(owner, attempt) {
            self.room_made(owner, ended);
        }
    }

    /// Ends a wait with a failure and unlinks it; false if it had ended before.
    pub(crate) fn fail(
        &mut self,
        waiter: &Arc<Waiter>,
        failure: Failure,
        ended: &mut Ended,
    ) -> bool {
        if !waiter.fail(failure) {
            return false;
        }
        if let Some(waits) = &mut self.waits {
            waits.unlink(waiter);
        }
        ended.push(waiter.clone());
        self.grant_next(ended);
        true
    }

    /// The call's own side gives up: withdrawn if it waits, taken back if it was granted. True if it was waiting.
    pub(crate) fn abandon(&mut self, waiter: &Arc<Waiter>, ended: &mut Ended) -> bool {
        let waiting = self.fail(waiter, Failure::Cancelled, ended);
        if !waiting
            && matches!(
                waiter.outcome(),
                Some(super::waiter::Outcome::Granted { .. })
            )
        {
            self.forget(waiter.owner, waiter.attempt, ended);
        }
        waiting
    }

    /// The mode in which `owner` holds the key.
    pub(crate) fn mode_of(&self, owner: OwnerId) -> Option<LockMode> {
        self.claims.mode_of(owner)
    }

    /// The holders, by owner, ascending.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.claims.holders()
    }

    /// How many calls wait.
    pub(crate) fn waiters(&self) -> usize {
        self.waits
            .as_ref()
            .map_or(0, |waits| waits.lane.len() + waits.queue.len())
    }

    /// What a call that is refused without having waited reports: whom it would have waited for.
    pub(crate) fn blockers(&self, owner: OwnerId, mode: LockMode) -> Vec<OwnerId> {
        let mut blockers = self.claims.excluding(owner, mode);
        if let (Some(waits), None) = (&self.waits, self.mode_of(owner)) {
            waits.ahead(i64::MAX, owner, mode, |entry| blockers.push(entry.owner));
        }
        self.or_holders(owner, each_once(blockers))
    }

    /// What a call reports that gives up waiting.
    pub(crate) fn reported_blockers_of(&self, waiter: &Arc<Waiter>) -> Vec<OwnerId> {
        self.or_holders(waiter.owner, self.blockers_of(waiter))
    }

    /// A call that nobody excludes stands behind a call of its own owner, which the holders exclude.
    fn or_holders(&self, owner: OwnerId, blockers: Vec<OwnerId>) -> Vec<OwnerId> {
        if !blockers.is_empty() {
            return blockers;
        }
        self.claims.excluding(owner, LockMode::Exclusive)
    }

    /// Everybody whom a call waits for; nobody if it does not wait.
    pub(crate) fn blockers_of(&self, waiter: &Arc<Waiter>) -> Vec<OwnerId> {
        let mut blockers = Vec::new();
        if let Some(ticket) = self.place_of(waiter) {
            blockers = self.claims.excluding(waiter.owner, waiter.mode);
            self.ahead_of(waiter, ticket, |entry| blockers.push(entry.owner));
        }
        each_once(blockers)
    }

    /// Some of [`Self::blockers_of`], from which all the others can be reached: the holders that exclude the call,
    /// and, if `queued` or if there is no such holder, the calls next ahead that do.
    pub(crate) fn next_blockers_of(&self, waiter: &Arc<Waiter>, queued: bool) -> Vec<OwnerId> {
        let Some(ticket) = self.place_of(waiter) else {
            return Vec::new();
        };
        let mut blockers = self.claims.excluding(waiter.owner, waiter.mode);
        if queued || blockers.is_empty() {
            // An exclusive call reaches what is ahead of it by itself.
            let mut reached = false;
            self.ahead_of(waiter, ticket, |entry| {
                if !reached {
                    blockers.push(entry.owner);
                    reached = entry.mode == LockMode::Exclusive;
                }
            });
        }
        each_once(blockers)
    }

    /// Whether a call waits for this owner, now.
    pub(crate) fn is_blocked_by(&self, waiter: &Arc<Waiter>, owner: OwnerId) -> bool {
        self.blockers_of(waiter).contains(&owner)
    }

    /// Whether `owner`, which holds `held`, may be granted `mode` without overtaking anybody.
    fn is_free_for(&self, owner: OwnerId, mode: LockMode, held: Option<LockMode>) -> bool {
        let overtakes = held.is_none() && self.waits.is_some();
        !overtakes && self.claims.allow(owner, mode)
    }

    /// Puts an upgrade into the lane. One of another owner in there cannot be granted before this one's owner lets go,
    /// nor this one before the other's: the younger fails.
    fn join_lane(&mut self, waiter: Arc<Waiter>, ended: &mut Ended) {
        let Some(waits) = &mut self.waits else { return };
        if let Some(rival) = waits.lane.front().map(|entry| entry.owner)
            && rival != waiter.owner
        {
            let edge = |waiter_id, holder, key: &bytes::Bytes| WaitEdge {
                waiter: waiter_id,
                holder,
                key: key.clone(),
            };
            let (young, old) = (rival.max(waiter.owner), rival.min(waiter.owner));
            let cycle = vec![edge(young, old, &waiter.key), edge(old, young, &waiter.key)];
            if young == waiter.owner {
                if waiter.fail(Failure::Victim(cycle)) {
                    ended.push(waiter);
                }
                return;
            }
            for entry in waits.lane.drain(..) {
                if entry.waiter.fail(Failure::Victim(cycle.clone())) {
                    ended.push(entry.waiter);
                }
            }
        }
        waits.lane.push_back(Entry::new(waiter, 0));
    }

    /// An owner's claims became fewer: its upgrades may be upgrades no longer, and others may have room.
    fn room_made(&mut self, owner: OwnerId, ended: &mut Ended) {
        if let Some(waits) = &mut self.waits {
            let upgrading = waits.lane.front().is_some_and(|entry| entry.owner == owner);
            if upgrading && self.claims.mode_of(owner).is_none() {
                waits.lane_to_queue();
            }
        }
        self.grant_next(ended);
    }

    /// Grants to as many as can be granted, in order, until 4 holds again.
    fn grant_next(&mut self, ended: &mut Ended) {
        loop {
            let Some(waits) = &self.waits else { return };
            let (in_lane, head) = match (waits.lane.front(), waits.queue.front()) {
                (Some(upgrade), _) => (true, upgrade),
                (None, Some(head)) => (false, head),
                (None, None) => break,
            };
            if !self.claims.allow(head.owner, head.mode) {
                break;
            }
            let Some(waits) = &mut self.waits else { return };
            let lane = if in_lane {
                &mut waits.lane
            } else {
                &mut waits.queue
            };
            let Some(entry) = lane.pop_front() else {
                return;
            };
            self.grant(entry, ended);
        }
        self.tidy();
    }

    /// Grants to one call and serves the other calls of its owner.
    fn grant(&mut self, entry: Entry, ended: &mut Ended) {
        let (owner, mode) = (entry.owner, entry.mode);
        self.grant_one(entry, false, ended);
        let Some(waits) = &mut self.waits else { return };
        if !waits.siblings {
            return;
        }
        let covered = |entry: &Entry| entry.owner == owner && entry.mode <= mode;
        let mut served = take_where(&mut waits.lane, covered);
        served.extend(take_where(&mut waits.queue, covered));
        let upgrades = take_where(&mut waits.queue, |entry| entry.owner == owner);
        for entry in served {
            self.grant_one(entry, true, ended);
        }
        for entry in upgrades {
            self.join_lane(entry.waiter, ended);
        }
    }

    fn grant_one(&mut self, entry: Entry, already_held: bool, ended: &mut Ended) {
        // The claim comes before the word says so. By 2 the word is WAITING, and it changes only here, under the
        // shard's lock; were it otherwise, the claim of a call that has ended must not stay.
        self.claims
            .add(entry.owner, entry.mode, entry.waiter.attempt);
        if entry.waiter.grant(already_held, self.waiters()) {
            ended.push(entry.waiter);
        } else {
            self.forget(entry.owner, entry.waiter.attempt, ended);
        }
    }

    /// The waiter's ticket if it is in here, `None` in the lane's case mapped to before everybody.
    fn place_of(&self, waiter: &Arc<Waiter>) -> Option<i64> {
        let waits = self.waits.as_ref()?;
        if waits
            .lane
            .iter()
            .any(|entry| Arc::ptr_eq(&entry.waiter, waiter))
        {
            return Some(i64::MIN);
        }
        waits.find(waiter).map(|_| waiter.ticket.load(Relaxed))
    }

    /// Calls of other owners ahead of this one that exclude it, nearest first.
    fn ahead_of(&self, waiter: &Waiter, ticket: i64, visit: impl FnMut(&Entry)) {
        // In the lane nobody is ahead: by 3 it is of one owner.
        if let (Some(waits), true) = (&self.waits, ticket != i64::MIN) {
            waits.ahead(ticket, waiter.owner, waiter.mode, visit);
        }
    }

    /// Lets go of the boxes when nobody waits.
    fn tidy(&mut self) {
        if self.waiters() == 0 {
            self.waits = None;
        }
    }
}

impl Waits {
    fn push_back(&mut self, waiter: Arc<Waiter>) {
        let ticket = self.queue.back().map_or(0, |last| last.ticket + 1);
        self.queue.push_back(Entry::new(waiter, ticket));
    }

    fn lane_to_queue(&mut self) {
        while let Some(entry) = self.lane.pop_back() {
            let ticket = self.queue.front().map_or(0, |first| first.ticket - 1);
            self.queue.push_front(Entry::new(entry.waiter, ticket));
        }
    }

    fn find(&self, waiter: &Arc<Waiter>) -> Option<usize> {
        let ticket = waiter.ticket.load(Relaxed);
        let at = self
            .queue
            .binary_search_by_key(&ticket, |entry| entry.ticket)
            .ok()?;
        Arc::ptr_eq(&self.queue[at].waiter, waiter).then_some(at)
    }

    fn unlink(&mut self, waiter: &Arc<Waiter>) {
        match self.find(waiter) {
            Some(at) => drop(self.queue.remove(at)),
            None => self
                .lane
                .retain(|entry| !Arc::ptr_eq(&entry.waiter, waiter)),
        }
    }

    /// Calls of other owners before this ticket that exclude `mode`: the queue's, nearest first, then the lane's.
    fn ahead(&self, ticket: i64, owner: OwnerId, mode: LockMode, mut visit: impl FnMut(&Entry)) {
        let end = self.queue.partition_point(|entry| entry.ticket < ticket);
        let queued = self.queue.range(..end).rev();
        let excludes = |entry: &&Entry| entry.owner != owner && !entry.mode.is_compatible(mode);
        queued
            .chain(self.lane.iter())
            .filter(excludes)
            .for_each(&mut visit);
    }
}

impl Entry {
    fn new(waiter: Arc<Waiter>, ticket: i64) -> Self {
        waiter.ticket.store(ticket, Relaxed);
        Self {
            ticket,
            owner: waiter.owner,
            mode: waiter.mode,
            waiter,
        }
    }
}

fn take_where(queue: &mut VecDeque<Entry>, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    if !queue.iter().any(&wanted) {
        return Vec::new();
    }
    let (taken, left) = std::mem::take(queue).into_iter().partition(wanted);
    *queue = left;
    // `partition` collects into one type; the few that were taken are wanted in order.
    Vec::from(taken)
}

/// Each owner once, in the order of its first mention.
fn each_once(mut owners: Vec<OwnerId>) -> Vec<OwnerId> {
    let mut seen = std::collections::HashSet::new();
    if owners.len() > 1 {
        owners.retain(|owner| seen.insert(*owner));
    }
    owners
}
