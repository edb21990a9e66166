//! Dropping what nobody can see any more.

use super::core::{COLLECTOR, Core};
use super::record::{Record, old_key};
use crate::lock::LockMode;
use crate::store::{Timestamp, lock};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Mutex;
use untorn_memtable::Memtable;

/// A commit that made something droppable once the safe point has reached it.
#[derive(Debug)]
pub(super) struct Superseded {
    pub(super) key: Bytes,
    pub(super) time: Timestamp,
    /// It wrote a version, so older ones can go. A touch replaces nothing: the newest version may lie in the
    /// history just then, under an intent.
    pub(super) version: bool,
}

/// Commits under which something may be dropped.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    queue: Mutex<VecDeque<Superseded>>,
}

impl Garbage {
    pub(super) fn add(&self, superseded: impl IntoIterator<Item = Superseded>) {
        let mut superseded = superseded.into_iter().peekable();
        if superseded.peek().is_some() {
            lock(&self.queue).extend(superseded);
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.queue).len()
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
        queue.drain(..ripe).collect()
    }
}

impl Core {
    /// Drops the garbage of at most `limit` keys; says how many records that were.
    pub(super) fn collect_some(&self, limit: usize) -> usize {
        if self.garbage.len() == 0 {
            return 0;
        }
        let safe_point = self.live.advance(&self.oracle);
        let mut dropped = 0;
        let mut busy = Vec::new();
        for superseded in self.garbage.take(limit, safe_point) {
            let Superseded { key, time, version } = &superseded;
            if *version {
                dropped += self.drop_older(key, *time);
            }
            match self.drop_marks(key, *time) {
                Some(records) => dropped += records,
                None => busy.push(superseded),
            }
        }
        self.garbage.add(busy);
        dropped
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
