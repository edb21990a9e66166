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

use std::collections::HashSet;
use std::sync::Arc;

use super::WaitEdge;
use super::claims::Claims;
use super::request::{Granted, Holder, LockMode, OwnerId};
use super::shards::Slot;
use super::waiter::{Ended, Failure, Waiter};
use super::waits::{Entry, Place, Waits};

/// Of those in the way as many are named at most: else of n calls that give up each would name n.
const NAMED: usize = 64;

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

/// See [`KeyQueue::next_blockers_of`].
#[derive(Debug, Default)]
pub(crate) struct NextBlockers {
    pub(crate) owners: Vec<OwnerId>,
    pub(crate) passed: Option<Passed>,
}

/// An exclusive call by which those ahead of it are reached, for as long as it waits there.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) call: Arc<Waiter>,
    place: Place,
}

impl NextBlockers {
    /// Takes calls ahead, nearest first, up to the one by which the others are reached.
    fn follow<'a>(&mut self, ahead: impl Iterator<Item = &'a Entry>) {
        for entry in ahead {
            self.owners.push(entry.owner);
            // Where another call of its owner serves it, it does not wait for what stands between the two.
            if entry.mode == LockMode::Exclusive && !entry.waiter.has_repeat() {
                self.passed = Some(Passed {
                    call: entry.waiter.clone(),
                    place: entry.place(),
                });
                return;
            }
        }
    }
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

    /// Grants the call, or puts it where it has to wait.
    pub(crate) fn join(&mut self, waiter: &Arc<Waiter>, ended: &mut Ended) -> Joined {
        if !waiter.is_waiting() {
            // Cancelled between its entry into the graph and here.
            return Joined::Waiting;
        }
        if let Some(granted) = self.ask(waiter.owner, waiter.mode, waiter.attempt) {
            return Joined::Granted(granted);
        }
        let upgrade = self.mode_of(waiter.owner).is_some();
        let waits = self.waits.get_or_insert_default();
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

    /// The one who holds the key, if there is one and nobody waits for it.
    pub(crate) fn sole_holder(&self) -> Option<OwnerId> {
        self.claims.sole_owner().filter(|_| self.waits.is_none())
    }

    /// How many calls wait.
    pub(crate) fn waiters(&self) -> usize {
        self.waits.as_ref().map_or(0, |waits| waits.len())
    }

    /// What a call that is refused without having waited reports: whom it would have waited for.
    pub(crate) fn blockers(&self, owner: OwnerId, mode: LockMode) -> Vec<OwnerId> {
        let place = match self.mode_of(owner) {
            Some(_) => Place::LANE,
            None => Place::END,
        };
        self.or_holders(owner, self.in_the_way(owner, mode, place))
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
        let holders = self.claims.excluding(owner, LockMode::Exclusive);
        holders.take(NAMED).collect()
    }

    /// Whom a call waits for; nobody if it does not wait.
    pub(crate) fn blockers_of(&self, waiter: &Arc<Waiter>) -> Vec<OwnerId> {
        let place = self
            .waits
            .as_ref()
            .and_then(|waits| waits.served_at(waiter));
        place.map_or_else(Vec::new, |place| {
            self.in_the_way(waiter.owner, waiter.mode, place)
        })
    }

    /// Whom a call at this place waits for: holders first, then those ahead of it, the nearest first.
    fn in_the_way(&self, owner: OwnerId, mode: LockMode, place: Place) -> Vec<OwnerId> {
        let waits = self.waits.iter();
        let ahead = waits.flat_map(|waits| waits.ahead(place, owner, mode, usize::MAX));
        let holders = self.claims.excluding(owner, mode);
        let all = holders.chain(ahead.map(|entry| entry.owner));
        self.each_once(all).take(NAMED).collect()
    }

    /// Some of those that a call waits for, from which all the others can be reached that lead on: the holders that exclude
    /// the call, and of the calls ahead the next ones that have a sibling.
    ///
    /// A call without a sibling is its owner's only one, and what it waits for an exclusive call behind it waits for
    /// too. A shared call does not: it goes by the exclusive call next ahead, if there is more to be reached than the
    /// holder.
    ///
    /// Whoever goes no further than `most` is told of no more than that, and one, of each kind.
    pub(crate) fn next_blockers_of(&self, waiter: &Arc<Waiter>, most: usize) -> NextBlockers {
        let mut next = NextBlockers::default();
        let Some((waits, place)) = self.served_at(waiter) else {
            return next;
        };
        let (owner, mode) = (waiter.owner, waiter.mode);
        let most = most.saturating_add(1);
        next.owners = self.claims.excluding(owner, mode).take(most).collect();
        match mode {
            LockMode::Exclusive => next.follow(waits.siblings_ahead(place, owner).take(most)),
            LockMode::Shared if next.owners.is_empty() || waits.has_sibling_ahead(place) => {
                next.follow(waits.ahead(place, owner, mode, most));
            }
            LockMode::Shared => {}
        }
        next.owners = self.each_once(next.owners.into_iter()).collect();
        next
    }

    /// Whether a call that was passed still waits where it did.
    pub(crate) fn stands(&self, passed: &Passed) -> bool {
        let waits = self.waits.as_ref();
        waits.and_then(|waits| waits.place_of(&passed.call)) == Some(passed.place)
    }

    /// Whether a call waits for this owner, now.
    pub(crate) fn is_blocked_by(&self, waiter: &Arc<Waiter>, owner: OwnerId) -> bool {
        self.served_at(waiter).is_some_and(|(waits, place)| {
            let mut ahead = waits.ahead(place, waiter.owner, waiter.mode, usize::MAX);
            let holds = owner != waiter.owner && self.claims.exclude(owner, waiter.mode);
            holds || ahead.any(|entry| entry.owner == owner)
        })
    }

    /// Notes that the owner of a call has another one by now, which has not joined its queue yet.
    pub(crate) fn note_sibling_of(&mut self, waiter: &Arc<Waiter>) {
        if let Some(waits) = &mut self.waits {
            waits.note_sibling_of(waiter);
        }
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
        if let Some(rival) = waits.upgrading()
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
            for entry in waits.take_upgrades() {
                if entry.waiter.fail(Failure::Victim(cycle.clone())) {
                    ended.push(entry.waiter);
                }
            }
        }
        waits.push_upgrade(waiter);
    }

    /// An owner's claims became fewer: its upgrades may be upgrades no longer, and others may have room.
    fn room_made(&mut self, owner: OwnerId, ended: &mut Ended) {
        if let Some(waits) = &mut self.waits {
            let upgrading = waits.upgrading() == Some(owner);
            if upgrading && self.claims.mode_of(owner).is_none() {
                waits.upgrades_to_queue();
            }
        }
        self.grant_next(ended);
    }

    /// Grants to as many as can be granted, in order, until 4 holds again.
    fn grant_next(&mut self, ended: &mut Ended) {
        while let Some(waits) = &mut self.waits
            && let Some(next) = waits.front()
            && self.claims.allow(next.owner, next.mode)
            && let Some(entry) = waits.pop_front()
        {
            self.grant(entry, ended);
        }
        self.tidy();
    }

    /// Grants to one call and serves the other calls of its owner.
    fn grant(&mut self, entry: Entry, ended: &mut Ended) {
        let (owner, mode) = (entry.owner, entry.mode);
        let has_repeat = entry.waiter.has_repeat();
        self.grant_one(entry, false, ended);
        let Some(waits) = self.waits.as_mut().filter(|_| has_repeat) else {
            return;
        };
        let (served, upgrades) = waits.take_siblings(owner, mode);
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

    fn served_at(&self, waiter: &Arc<Waiter>) -> Option<(&Waits, Place)> {
        let waits = self.waits.as_ref()?;
        Some((waits, waits.served_at(waiter)?))
    }

    /// Lets go of the boxes when nobody waits.
    fn tidy(&mut self) {
        if self.waiters() == 0 {
            self.waits = None;
        }
    }

    /// Each owner once, in the order of its first mention.
    fn each_once(&self, owners: impl Iterator<Item = OwnerId>) -> impl Iterator<Item = OwnerId> {
        let may_repeat = self.waits.as_ref().is_some_and(|waits| waits.may_repeat());
        let mut seen = HashSet::new();
        owners.filter(move |owner| !may_repeat || seen.insert(*owner))
    }
}
