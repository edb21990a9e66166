//! The calls that wait for one key: upgrades in a lane, ahead of the queue of all others.
//!
//! A call *has a sibling* if another call of its owner waits, or has waited, while it does, for this key or another. As
//! a rule few have, and the queue knows where those stand: a deadlock search follows no others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::request::{LockMode, OwnerId};
use super::waiter::Waiter;

/// One call in lane or queue; the fields that are looked at are beside each other.
#[derive(Debug)]
pub(super) struct Entry {
    ticket: i64,
    pub(super) owner: OwnerId,
    pub(super) mode: LockMode,
    pub(super) waiter: Arc<Waiter>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waits {
    lane: VecDeque<Entry>,
    /// By ticket, ascending.
    queue: VecDeque<Entry>,
    /// The queue's calls that have a sibling, by ticket.
    siblings: BTreeMap<i64, OwnerId>,
}

/// Where a call stands: its ticket, or that of everybody's front, which the lane's calls have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(i64);

impl Place {
    /// Of an upgrade.
    pub(super) const LANE: Self = Self(i64::MIN);
    /// Of another call that would join now.
    pub(super) const END: Self = Self(i64::MAX);
}

impl Waits {
    pub(super) fn len(&self) -> usize {
        self.lane.len() + self.queue.len()
    }

    /// Whose upgrades are in the lane.
    pub(super) fn upgrading(&self) -> Option<OwnerId> {
        self.lane.front().map(|entry| entry.owner)
    }

    /// The call that is next.
    pub(super) fn front(&self) -> Option<&Entry> {
        self.lane.front().or(self.queue.front())
    }

    pub(super) fn pop_front(&mut self) -> Option<Entry> {
        let upgrade = self.lane.pop_front();
        upgrade.or_else(|| {
            let entry = self.queue.pop_front()?;
            self.siblings.remove(&entry.ticket);
            Some(entry)
        })
    }

    pub(super) fn push_back(&mut self, waiter: Arc<Waiter>) {
        let ticket = self.queue.back().map_or(0, |last| last.ticket + 1);
        self.queue.push_back(Entry::new(waiter, ticket));
        self.note_if_sibling(self.queue.len() - 1);
    }

    pub(super) fn push_upgrade(&mut self, waiter: Arc<Waiter>) {
        self.lane.push_back(Entry::new(waiter, Place::LANE.0));
    }

    pub(super) fn take_upgrades(&mut self) -> VecDeque<Entry> {
        std::mem::take(&mut self.lane)
    }

    pub(super) fn upgrades_to_queue(&mut self) {
        while let Some(entry) = self.lane.pop_back() {
            let ticket = self.queue.front().map_or(0, |first| first.ticket - 1);
            self.queue.push_front(Entry::new(entry.waiter, ticket));
            self.note_if_sibling(0);
        }
    }

    /// Where the call stands, if it is in here.
    pub(super) fn place_of(&self, waiter: &Arc<Waiter>) -> Option<Place> {
        let is_it = |entry: &Entry| Arc::ptr_eq(&entry.waiter, waiter);
        if self.lane.iter().any(is_it) {
            return Some(Place::LANE);
        }
        self.find(waiter).map(|at| self.queue[at].place())
    }

    /// Where the call is served: where it stands, or further ahead where another call of its owner does, with whose grant
    /// it is granted or becomes an upgrade.
    pub(super) fn served_at(&self, waiter: &Arc<Waiter>) -> Option<Place> {
        let place = self.place_of(waiter)?;
        if !waiter.has_repeat() {
            return Some(place);
        }
        let mut queue = self.queue.iter();
        let first = queue.find(|entry| entry.owner == waiter.owner);
        Some(first.map_or(place, |first| place.min(first.place())))
    }

    pub(super) fn unlink(&mut self, waiter: &Arc<Waiter>) {
        let Some(at) = self.find(waiter) else {
            self.lane
                .retain(|entry| !Arc::ptr_eq(&entry.waiter, waiter));
            return;
        };
        if let Some(entry) = self.queue.remove(at) {
            self.siblings.remove(&entry.ticket);
        }
    }

    /// Takes out the calls of an owner that a grant of `mode` covers; then those of the queue that it does not.
    pub(super) fn take_siblings(
        &mut self,
        owner: OwnerId,
        mode: LockMode,
    ) -> (Vec<Entry>, Vec<Entry>) {
        let is_covered = |entry: &Entry| entry.mode <= mode;
        let upgrades = take_where(&mut self.lane, |entry| entry.owner == owner);
        let queued = take_where(&mut self.queue, |entry| entry.owner == owner);
        for entry in &queued {
            self.siblings.remove(&entry.ticket);
        }
        upgrades.into_iter().chain(queued).partition(is_covered)
    }

    /// Notes that a call of the queue has a sibling by now.
    pub(super) fn note_sibling_of(&mut self, waiter: &Arc<Waiter>) {
        if let Some(at) = self.find(waiter) {
            self.note_if_sibling(at);
        }
    }

    /// Whether two calls in here may be of one owner, or one of an owner that holds the key.
    pub(super) fn may_repeat(&self) -> bool {
        !self.lane.is_empty() || !self.siblings.is_empty()
    }

    /// Calls of other owners ahead of this place that exclude `mode`: the queue's, nearest first, then the lane's; looks at `most`
    /// at most.
    pub(super) fn ahead(
        &self,
        place: Place,
        owner: OwnerId,
        mode: LockMode,
        most: usize,
    ) -> impl Iterator<Item = &Entry> {
        let end = self.queue.partition_point(|entry| entry.ticket < place.0);
        let queued = self.queue.range(..end).rev();
        // For a call in the lane, too: all there are of its owner.
        queued
            .chain(&self.lane)
            .take(most)
            .filter(move |entry| entry.owner != owner && !entry.mode.is_compatible(mode))
    }

    /// Calls of other owners ahead of this place that have a sibling, nearest first.
    pub(super) fn siblings_ahead(
        &self,
        place: Place,
        owner: OwnerId,
    ) -> impl Iterator<Item = &Entry> {
        let ahead = self.siblings.range(..place.0).rev();
        ahead
            .filter(move |(_, other)| **other != owner)
            .filter_map(|(ticket, _)| self.queue.get(self.at(*ticket).ok()?))
    }

    pub(super) fn has_sibling_ahead(&self, place: Place) -> bool {
        self.siblings.range(..place.0).next().is_some()
    }

    fn note_if_sibling(&mut self, at: usize) {
        let entry = &self.queue[at];
        if entry.waiter.has_sibling() {
            self.siblings.insert(entry.ticket, entry.owner);
        }
    }

    fn find(&self, waiter: &Arc<Waiter>) -> Option<usize> {
        let ticket = waiter.ticket.load(Relaxed);
        let at = self.at(ticket).ok()?;
        Arc::ptr_eq(&self.queue[at].waiter, waiter).then_some(at)
    }

    /// Where the call with this ticket is in the queue, or would be.
    fn at(&self, ticket: i64) -> Result<usize, usize> {
        self.queue
            .binary_search_by_key(&ticket, |entry| entry.ticket)
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

    pub(super) fn place(&self) -> Place {
        Place(self.ticket)
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
