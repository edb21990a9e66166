//! Where a thread gets back what it retired, once nobody can reach it any more.
//!
//! Any thread may come to run a deferred call. Did it free what another one had retired, memory would wander between the threads'
//! heaps and caches, and the next run that is made of it would wait for each of its lines. So it puts the batch into the inbox
//! of the thread from which it came, if there is room, and that one frees it with its next batch.
//!
//! Each place is one word: empty, a batch, or closed, when the thread has ended. Whoever finds no empty place frees the batch himself.

use super::Batch;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A thread that is at rest holds back no more batches than these.
const PLACES: usize = 4;

pub(super) struct Inbox {
    places: [AtomicPtr<Batch>; PLACES],
}

/// No batch: an address at which none can lie.
fn closed() -> *mut Batch {
    ptr::without_provenance_mut(usize::MAX)
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox {
            places: [const { AtomicPtr::new(ptr::null_mut()) }; PLACES],
        }
    }

    /// Gives the batch back if there is no room.
    pub(super) fn put(&self, batch: Batch) -> Result<(), Batch> {
        let batch = Box::into_raw(Box::new(batch));
        for place in &self.places {
            let empty = place.load(Ordering::Relaxed).is_null();
            // Release: who takes the batch sees what it names.
            if empty
                && place
                    .compare_exchange(ptr::null_mut(), batch, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
            {
                return Ok(());
            }
        }
        // SAFETY: boxed above and put nowhere.
        Err(*unsafe { Box::from_raw(batch) })
    }

    /// Takes out what is there.
    pub(super) fn take(&self) -> impl Iterator<Item = Batch> {
        self.empty(ptr::null_mut())
    }

    /// Takes out what is there; nothing more is put in.
    pub(super) fn close(&self) -> impl Iterator<Item = Batch> {
        self.empty(closed())
    }

    fn empty(&self, leave: *mut Batch) -> impl Iterator<Item = Batch> {
        let places = self.places.iter();
        places.filter_map(move |place| {
            if leave.is_null() && place.load(Ordering::Relaxed).is_null() {
                return None;
            }
            let batch = place.swap(leave, Ordering::Acquire);
            let there = !batch.is_null() && batch != closed();
            // SAFETY: boxed in `put`, and taken out by this exchange alone.
            there.then(|| *unsafe { Box::from_raw(batch) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch {
            bytes,
            ..Batch::default()
        }
    }

    #[test]
    fn an_inbox_takes_what_it_has_room_for_until_it_is_closed() {
        let inbox = Inbox::new();
        for round in 0..2 {
            for nth in 0..PLACES {
                assert!(inbox.put(batch(nth)).is_ok(), "{nth} in round {round}");
            }
            assert_eq!(inbox.put(batch(9)).err().map(|batch| batch.bytes), Some(9));
            let taken: Vec<_> = inbox.take().map(|batch| batch.bytes).collect();
            assert_eq!(taken, (0..PLACES).collect::<Vec<_>>());
        }
        assert!(inbox.put(batch(1)).is_ok());
        assert_eq!(inbox.close().count(), 1);
        assert!(inbox.put(batch(2)).is_err());
        assert_eq!(inbox.close().count(), 0);
    }
}
