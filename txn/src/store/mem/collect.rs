//! Dropping what nobody can see any more.
//!
//! A commit makes older versions of its keys droppable, and after a while its own deletions and touches. It enters
//! each such key into a queue, so nothing is ever searched for. The queue is changed by two kinds of threads: whoever
//! has committed adds to its back, and whoever collects takes from its front what is *ripe*, which is what was
//! committed at or below the safe point. The word beside it says whether more than a step waits.
//!
//! A key is collected outside of the queue's mutex. Old versions are taken out of the history beside readers, who can
//! only be above the safe point and do not come to them; marks are taken out under the key's lock, which is asked for
//! and not waited for. A key whose lock is taken goes back into the queue.

use super::core::{COLLECTOR, Core};
use super::record::{Record, old_key};
use crate::lock::LockMode;
use crate::store::{Timestamp, lock};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use untorn_memtable::Memtable;

/// Keys that are collected at a time where nobody asks for more; so many are no backlog.
pub(super) const STEP: usize = 1024;

/// A commit that made something droppable once the safe point has reached it.
#[derive(Debug)]
pub(super) struct Superseded {
    pub(super) key: Bytes,
    pub(super) time: Timestamp,
    /// It wrote a version, and older ones are there to go. A touch replaces nothing: the newest version may lie in the
    /// history just then, under an intent.
    pub(super) version: bool,
}

/// Commits under which something may be dropped.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    queue: Mutex<VecDeque<Superseded>>,
    /// The commit at the front while more than a step waits, else 0. Stored under the mutex.
    backlog: AtomicU64,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Collected {
    /// Keys that were ripe and taken out of the queue.
    pub(super) taken: usize,
    /// Those of them that went back into it.
    busy: usize,
    /// Records that were dropped.
    pub(super) dropped: usize,
}

impl Collected {
    /// Whether it came to nothing but keys whose locks are taken.
    pub(super) fn is_stuck(self) -> bool {
        self.taken > 0 && self.busy == self.taken && self.dropped == 0
    }
}

impl Garbage {
    fn add(&self, superseded: impl IntoIterator<Item = Superseded>) {
        let mut superseded = superseded.into_iter().peekable();
        if superseded.peek().is_some() {
            let mut queue = lock(&self.queue);
            queue.extend(superseded);
            self.note_backlog(&queue);
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.queue).len()
    }

    /// When the first commit of a backlog was, if there is one.
    ///
    /// Who adds stores it before asking for the safe point, and who lets a timestamp go loads it afterwards: the mutex
    /// of the timestamp's stripe orders the two, so one of them finds what became ripe.
    pub(super) fn backlog(&self) -> Option<Timestamp> {
        Some(self.backlog.load(Ordering::Acquire)).filter(|&since| since > 0)
    }

    /// At most `limit` keys from the front, as far as their commits are at or below the safe point. The queue is
    /// only roughly in the order of commits, which delays a key now and then and loses none.
    fn take(&self, limit: usize, safe_point: Timestamp) -> Vec<Superseded> {
        let mut queue = lock(&self.queue);
        let ripe = queue
            .iter()
            .take(limit)
            .take_while(|superseded| superseded.time <= safe_point)
            .count();
        let taken = queue.drain(..ripe).collect();
        // So much at least stays free that what is moved was paid for by what was taken.
        let left = queue.len().max(STEP);
        if queue.capacity() > 4 * left {
            queue.shrink_to(2 * left);
        }
        self.note_backlog(&queue);
        taken
    }

    fn note_backlog(&self, queue: &VecDeque<Superseded>) {
        let front = queue.front().filter(|_| queue.len() > STEP);
        let since = front.map_or(0, |superseded| superseded.time);
        self.backlog.store(since, Ordering::Release);
    }
}

impl Core {
    /// What a commit does once it is resolved: enters what it superseded, and takes so many keys out instead.
    pub(super) fn collect_along(
        &self,
        superseded: impl IntoIterator<Item = Superseded>,
        limit: usize,
    ) {
        self.garbage.add(superseded);
        let step = self.collect_some(limit);
        if step.taken == limit && !step.is_stuck() {
            self.collect_backlog();
        }
    }

    /// Drops the garbage of at most `limit` keys.
    pub(super) fn collect_some(&self, limit: usize) -> Collected {
        let mut collected = Collected::default();
        if self.garbage.len() == 0 {
            return collected;
        }
        let safe_point = self.live.advance(&self.oracle);
        let mut busy = Vec::new();
        for mut superseded in self.garbage.take(limit, safe_point) {
            collected.taken += 1;
            let Superseded { key, time, version } = &superseded;
            if *version {
                collected.dropped += self.drop_older(key, *time);
            }
            match self.drop_marks(key, *time) {
                Some(records) => collected.dropped += records,
                None => {
                    superseded.version = false;
                    busy.push(superseded);
                }
            }
        }
        collected.busy = busy.len();
        self.garbage.add(busy);
        collected
    }

    /// Drops the versions of `key` that were committed before `time`, which is at or below the safe point.
    fn drop_older(&self, key: &[u8], time: Timestamp) -> usize {
        let old: Vec<Vec<u8>> = self
            .history
            .pin()
            .range_all(old_key(key, time.saturating_sub(1))..=old_key(key, 0))
            .map(|item| item.key.to_vec())
            .collect();
        old.into_iter()
            .filter(|old| removed(&self.history, old))
            .count()
    }

    /// Drops the record *deleted* and the touch that the commit at `time` left, if they are still there. Under
    /// the key's lock, so that nobody writes them meanwhile; `None` if that is taken.
    fn drop_marks(&self, key: &Bytes, time: Timestamp) -> Option<usize> {
        let deleted = || {
            self.newest.pin().entry(key).is_some_and(|item| {
                let record = Record::decode(item.tag, item.value);
                !record.intent && record.value.is_none() && record.time == time
            })
        };
        let touched = || {
            self.touched
                .pin()
                .entry(key)
                .is_some_and(|item| Record::decode(item.tag, item.value).time == time)
        };
        if !deleted() && !touched() {
            return Some(0);
        }
        self.locks
            .try_acquire(COLLECTOR, key, LockMode::Exclusive, time)
            .ok()?;
        let mut dropped = 0;
        if deleted() {
            dropped += usize::from(removed(&self.newest, key));
        }
        if touched() {
            dropped += usize::from(removed(&self.touched, key));
        }
        self.locks.release(COLLECTOR, key, time);
        Some(dropped)
    }
}

/// Takes a key out; says whether it was there.
pub(super) fn removed(table: &Memtable, key: &[u8]) -> bool {
    // Only fails in tables with persistent tags and for keys that are too long to be in one.
    matches!(table.remove(key), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_was_long_gives_its_memory_back() {
        let garbage = Garbage::default();
        let commit = |time| Superseded {
            key: Bytes::new(),
            time,
            version: true,
        };
        garbage.add((1..=100_000).map(commit));
        assert_eq!(garbage.backlog(), Some(1));
        while !garbage.take(STEP, 99_999).is_empty() {}
        assert_eq!((garbage.len(), garbage.backlog()), (1, None));
        assert!(lock(&garbage.queue).capacity() <= 4 * STEP);
    }
}
