//! Guards that live longer than they should (S20). A process of its own, since the last one holds back all freeing for ever.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};
use untorn_memtable::{Memtable, Pinned, garbage_bytes, oldest_guard_age, reclaim_garbage};

static TABLE: Memtable = Memtable::new();

thread_local! {
    static HELD: RefCell<Option<Pinned<'static>>> = const { RefCell::new(None) };
}

/// Overwrites so much that it would be seen if nothing were freed. Answers what is not freed in the end.
fn churn() -> u64 {
    const WRITES: u32 = 20_000;
    for n in 0..WRITES {
        TABLE
            .insert((n % 10).to_be_bytes(), [n as u8; 200])
            .unwrap();
    }
    (0..64).for_each(|_| reclaim_garbage());
    garbage_bytes()
}

/// Asks until the answer is as expected. The deadline is for a collector that is stuck, not a measurement.
fn age_until(expected: impl Fn(Duration) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !expected(oldest_guard_age()) {
        assert!(Instant::now() < deadline, "{:?}", oldest_guard_age());
    }
}

/// What a churn retires, at least.
const CHURNED: u64 = 20_000 * 200;

#[test]
fn a_guard_ends_with_its_thread_and_a_leaked_one_is_seen() {
    TABLE.insert("k", "v").unwrap();
    // Dropped by the thread's end, before or after what the collector keeps for the thread.
    for order in [false, true] {
        thread::spawn(move || {
            let hold = || HELD.set(Some(TABLE.pin()));
            if order {
                TABLE.insert("before", "v").unwrap();
            }
            hold();
            TABLE.insert("k", "w").unwrap();
        })
        .join()
        .unwrap();
    }
    assert!(
        churn() < CHURNED / 10,
        "{} bytes are not freed",
        garbage_bytes()
    );

    // Held: its age can be read, also while garbage is made, and is gone with it.
    let began = Instant::now();
    age_until(|age| age <= began.elapsed());
    let held = TABLE.pin();
    churn();
    age_until(|age| age > Duration::from_millis(20));
    let bound = oldest_guard_age();
    assert!(
        bound <= began.elapsed() + Duration::from_millis(1),
        "{bound:?}"
    );
    drop(held);
    let ended = Instant::now();
    age_until(|age| age <= ended.elapsed());

    // Leaked: what it shows stays, everything goes on, and that nothing is freed can be read.
    thread::spawn(|| std::mem::forget(TABLE.pin()))
        .join()
        .unwrap();
    assert!(churn() > CHURNED);
    let len = TABLE.len();
    TABLE.remove("k").unwrap().unwrap();
    assert_eq!(TABLE.get("k"), None);
    assert_eq!(
        (TABLE.len(), TABLE.snapshot().range::<&str>(..).count()),
        (len - 1, len - 1)
    );
}
