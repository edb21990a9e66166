//! Deadlocks among threads: found, told with the true cycle, broken by exactly one victim, and never imagined. What makes a cycle,
//! and which calls are on it: `lock_cycles`.

mod lock_harness;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use lock_harness::*;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use untorn_txn::lock::{LockError, LockRequest, LockTable, LockTableOptions, OwnerId, WaitEdge};

fn table_with_delay(delay: Duration) -> LockTable {
    LockTable::with_options(LockTableOptions::default().deadlock_delay(delay))
}

/// Each owner holds its key and asks for the next one's; all threads start together.
fn ring(
    table: &LockTable,
    owners: &[OwnerId],
    request: impl Fn(usize) -> LockRequest + Sync,
) -> Vec<Result<(), LockError>> {
    let n = owners.len();
    for (at, owner) in owners.iter().enumerate() {
        assert!(
            table
                .try_acquire(*owner, &ring_key(at), Exclusive, 0)
                .is_ok()
        );
    }
    let start = Barrier::new(n);
    let one = |at: usize| {
        let (owner, wanted) = (owners[at], ring_key((at + 1) % n));
        start.wait();
        // Every other one through a future, so that both ways of waiting meet.
        let result = if at.is_multiple_of(2) {
            table.acquire_blocking(owner, &wanted, Exclusive, &request(at))
        } else {
            block_on(table.acquire(owner, &wanted, Exclusive, &request(at)))
        };
        table.release_all(owner, [ring_key(at), wanted]);
        result.map(drop)
    };
    std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..n).map(|at| scope.spawn(move || one(at))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread of the test panicked"))
            .collect()
    })
}

/// S29 for rings of several sizes.
#[test]
fn a_ring_has_exactly_one_victim_and_tells_the_true_cycle() {
    let mut rng = SmallRng::seed_from_u64(seed("ring"));
    for (n, rounds) in [(2, 40), (3, 40), (4, 40), (16, 10)] {
        for _ in 0..rounds {
            let table = LockTable::new();
            let mut owners: Vec<OwnerId> = (1..=n as u64).map(|owner| owner * 10).collect();
            owners.shuffle(&mut rng);
            let results = ring(&table, &owners, |_| forever(0));
            let failed: Vec<usize> = (0..n).filter(|at| results[*at].is_err()).collect();
            assert_eq!(failed.len(), 1, "{results:?}");
            assert_eq!(
                owners[failed[0]],
                n as u64 * 10,
                "the youngest is the victim"
            );
            let Err(LockError::Deadlock { key, cycle, .. }) = &results[failed[0]] else {
                panic!("{results:?}");
            };
            assert_eq!(*key, ring_key((failed[0] + 1) % n));
            check_shape(cycle, n as u64 * 10);
            assert_eq!(cycle.len(), n);
            for (step, edge) in cycle.iter().enumerate() {
                let at = (failed[0] + step) % n;
                let (waiter, holder) = (owners[at], owners[(at + 1) % n]);
                assert_eq!(
                    *edge,
                    WaitEdge {
                        waiter,
                        holder,
                        key: ring_key((at + 1) % n)
                    }
                );
            }
            assert!(table.is_empty());
            assert_eq!(table.stats().deadlocks, 1);
        }
    }
}

/// S29: a timeout races with the choice of the victim. Each call has one outcome, and there is at most one victim.
#[test]
fn a_timeout_that_races_with_the_victim_leaves_one_outcome_each() {
    let mut rng = SmallRng::seed_from_u64(seed("ring_with_timeout"));
    let (mut by_victim, mut by_timeout) = (0, 0);
    for round in 0..200 {
        let n = 2 + round % 2;
        let table = LockTable::new();
        let mut owners: Vec<OwnerId> = (1..=n as u64).collect();
        owners.shuffle(&mut rng);
        let timed = rng.random_range(0..n);
        let micros = rng.random_range(900..1300);
        let request = |at| {
            let wait = untorn_txn::lock::Wait::For(Duration::from_micros(micros));
            if at == timed {
                LockRequest {
                    wait,
                    deadline: None,
                    attempt: 0,
                }
            } else {
                forever(0)
            }
        };
        let results = ring(&table, &owners, request);
        let victims = results
            .iter()
            .filter(|result| matches!(result, Err(LockError::Deadlock { .. })))
            .count();
        let timeouts = results
            .iter()
            .filter(|result| matches!(result, Err(LockError::Timeout { .. })))
            .count();
        assert!(victims <= 1 && victims + timeouts >= 1, "{results:?}");
        assert_eq!(
            results.iter().filter(|result| result.is_err()).count(),
            victims + timeouts,
            "{results:?}"
        );
        let stats = table.stats();
        assert_eq!(
            (stats.deadlocks, stats.timeouts),
            (victims as u64, timeouts as u64)
        );
        assert!(table.is_empty() && table.waiting().is_empty());
        by_victim += victims;
        by_timeout += timeouts;
    }
    println!("{by_victim} by a victim, {by_timeout} by a timeout");
}

/// What holders of a key have in common: so many shared ones, or one exclusive.
struct Guarded(std::sync::atomic::AtomicI64);

impl Guarded {
    fn enter(&self, exclusive: bool) {
        use std::sync::atomic::Ordering::SeqCst;
        let before = if exclusive {
            self.0.swap(-1, SeqCst)
        } else {
            self.0.fetch_add(1, SeqCst)
        };
        assert!(
            before == 0 || !exclusive && before > 0,
            "two owners hold a key that exclude each other: {before}"
        );
    }

    fn leave(&self, exclusive: bool) {
        use std::sync::atomic::Ordering::SeqCst;
        let before = if exclusive {
            self.0.swap(0, SeqCst)
        } else {
            self.0.fetch_sub(1, SeqCst)
        };
        assert!(
            if exclusive { before == -1 } else { before > 0 },
            "{before}"
        );
    }
}

struct Workload {
    threads: u64,
    transactions: u64,
    keys: usize,
    ordered: bool,
}

/// Threads lock random keys, one after another, and let go of all. Returns how many deadlocks there were.
fn run(name: &str, table: &LockTable, work: &Workload) -> u64 {
    let seed = seed(name);
    let guarded: Vec<Guarded> = (0..work.keys).map(|_| Guarded(0.into())).collect();
    let start = Barrier::new(work.threads as usize);
    let one = |thread: u64| {
        let mut rng = SmallRng::seed_from_u64(seed ^ thread);
        let mut deadlocks = 0;
        start.wait();
        for number in 0..work.transactions {
            let owner = number * work.threads + thread + 1;
            let mut wanted: Vec<usize> = (0..work.keys).collect();
            wanted.shuffle(&mut rng);
            wanted.truncate(4);
            if work.ordered {
                wanted.sort_unstable();
            }
            // The owner, and with it its age, stays the same when it tries again.
            'again: for attempt in 0.. {
                let mut held: Vec<(usize, bool)> = Vec::new();
                let mut failed = None;
                for at in &wanted {
                    let exclusive = rng.random_bool(0.6);
                    let mode = if exclusive { Exclusive } else { Shared };
                    let result = if rng.random_bool(0.5) {
                        table.acquire_blocking(owner, &ring_key(*at), mode, &forever(attempt))
                    } else {
                        block_on(table.acquire(owner, &ring_key(*at), mode, &forever(attempt)))
                    };
                    match result {
                        Ok(_) => {
                            guarded[*at].enter(exclusive);
                            held.push((*at, exclusive));
                            // So that transactions overlap where processors are few.
                            std::thread::yield_now();
                        }
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
                for (at, exclusive) in held {
                    guarded[at].leave(exclusive);
                    assert!(table.release(owner, &ring_key(at), attempt));
                }
                match failed {
                    None => break 'again,
                    Some(LockError::Deadlock { cycle, .. }) => {
                        check_shape(&cycle, owner);
                        deadlocks += 1;
                    }
                    Some(other) => panic!("{other}"),
                }
            }
        }
        deadlocks
    };
    let deadlocks = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..work.threads)
            .map(|thread| scope.spawn(move || one(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread of the test panicked"))
            .sum()
    });
    assert!(table.is_empty(), "{:?}", table.held());
    assert!(table.waiting().is_empty());
    assert_eq!(table.stats().deadlocks, deadlocks);
    deadlocks
}

#[test]
fn keys_locked_in_order_never_make_a_deadlock() {
    // With no delay every wait searches at once, while everything around it moves.
    let table = table_with_delay(Duration::ZERO);
    let work = Workload {
        threads: 8,
        transactions: 1500,
        keys: 6,
        ordered: true,
    };
    // One round, and others until that is over.
    let end = Instant::now() + Duration::from_secs(seconds(0));
    loop {
        assert_eq!(run("ordered", &table, &work), 0);
        if Instant::now() >= end {
            break;
        }
    }
    println!("{:?}", table.stats());
    assert!(table.stats().waits > 0, "nobody ever waited");
}

#[test]
fn keys_locked_in_any_order_make_deadlocks_that_are_all_broken() {
    for delay in [Duration::ZERO, Duration::from_millis(1)] {
        let table = table_with_delay(delay);
        let work = Workload {
            threads: 8,
            transactions: 300,
            keys: 6,
            ordered: false,
        };
        let deadlocks = run("unordered", &table, &work);
        println!("{deadlocks} deadlocks, {:?}", table.stats());
        assert!(deadlocks > 0);
    }
}
