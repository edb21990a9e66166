//! The lock table under loom: every interleaving within a bound, of the real queue, words, slots and search. The maps
//! are one mutex each there, and time does not pass: threads of the model do what a clock would.

use bytes::Bytes;
use untorn_loom_tests::{model, spawn};
use untorn_txn::lock::{Granted, LockError, LockMode, LockRequest, LockTable, Wait};

use LockMode::{Exclusive, Shared};

const FOREVER: LockRequest = LockRequest {
    wait: Wait::Forever,
    deadline: None,
    attempt: 0,
};

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn take(table: &LockTable, owner: u64, name: &'static str, mode: LockMode) {
    assert!(table.try_acquire(owner, &key(name), mode, 0).is_ok());
}

/// What the holders of a lock write without a lock of their own: loom fails if two of them are not ordered.
struct Guarded(loom::cell::UnsafeCell<u64>);

// The cell is only touched through loom's checked accessors, by whoever holds the lock.
impl Guarded {
    fn new() -> loom::sync::Arc<Self> {
        loom::sync::Arc::new(Self(loom::cell::UnsafeCell::new(0)))
    }

    fn add(&self) {
        self.0.with_mut(|_| ());
    }
}

#[test]
fn hand_off_orders_the_old_holder_before_the_new_one() {
    model("lock_hand_off", 8, 10, || {
        let table = LockTable::new();
        let guarded = Guarded::new();
        let (theirs, cell) = (table.clone(), guarded.clone());
        let other = spawn(move || {
            assert!(
                theirs
                    .acquire_blocking(2, &key("k"), Exclusive, &FOREVER)
                    .is_ok()
            );
            cell.add();
            assert!(theirs.release(2, b"k", 0));
        });
        assert!(
            table
                .acquire_blocking(1, &key("k"), Exclusive, &FOREVER)
                .is_ok()
        );
        guarded.add();
        assert!(table.release(1, b"k", 0));
        other.join().expect("the other thread");
        assert!(table.is_empty() && table.waiting().is_empty());
    });
}

#[test]
fn three_owners_take_turns() {
    model("lock_three_turns", 2, 100, || {
        let table = LockTable::new();
        let guarded = Guarded::new();
        let turn = |owner: u64, table: &LockTable, cell: &Guarded| {
            assert!(
                table
                    .acquire_blocking(owner, &key("k"), Exclusive, &FOREVER)
                    .is_ok()
            );
            cell.add();
            assert!(table.release(owner, b"k", 0));
        };
        let others = [2, 3].map(|owner| {
            let (table, cell) = (table.clone(), guarded.clone());
            spawn(move || turn(owner, &table, &cell))
        });
        turn(1, &table, &guarded);
        for other in others {
            other.join().expect("another thread");
        }
        assert!(table.is_empty());
    });
}

/// S30, by a drop: the waiter vanishes while it is being granted, and the next one gets the lock.
#[test]
fn a_waiter_dropped_while_being_granted_passes_the_lock_on() {
    model("lock_s30_drop_while_granted", 3, 50, || {
        let table = LockTable::new();
        take(&table, 1, "k", Exclusive);
        let vanishing = table.acquire(2, &key("k"), Exclusive, &FOREVER);
        let next = table.acquire(3, &key("k"), Exclusive, &FOREVER);
        let dropper = spawn(move || drop(vanishing));
        let waiter = spawn(move || next.wait().is_ok());
        assert!(table.release(1, b"k", 0));
        dropper.join().expect("the dropping thread");
        assert!(waiter.join().expect("the waiting thread"));
        assert_eq!(table.mode_of(3, b"k"), Some(Exclusive));
        assert_eq!(table.holders(b"k").len(), 1);
        assert!(table.waiting().is_empty());
    });
}

/// S30, by timeout and by cancelling: one outcome, and the lock is with whoever was told so.
#[test]
fn a_timeout_a_cancel_and_a_grant_have_one_outcome() {
    model("lock_end_race", 3, 50, || {
        let table = LockTable::new();
        take(&table, 1, "k", Exclusive);
        let call = table.acquire(2, &key("k"), Exclusive, &FOREVER);
        let (clock, canceller) = (call.canceller(), call.canceller());
        let timer = spawn(move || clock.time_out());
        let cancelling = spawn(move || canceller.cancel());
        table.release(1, b"k", 0);
        let result = call.wait();
        timer.join().expect("the clock");
        let cancelled = cancelling.join().expect("the cancelling thread");
        match result {
            Ok(_) => assert_eq!(table.mode_of(2, b"k"), Some(Exclusive)),
            Err(LockError::Timeout { .. }) => assert!(table.is_empty() && !cancelled),
            Err(LockError::Cancelled { .. }) => assert!(table.is_empty() && cancelled),
            Err(other) => panic!("{other}"),
        }
    });
}

/// The wake-up of a parked thread is never lost, whichever way its wait ends.
#[test]
fn a_parked_thread_hears_of_a_cancel() {
    model("lock_s30_parked_cancel", 8, 5, || {
        let table = LockTable::new();
        take(&table, 1, "k", Exclusive);
        let call = table.acquire(2, &key("k"), Shared, &FOREVER);
        let canceller = call.canceller();
        let other = spawn(move || canceller.cancel());
        let result = call.wait();
        assert_eq!(result, Err(LockError::Cancelled { key: key("k") }));
        assert!(other.join().expect("the cancelling thread"));
    });
}

/// S29: two owners in a cycle, both searching, while a timeout of one races.
#[test]
fn a_deadlock_of_two_has_one_victim_beside_a_timeout() {
    model("lock_s29_deadlock_of_two", 2, 50, || {
        let table = LockTable::new();
        take(&table, 1, "a", Exclusive);
        take(&table, 2, "b", Exclusive);
        let one = table.acquire(1, &key("b"), Exclusive, &FOREVER);
        let two = table.acquire(2, &key("a"), Exclusive, &FOREVER);
        let (search_one, search_two, clock) = (one.canceller(), two.canceller(), one.canceller());
        let searching = spawn(move || search_one.search());
        let timer = spawn(move || clock.time_out());
        search_two.search();
        searching.join().expect("a search");
        timer.join().expect("the clock");
        let ended = |result: Result<Granted, LockError>| match result {
            Err(LockError::Deadlock { cycle, .. }) => {
                assert_eq!((cycle[0].waiter, cycle[0].holder), (2, 1));
                assert_eq!((cycle[1].waiter, cycle[1].holder), (1, 2));
                2
            }
            Err(LockError::Timeout { .. }) => 1,
            other => panic!("{other:?}"),
        };
        // The timeout comes at some time; the victim is 2, if the search came first.
        let victim = table.waiting().is_empty();
        assert_eq!(ended(one.wait()), 1);
        if victim {
            assert_eq!(ended(two.wait()), 2);
        } else {
            table.release(1, b"a", 0);
            assert!(two.wait().is_ok());
        }
    });
}

/// S29 with three: all search at once, and one fails.
#[test]
fn a_deadlock_of_three_has_one_victim() {
    model("lock_s29_deadlock_of_three", 1, 20, || {
        let table = LockTable::new();
        for (owner, name) in [(1, "a"), (2, "b"), (3, "c")] {
            take(&table, owner, name, Exclusive);
        }
        let calls = [(1, "b"), (2, "c"), (3, "a")]
            .map(|(owner, name)| table.acquire(owner, &key(name), Exclusive, &FOREVER));
        let searches = [&calls[0], &calls[1]].map(|call| {
            let canceller = call.canceller();
            spawn(move || canceller.search())
        });
        calls[2].canceller().search();
        for search in searches {
            search.join().expect("a search");
        }
        let waiting: Vec<u64> = table.waiting().iter().map(|call| call.owner).collect();
        assert_eq!(waiting.len(), 2);
        assert!(!waiting.contains(&3));
        assert_eq!(table.stats().deadlocks, 0, "nobody was told yet");
    });
}

/// A search that walks while the cycle is being made and unmade never fails a call that is on none.
#[test]
fn a_release_during_the_search_makes_no_false_victim() {
    model("lock_no_false_victim", 8, 20, || {
        let table = LockTable::new();
        // 2 waits for 1, and 1 is about to wait for 2; but 2 lets go of "b" and never waits while it holds it.
        take(&table, 1, "a", Exclusive);
        take(&table, 2, "b", Exclusive);
        let one = table.acquire(1, &key("b"), Exclusive, &FOREVER);
        let search = one.canceller();
        let theirs = table.clone();
        let other = spawn(move || {
            assert!(theirs.release(2, b"b", 0));
            let two = theirs.acquire(2, &key("a"), Exclusive, &FOREVER);
            two.canceller().search();
            two
        });
        search.search();
        assert!(one.wait().is_ok());
        let two = other.join().expect("the other thread");
        table.release(1, b"a", 0);
        assert!(two.wait().is_ok());
    });
}

/// A search follows a call ahead once its owner waits for something else, however the two calls, a third one of their
/// owner and the one behind come to wait at the same time.
#[test]
fn a_cycle_through_a_call_ahead_is_found_while_its_siblings_join() {
    model("lock_siblings_join", 3, 100, || {
        let table = LockTable::new();
        take(&table, 1, "a", Exclusive);
        take(&table, 2, "b", Exclusive);
        take(&table, 3, "c", Exclusive);
        let theirs = table.clone();
        let queued = spawn(move || {
            let ahead = theirs.acquire(4, &key("a"), Exclusive, &FOREVER);
            let behind = theirs.acquire(2, &key("a"), Exclusive, &FOREVER);
            behind.canceller().search();
            (ahead, behind)
        });
        let theirs = table.clone();
        let beside = spawn(move || theirs.acquire(4, &key("c"), Exclusive, &FOREVER));
        let on_cycle = table.acquire(4, &key("b"), Exclusive, &FOREVER);
        on_cycle.canceller().search();
        let _others = (queued.join(), beside.join());
        assert!(matches!(on_cycle.wait(), Err(LockError::Deadlock { .. })));
        assert_eq!(table.waiting().len(), 3);
    });
}

/// A search goes by the nearest of the calls ahead that have siblings, and finds a cycle through one behind it though
/// that call fails in the meantime.
#[test]
fn a_cycle_is_found_past_a_call_that_fails_meanwhile() {
    model("lock_passed_fails", 8, 10, || {
        let table = LockTable::new();
        for (owner, name) in [(1, "a"), (5, "b"), (6, "c")] {
            take(&table, owner, name, Exclusive);
        }
        let wait = |owner, name| table.acquire(owner, &key(name), Exclusive, &FOREVER);
        let _on_cycle = [wait(2, "a"), wait(2, "b")];
        let (nearer, _sibling) = (wait(3, "a"), wait(3, "c"));
        let last = wait(5, "a");
        let other = spawn(move || nearer.canceller().cancel());
        last.canceller().search();
        assert!(other.join().expect("the cancelling thread"));
        assert!(matches!(last.wait(), Err(LockError::Deadlock { .. })));
    });
}

/// Two upgrades of one key that meet: the younger fails at once, the older is granted when that one lets go.
#[test]
fn two_upgrades_that_meet_have_one_victim() {
    model("lock_upgrades_meet", 8, 10, || {
        let table = LockTable::new();
        take(&table, 1, "k", Shared);
        take(&table, 2, "k", Shared);
        let theirs = table.clone();
        let young = spawn(move || {
            let result = theirs.acquire_blocking(2, &key("k"), Exclusive, &FOREVER);
            assert_eq!(theirs.release_all(2, [b"k"]), 1);
            result.is_err()
        });
        let old = table.acquire_blocking(1, &key("k"), Exclusive, &FOREVER);
        assert!(old.is_ok(), "the older one fails: {old:?}");
        assert!(young.join().expect("the younger one"));
        assert_eq!(table.mode_of(1, b"k"), Some(Exclusive));
    });
}

/// A release of a failed attempt meets the retry's acquisition (S24, R29).
#[test]
fn a_late_release_meets_the_retry() {
    model("lock_s24_late_release", 8, 2, || {
        let table = LockTable::new();
        let request = LockRequest {
            attempt: 1,
            ..FOREVER
        };
        assert!(
            table
                .acquire_blocking(1, &key("k"), Exclusive, &request)
                .is_ok()
        );
        let theirs = table.clone();
        let late = spawn(move || theirs.release(1, b"k", 1));
        let retry = LockRequest {
            attempt: 2,
            ..FOREVER
        };
        assert!(
            table
                .acquire_blocking(1, &key("k"), Exclusive, &retry)
                .is_ok()
        );
        assert!(late.join().expect("the late release"));
        assert_eq!(table.mode_of(1, b"k"), Some(Exclusive));
        assert!(table.release(1, b"k", 2));
        assert!(table.is_empty());
    });
}
