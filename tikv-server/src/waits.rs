//! Who waits for whom.
//!
//! A lock request that meets a lock is put into the queue of its key. Whoever gives a lock of the key up wakes the first
//! of the queue, which is told to ask again, as TiKV does; should it not, the next is woken a little later. A
//! request that would close a circle is refused before it waits, with the whole circle.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::deadlock::WaitForEntry;
use untorn_txn::store::tikv::proto::kvrpcpb::{Deadlock, KeyError};

/// The queues of all keys.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    queues: HashMap<Bytes, VecDeque<Waiter>>,
    entered: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    start: Timestamp,
    holders: Vec<Timestamp>,
    wake: oneshot::Sender<()>,
}

/// A place in a queue.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) key: Bytes,
    pub(crate) number: u64,
    pub(crate) woken: oneshot::Receiver<()>,
}

impl Waits {
    /// Takes a place, or tells of the circle that would be closed by it; not for the first lock of a transaction, which
    /// closes none.
    pub(crate) fn enter(
        &mut self,
        start: Timestamp,
        key: &Bytes,
        holders: Vec<Timestamp>,
        is_first_lock: bool,
    ) -> Result<Place, KeyError> {
        for &holder in holders.iter().filter(|_| !is_first_lock) {
            if let Some(mut wait_chain) = self.path(holder, start, &mut Vec::new()) {
                wait_chain.push(edge(start, holder, key));
                return Err(KeyError {
                    deadlock: Some(Deadlock {
                        lock_ts: holder,
                        lock_key: key.clone(),
                        deadlock_key_hash: 0,
                        wait_chain,
                    }),
                    ..KeyError::default()
                });
            }
        }
        self.entered += 1;
        let number = self.entered;
        let (wake, woken) = oneshot::channel();
        self.queues
            .entry(key.clone())
            .or_default()
            .push_back(Waiter {
                number,
                start,
                holders,
                wake,
            });
        Ok(Place {
            key: key.clone(),
            number,
            woken,
        })
    }

    /// The edges by which `from` waits for `to`, if it does.
    fn path(
        &self,
        from: Timestamp,
        to: Timestamp,
        seen: &mut Vec<Timestamp>,
    ) -> Option<Vec<WaitForEntry>> {
        if seen.contains(&from) {
            return None;
        }
        seen.push(from);
        for (key, queue) in &self.queues {
            for waiter in queue.iter().filter(|waiter| waiter.start == from) {
                for &holder in &waiter.holders {
                    let behind = if holder == to {
                        Some(Vec::new())
                    } else {
                        self.path(holder, to, seen)
                    };
                    if let Some(mut behind) = behind {
                        behind.insert(0, edge(from, holder, key));
                        return Some(behind);
                    }
                }
            }
        }
        None
    }

    /// Gives a place up.
    pub(crate) fn leave(&mut self, key: &Bytes, number: u64) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.retain(|waiter| waiter.number != number);
            if queue.is_empty() {
                self.queues.remove(key);
            }
        }
    }

    /// Wakes the first in the queue of a key. Says whether others stand behind it.
    pub(crate) fn wake(&mut self, key: &Bytes) -> bool {
        let Some(queue) = self.queues.get_mut(key) else {
            return false;
        };
        while let Some(waiter) = queue.pop_front() {
            // One that is gone is passed over.
            if waiter.wake.send(()).is_ok() {
                break;
            }
        }
        if queue.is_empty() {
            self.queues.remove(key);
            return false;
        }
        true
    }

    /// How many requests wait.
    pub(crate) fn count(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }
}

fn edge(txn: Timestamp, wait_for_txn: Timestamp, key: &Bytes) -> WaitForEntry {
    WaitForEntry {
        txn,
        wait_for_txn,
        key_hash: 0,
        key: key.clone(),
    }
}
