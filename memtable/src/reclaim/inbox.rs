//! Where a thread gets back what it retired, once nobody can reach it any more.
//!
//! Any thread may come to run a deferred call. Did it free what another one had retired, memory would wander between the threads'
//! heaps and caches, and the next run that is made of it would wait for each of its lines. So it puts the batch into the inbox
//! of the thread from which it came, if there is room, and that one frees it with its next batch.
//!
//! Each place is one word: empty, a batch, or closed, when the thread has ended. Whoever finds no empty place frees the batch himself.
//!
//! | word | changed by | pairs with |
//! |---|---|---|
//! | a place | who puts a batch into an empty one (Release) | its thread takes the batch out (Acquire): what it names is as the others left it |
//! | | its thread, at its end, for good: closed (Acquire) | who puts a batch finds none empty any more, so none is left there |

use crate::mutant::planted;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::array;
use std::ptr;

/// A thread that is at rest holds back no more batches than these.
const PLACES: usize = if cfg!(untorn_loom) { 1 } else { 4 };

/// The inbox of one thread, for batches of a kind. That thread closes it at its end, or what lies there is lost.
pub struct Inbox<B> {
    places: [AtomicPtr<B>; PLACES],
}

/// No batch: an address at which none can lie.
fn closed<B>() -> *mut B {
    ptr::without_provenance_mut(usize::MAX)
}

impl<B> Inbox<B> {
    /// Empty.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Inbox<B> {
        Inbox {
            places: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Gives the batch back if there is no room.
    pub fn put(&self, batch: B) -> Result<(), B> {
        let batch = Box::into_raw(Box::new(batch));
        // Who takes the batch sees what it names.
        let order = match planted("inbox-put-relaxed") {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        for place in &self.places {
            let empty = place.load(Ordering::Relaxed).is_null();
            if empty
                && place
                    .compare_exchange(ptr::null_mut(), batch, order, Ordering::Relaxed)
                    .is_ok()
            {
                return Ok(());
            }
        }
        // SAFETY: boxed above and put nowhere.
        Err(*unsafe { Box::from_raw(batch) })
    }

    /// Takes out what is there. By the inbox's thread alone, before it closes it.
    pub fn take(&self) -> impl Iterator<Item = B> {
        self.empty(ptr::null_mut())
    }

    /// Takes out what is there; nothing more is put in.
    pub fn close(&self) -> impl Iterator<Item = B> {
        self.empty(match planted("inbox-left-open") {
            true => ptr::null_mut(),
            false => closed(),
        })
    }

    fn empty(&self, leave: *mut B) -> impl Iterator<Item = B> {
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

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_takes_what_it_has_room_for_until_it_is_closed() {
        let inbox = Inbox::new();
        for round in 0..2 {
            for nth in 0..PLACES {
                assert!(inbox.put(nth).is_ok(), "{nth} in round {round}");
            }
            assert_eq!(inbox.put(9), Err(9));
            let taken: Vec<_> = inbox.take().collect();
            assert_eq!(taken, (0..PLACES).collect::<Vec<_>>());
        }
        assert!(inbox.put(1).is_ok());
        assert_eq!(inbox.close().count(), 1);
        assert!(inbox.put(2).is_err());
        assert_eq!(inbox.close().count(), 0);
    }
}
