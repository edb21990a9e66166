//! How a wait ends: by time, by cancelling, by a drop; and what is left behind.

mod lock_harness;

use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use lock_harness::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use untorn_txn::lock::{LockError, LockRequest, LockTable, Wait};

#[test]
fn a_blocking_call_times_out_by_its_budget_and_names_the_holder() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let started = Instant::now();
    let result = table.acquire_blocking(2, &key("k"), Exclusive, &within(20, 0));
    let Err(LockError::Timeout {
        key: told,
        holders,
        waited,
    }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!((told, holders), (key("k"), vec![1]));
    assert!(waited >= Duration::from_millis(20) && waited <= started.elapsed());
    assert!(table.waiting().is_empty());
    table.release(1, b"k", 0);
    assert!(table.is_empty());
}

#[test]
fn a_future_times_out_without_any_runtime() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let result = block_on(table.acquire(2, &key("k"), Shared, &within(20, 0)));
    assert!(
        matches!(result, Err(LockError::Timeout { .. })),
        "{result:?}"
    );
    // Nobody polls this one: the timer thread ends its wait all the same.
    let task = Task::new(table.acquire(2, &key("k"), Shared, &within(5, 0)));
    while !table.waiting().is_empty() {
        std::thread::yield_now();
    }
    table.release(1, b"k", 0);
    assert!(table.is_empty(), "a dead call holds nothing up");
    drop(task);
    assert_eq!(table.stats().timeouts, 2);
}

#[test]
fn the_first_of_budget_and_deadline_names_the_error() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let soon = Some(Instant::now() + Duration::from_millis(10));
    let late = Some(Instant::now() + Duration::from_secs(100));
    let budget = LockRequest {
        wait: Wait::For(Duration::from_millis(10)),
        deadline: late,
        attempt: 0,
    };
    let deadline = LockRequest {
        wait: Wait::For(Duration::from_secs(100)),
        deadline: soon,
        attempt: 0,
    };
    let endless = LockRequest {
        wait: Wait::Forever,
        ..deadline
    };
    let huge = LockRequest {
        wait: Wait::For(Duration::MAX),
        ..deadline
    };
    for blocking in [true, false] {
        let ask = |request: &LockRequest| {
            if blocking {
                table.acquire_blocking(2, &key("k"), Exclusive, request)
            } else {
                block_on(table.acquire(2, &key("k"), Exclusive, request))
            }
        };
        assert!(matches!(ask(&budget), Err(LockError::Timeout { .. })));
        for request in [&deadline, &endless, &huge] {
            assert!(matches!(
                ask(request),
                Err(LockError::DeadlineExceeded { .. })
            ));
        }
    }
}

#[test]
fn a_deadline_in_the_past_asks_once() {
    let table = LockTable::new();
    let past = LockRequest {
        wait: Wait::Forever,
        deadline: Some(Instant::now()),
        attempt: 0,
    };
    assert!(
        table
            .acquire_blocking(1, &key("k"), Exclusive, &past)
            .is_ok()
    );
    let result = table.acquire_blocking(2, &key("k"), Exclusive, &past);
    let Err(LockError::DeadlineExceeded {
        holders, waited, ..
    }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!((holders, waited), (vec![1], Duration::ZERO));
}

#[test]
fn a_dropped_future_leaves_the_queue() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let dropped = Task::waiting(&table, 2, "k", Exclusive);
    let mut next = Task::waiting(&table, 3, "k", Exclusive);
    drop(dropped);
    assert_eq!(table.waiting().len(), 1);
    table.release(1, b"k", 0);
    next.granted();
}

#[test]
fn a_grant_that_nobody_heard_of_passes_on() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let vanished = Task::waiting(&table, 2, "k", Exclusive);
    let mut next = Task::waiting(&table, 3, "k", Exclusive);
    table.release(1, b"k", 0);
    assert_eq!(table.mode_of(2, b"k"), Some(Exclusive));
    drop(vanished);
    next.granted();
    assert_eq!(table.holders(b"k").len(), 1);
    // Granted when it was made, never polled.
    drop(table.acquire(9, &key("free"), Exclusive, &forever(0)));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_dropped_sibling_takes_back_its_own_attempt_only() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut kept = Task::new(table.acquire(2, &key("k"), Exclusive, &forever(7)));
    let dropped = Task::new(table.acquire(2, &key("k"), Exclusive, &forever(8)));
    let repeated = Task::new(table.acquire(2, &key("k"), Exclusive, &forever(7)));
    assert_eq!(kept.poll(), None);
    table.release(1, b"k", 0);
    drop(dropped);
    drop(repeated);
    kept.granted();
    assert_eq!(table.holders(b"k")[0].attempts, [7]);
}

#[test]
fn a_canceller_ends_one_wait_and_cancel_owner_all() {
    let table = LockTable::new();
    take(&table, 1, "a", Exclusive);
    take(&table, 1, "b", Exclusive);
    let mut one = Task::waiting(&table, 2, "a", Exclusive);
    let mut two = Task::waiting(&table, 2, "b", Exclusive);
    let mut other = Task::waiting(&table, 3, "b", Exclusive);
    let canceller = one.canceller();
    assert!(canceller.cancel());
    assert!(!canceller.cancel(), "it has an outcome");
    assert_eq!(one.wakes(), 1);
    assert_eq!(
        one.poll(),
        Some(Err(LockError::Cancelled { key: key("a") }))
    );
    assert_eq!(one.poll(), None, "spent");
    two.still_waits();
    assert_eq!(table.cancel_owner(2), 1);
    assert_eq!(
        two.poll(),
        Some(Err(LockError::Cancelled { key: key("b") }))
    );
    other.still_waits();
    // A canceller that comes too late changes nothing.
    table.release(1, b"b", 0);
    assert!(!other.canceller().cancel());
    other.granted();
}

#[test]
fn a_parked_thread_can_be_cancelled() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| table.acquire_blocking(2, &key("k"), Exclusive, &forever(0)));
        until_waiting(&table, 1);
        assert_eq!(table.cancel_owner(2), 1);
        let Ok(result) = blocked.join() else {
            panic!("panicked")
        };
        assert_eq!(result, Err(LockError::Cancelled { key: key("k") }));
    });
}

#[test]
fn a_future_can_be_waited_for_by_parking() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let call = table.acquire(2, &key("k"), Exclusive, &forever(0));
    std::thread::scope(|scope| {
        let blocked = scope.spawn(move || call.wait());
        table.release(1, b"k", 0);
        assert!(matches!(blocked.join(), Ok(Ok(_))));
    });
    let mut told = Box::pin(table.acquire(2, &key("k"), Exclusive, &forever(0)));
    assert!(block_on(&mut told).is_ok());
    assert_eq!(
        (*std::pin::Pin::into_inner(told)).wait(),
        Err(LockError::AlreadyTold)
    );
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut broken = Box::pin(table.acquire(2, &key("k"), Shared, &forever(0)));
    let waker = std::task::Waker::from(Arc::new(Panics));
    assert!(
        broken
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
            .is_pending()
    );
    let mut next = Task::waiting(&table, 3, "k", Shared);
    table.release(1, b"k", 0);
    next.granted();
    assert!(block_on(broken).is_ok());
}

#[test]
fn the_last_handle_may_be_dropped_by_the_timer_thread_itself() {
    // A task that the timer thread wakes owns everything that is left of the table.
    struct Owner(std::sync::Mutex<Option<Box<dyn Send>>>, mpsc::Sender<()>);
    impl std::task::Wake for Owner {
        fn wake(self: Arc<Self>) {
            let owned = self.0.lock().map(|mut owned| owned.take());
            drop(owned);
            let _ = self.1.send(());
        }
    }
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let (sender, receiver) = mpsc::channel();
    let owner = Arc::new(Owner(std::sync::Mutex::new(None), sender));
    let waker = std::task::Waker::from(owner.clone());
    let mut owned = owner.0.lock().unwrap();
    // Until it waits, and its task owns the table: its time may be over before.
    let call = loop {
        let mut call = Box::pin(table.acquire(2, &key("k"), Exclusive, &within(30, 0)));
        let mut context = std::task::Context::from_waker(&waker);
        if call.as_mut().poll(&mut context).is_pending() {
            break call;
        }
    };
    *owned = Some(Box::new((call, table)));
    drop(owned);
    assert_eq!(receiver.recv(), Ok(()));
}

#[test]
fn dropping_the_table_with_long_waits_behind_it_ends_its_thread() {
    for _ in 0..20 {
        let table = LockTable::new();
        take(&table, 1, "k", Exclusive);
        let task = Task::new(table.acquire(2, &key("k"), Exclusive, &within(50_000, 0)));
        drop(table);
        // The last handle is inside the future; its drop joins the timer thread.
        drop(task);
    }
}

/// S30: a waiter is dropped, cancelled or timed out while it is being granted. The lock goes to the next, never lost,
/// never held twice.
#[test]
fn cancelled_while_being_granted_the_lock_goes_to_the_next() {
    let seed = seed("cancelled_while_being_granted");
    let mut rng = SmallRng::seed_from_u64(seed);
    for round in 0..600 {
        let table = LockTable::new();
        take(&table, 1, "k", Exclusive);
        let how = rng.random_range(0..3);
        let request = if how == 2 { within(1, 0) } else { forever(0) };
        let call = table.acquire(2, &key("k"), Exclusive, &request);
        let mut next = Task::waiting(&table, 3, "k", Exclusive);
        let start = Barrier::new(2);
        let spins = rng.random_range(0..200);
        let heard = std::thread::scope(|scope| {
            let vanishing = scope.spawn(|| {
                start.wait();
                (0..spins).for_each(|_| std::hint::spin_loop());
                match how {
                    0 => {
                        drop(call);
                        false
                    }
                    1 => {
                        call.canceller().cancel();
                        call.wait().is_ok()
                    }
                    _ => call.wait().is_ok(),
                }
            });
            start.wait();
            table.release(1, b"k", 0);
            vanishing.join().unwrap_or(false)
        });
        if heard {
            assert!(next.poll().is_none(), "round {round}: two holders");
            assert!(table.release(2, b"k", 0), "round {round}");
        }
        next.granted();
        assert_eq!(table.holders(b"k").len(), 1, "round {round}");
        assert!(table.release(3, b"k", 0));
        assert!(table.is_empty());
        assert!(table.waiting().is_empty());
    }
}
