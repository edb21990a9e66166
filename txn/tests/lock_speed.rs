//! Figures, for people: `cargo test --release -p untorn-txn --test lock_speed -- --ignored --nocapture --test-threads 1`.
//! Nothing here is judged by its time.

mod lock_harness;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lock_harness::*;
use untorn_txn::lock::{LockError, LockTable, LockTableOptions};

fn row(number: u64) -> Bytes {
    Bytes::from([b"t_row___".as_slice(), &number.to_be_bytes()].concat())
}

fn per_op(started: Instant, ops: u64) -> f64 {
    started.elapsed().as_nanos() as f64 / ops as f64
}

fn quantiles(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    format!(
        "p50 {:.1} us, p90 {:.1} us, p99 {:.1} us, max {:.1} us",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}

#[test]
#[ignore = "prints figures"]
fn uncontended() {
    const OPS: u64 = 1_000_000;
    let keys: Vec<Bytes> = (0..100_000).map(row).collect();
    let at = |op: u64| &keys[(op * 7919 % 100_000) as usize];
    for round in 0..2 {
        let table = LockTable::new();
        let started = Instant::now();
        for op in 0..OPS {
            assert!(table.try_acquire(op + 1, at(op), Exclusive, 1).is_ok());
            assert!(table.release(op + 1, at(op), 1));
        }
        println!(
            "{round}: try_acquire + release, one at a time: {:.0} ns",
            per_op(started, OPS)
        );

        let started = Instant::now();
        for op in 0..OPS {
            assert!(
                table
                    .acquire_blocking(op + 1, at(op), Exclusive, &forever(1))
                    .is_ok()
            );
            assert!(table.release(op + 1, at(op), 1));
        }
        println!(
            "{round}: acquire_blocking + release: {:.0} ns",
            per_op(started, OPS)
        );

        let started = Instant::now();
        for op in 0..OPS {
            let mut task = std::pin::pin!(table.acquire(op + 1, at(op), Exclusive, &forever(1)));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::future::Future::poll(task.as_mut(), &mut cx).is_ready());
            assert!(table.release(op + 1, at(op), 1));
        }
        println!("{round}: acquire + release: {:.0} ns", per_op(started, OPS));

        let started = Instant::now();
        for txn in 0..OPS / 100 {
            for op in 0..100 {
                assert!(
                    table
                        .try_acquire(txn + 1, at(txn * 100 + op), Exclusive, 1)
                        .is_ok()
                );
            }
            assert_eq!(
                table.release_all(txn + 1, (0..100).map(|op| at(txn * 100 + op))),
                100
            );
        }
        println!(
            "{round}: acquire + release, 100 keys a transaction: {:.0} ns a key",
            per_op(started, OPS)
        );

        let started = Instant::now();
        for key in &keys {
            assert!(table.try_acquire(1, key, Exclusive, 1).is_ok());
        }
        println!(
            "{round}: acquire, 100k held at once: {:.0} ns",
            per_op(started, 100_000)
        );
        let started = Instant::now();
        assert_eq!(table.release_all(1, &keys), 100_000);
        println!(
            "{round}: release of these: {:.0} ns",
            per_op(started, 100_000)
        );
        assert!(table.is_empty());
    }
}

#[test]
#[ignore = "prints figures"]
fn two_threads_uncontended() {
    const OPS: u64 = 1_000_000;
    let table = LockTable::new();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (table, start) = (&table, &start);
            scope.spawn(move || {
                let keys: Vec<Bytes> = (0..1000).map(|number| row(number * 2 + thread)).collect();
                start.wait();
                let started = Instant::now();
                for op in 0..OPS {
                    let key = &keys[(op % 1000) as usize];
                    assert!(
                        table
                            .try_acquire(op * 2 + thread, key, Exclusive, 1)
                            .is_ok()
                    );
                    assert!(table.release(op * 2 + thread, key, 1));
                }
                println!("thread {thread} of 2: {:.0} ns", per_op(started, OPS));
            });
        }
    });
}

/// Two threads take turns: the time from the release to the moment at which the other one runs on with the lock. Beside
/// it, the same for a bare unpark: what the operating system takes.
#[test]
#[ignore = "prints figures"]
fn hand_off_to_a_parked_thread() {
    for hold in [0, 2, 20, 200].map(Duration::from_micros) {
        let table = LockTable::new();
        let (mut all, mut bare) = (Vec::new(), Vec::new());
        let epoch = Instant::now();
        let nanos = || epoch.elapsed().as_nanos() as u64;
        let released = AtomicU64::new(0);
        // How many calls are about to wait or do.
        let (asked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let turns = |owner: u64| {
            let key = row(1);
            let mut times = Vec::new();
            while times.len() < 500 && !stop.load(Ordering::SeqCst) {
                asked.fetch_add(1, Ordering::SeqCst);
                let granted = table.acquire_blocking(owner, &key, Exclusive, &forever(1));
                let now = nanos();
                asked.fetch_sub(1, Ordering::SeqCst);
                if granted.is_ok_and(|granted| !granted.waited.is_zero()) {
                    times.push(now - released.load(Ordering::SeqCst));
                }
                // Let the other one come, then hold on to it for a while.
                while asked.load(Ordering::SeqCst) == 0 && !stop.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                let started = Instant::now();
                while started.elapsed() < hold {
                    std::hint::spin_loop();
                }
                released.store(nanos(), Ordering::SeqCst);
                table.release(owner, &key, 1);
            }
            stop.store(true, Ordering::SeqCst);
            times
        };
        std::thread::scope(|scope| {
            let turns = &turns;
            let threads = [1, 2].map(|owner| scope.spawn(move || turns(owner)));
            for thread in threads {
                all.extend(thread.join().expect("a thread of the test panicked"));
            }
            let parked = scope.spawn(|| {
                let mut times = Vec::new();
                while times.len() < 500 {
                    let before = released.load(Ordering::SeqCst);
                    asked.store(1, Ordering::SeqCst);
                    while released.load(Ordering::SeqCst) == before {
                        std::thread::park();
                    }
                    times.push(nanos() - released.load(Ordering::SeqCst));
                }
                stop.store(false, Ordering::SeqCst);
                times
            });
            while stop.load(Ordering::SeqCst) {
                if asked.swap(0, Ordering::SeqCst) == 1 {
                    let started = Instant::now();
                    while started.elapsed() < hold.max(Duration::from_micros(2)) {
                        std::hint::spin_loop();
                    }
                    released.store(nanos(), Ordering::SeqCst);
                    parked.thread().unpark();
                } else {
                    std::thread::yield_now();
                }
            }
            bare.extend(parked.join().expect("the parked thread panicked"));
        });
        println!("held {hold:?}, {} hand-offs: {}", all.len(), quantiles(all));
        println!("    a bare unpark: {}", quantiles(bare));
    }
}

/// From the release to the wake-up of the task, in the releasing thread: what the table itself adds.
#[test]
#[ignore = "prints figures"]
fn hand_off_to_a_task() {
    let table = LockTable::new();
    let key = row(1);
    let mut times = Vec::new();
    take_row(&table, 1, &key);
    for owner in 2..100_000u64 {
        let mut next = Task::new(table.acquire(owner, &key, Exclusive, &forever(1)));
        assert_eq!(next.poll(), None);
        let started = Instant::now();
        table.release(owner - 1, &key, 1);
        times.push(started.elapsed().as_nanos() as u64);
        next.granted();
    }
    println!("release with a task to wake: {}", quantiles(times));
}

fn take_row(table: &LockTable, owner: u64, key: &Bytes) {
    assert!(table.try_acquire(owner, key, Exclusive, 1).is_ok());
}

/// From the call that closes a cycle of two to the moment at which the victim knows.
#[test]
#[ignore = "prints figures"]
fn deadlock_found_after() {
    let mut times = Vec::new();
    for _ in 0..500 {
        let table = LockTable::new();
        take(&table, 1, "a", Exclusive);
        take(&table, 2, "b", Exclusive);
        let _one = Task::waiting(&table, 1, "b", Exclusive);
        let started = Instant::now();
        let result = table.acquire_blocking(2, &key("a"), Exclusive, &forever(0));
        times.push(started.elapsed().as_nanos() as u64);
        assert!(matches!(result, Err(LockError::Deadlock { .. })));
    }
    println!("a deadlock of two, blocking: {}", quantiles(times));
    let mut times = Vec::new();
    let table = LockTable::new();
    for _ in 0..500 {
        take(&table, 1, "a", Exclusive);
        take(&table, 2, "b", Exclusive);
        let one = Task::waiting(&table, 1, "b", Exclusive);
        let started = Instant::now();
        let result = block_on(table.acquire(2, &key("a"), Exclusive, &forever(0)));
        times.push(started.elapsed().as_nanos() as u64);
        assert!(matches!(result, Err(LockError::Deadlock { .. })));
        drop(one);
        table.release(1, b"a", 0);
        table.release(2, b"b", 0);
    }
    println!("a deadlock of two, futures: {}", quantiles(times));
}

/// Sixteen threads on sixteen keys, one lock at a time, nothing done under it.
#[test]
#[ignore = "prints figures"]
fn sixteen_threads_on_sixteen_keys() {
    const EACH: u64 = 50_000;
    let table = LockTable::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..16u64 {
            let table = &table;
            scope.spawn(move || {
                let keys: Vec<Bytes> = (0..16).map(row).collect();
                let mut state = thread + 1;
                for op in 0..EACH {
                    state = state
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let key = &keys[(state >> 60) as usize];
                    let owner = op * 16 + thread + 1;
                    assert!(
                        table
                            .acquire_blocking(owner, key, Exclusive, &forever(1))
                            .is_ok()
                    );
                    assert!(table.release(owner, key, 1));
                }
            });
        }
    });
    let stats = table.stats();
    println!(
        "16 x 16: {:.0} ns a lock, {} of {} waited",
        per_op(started, EACH * 16),
        stats.waits,
        stats.grants
    );
}

/// Many futures in one queue, released one after another.
#[test]
#[ignore = "prints figures"]
fn a_long_queue() {
    for n in [100u64, 1000, 10_000] {
        let table = LockTable::new();
        let key = row(1);
        take_row(&table, 1, &key);
        let started = Instant::now();
        let mut tasks: Vec<Task> = (2..n + 2)
            .map(|owner| Task::new(table.acquire(owner, &key, Exclusive, &forever(1))))
            .collect();
        println!("{n} join a queue: {:.0} ns each", per_op(started, n));
        assert!(tasks.iter_mut().all(|task| task.poll().is_none()));
        let started = Instant::now();
        for owner in 1..n + 1 {
            table.release(owner, &key, 1);
        }
        println!("{n} leave a queue: {:.0} ns each", per_op(started, n));
        assert!(
            tasks
                .into_iter()
                .all(|mut task| matches!(task.poll(), Some(Ok(_))))
        );
    }
}

/// Owners that wait for each other in one chain, all of them searched for at once, whoever waits for all others first or last.
#[test]
#[ignore = "prints figures"]
fn a_long_chain() {
    let delay = Duration::from_millis(500);
    let options = LockTableOptions::default().deadlock_delay(delay);
    for n in [1000, 10_000] {
        for (first, is_reversed) in [("waits for all others", false), ("waits for one", true)] {
            let table = LockTable::with_options(options.clone());
            (0..=n).for_each(|owner| take_row(&table, owner, &row(owner)));
            let started = Instant::now();
            let ask = |at| {
                let owner = if is_reversed { n - 1 - at } else { at };
                table.acquire(owner, &row(owner + 1), Exclusive, &forever(1))
            };
            let _calls: Vec<_> = (0..n).map(ask).collect();
            until_searched(&table);
            let searched = started.elapsed() - delay;
            println!("a chain of {n}, the first {first}: {searched:.0?}");
        }
    }
}
