//! What the epoch collector promises to the table.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::epoch::participant_is_gone;
use super::{freed_bytes, pin, retired_bytes};

/// A kilobyte that counts itself.
struct Block {
    alive: Arc<AtomicUsize>,
    _bytes: [u8; 1000],
}

impl Block {
    fn make(alive: &Arc<AtomicUsize>) -> *mut u8 {
        alive.fetch_add(1, Ordering::Relaxed);
        Box::into_raw(Box::new(Block {
            alive: Arc::clone(alive),
            _bytes: [0; 1000],
        }))
        .cast()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

unsafe fn destroy(block: *mut u8) {
    // SAFETY: every block here comes from `Block::make` and is retired once.
    drop(unsafe { Box::from_raw(block.cast::<Block>()) });
}

fn retire_one(alive: &Arc<AtomicUsize>) {
    let guard = pin();
    // SAFETY: the block was never reachable for anybody.
    unsafe { guard.retire(Block::make(alive), destroy, 1024) };
}

/// These tests look at when things are freed, so none holds a guard while another one waits for that.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Flushes until nothing is alive. The deadline is for a collector that is stuck, not a measurement.
fn flush_until_none(alive: &AtomicUsize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while alive.load(Ordering::Relaxed) != 0 {
        assert!(
            Instant::now() < deadline,
            "{} blocks were never freed",
            alive.load(Ordering::Relaxed)
        );
        pin().flush();
        std::thread::yield_now();
    }
}

#[test]
fn a_guard_keeps_what_is_retired_while_it_lasts() {
    let _turn = one_at_a_time();
    let alive = Arc::new(AtomicUsize::new(0));
    let (pinned, is_pinned) = channel();
    let (release, released) = channel::<()>();
    let reader = std::thread::spawn(move || {
        let _guard = pin();
        pinned.send(()).unwrap();
        released.recv().unwrap_err();
    });
    is_pinned.recv().unwrap();
    retire_one(&alive);
    for _ in 0..100 {
        pin().flush();
    }
    assert_eq!(alive.load(Ordering::Relaxed), 1);
    drop(release);
    reader.join().unwrap();
    flush_until_none(&alive);
}

#[test]
fn the_end_of_a_thread_hands_over_its_batch() {
    let _turn = one_at_a_time();
    let alive = Arc::new(AtomicUsize::new(0));
    let there = Arc::clone(&alive);
    std::thread::spawn(move || retire_one(&there))
        .join()
        .unwrap();
    flush_until_none(&alive);
}

#[test]
fn retiring_works_after_the_threads_participant_is_gone() {
    struct Late(Arc<AtomicUsize>, Arc<AtomicUsize>);
    impl Drop for Late {
        fn drop(&mut self) {
            assert!(participant_is_gone());
            retire_one(&self.0);
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }

    let _turn = one_at_a_time();
    let alive = Arc::new(AtomicUsize::new(0));
    let dropped = Arc::new(AtomicUsize::new(0));
    let late = Late(Arc::clone(&alive), Arc::clone(&dropped));
    std::thread::spawn(move || {
        // Thread-locals go in the reverse order of their first use: this one outlives the participant.
        LATE.set(Some(late));
        drop(pin());
    })
    .join()
    .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    flush_until_none(&alive);
}

#[test]
fn freed_never_passes_retired() {
    let _turn = one_at_a_time();
    let alive = Arc::new(AtomicUsize::new(0));
    let retired_before = retired_bytes();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    retire_one(&alive);
                    let freed = freed_bytes();
                    assert!(freed <= retired_bytes());
                }
            });
        }
    });
    flush_until_none(&alive);
    assert!(retired_bytes() - retired_before >= 2 * 10_000 * 1024);
}
