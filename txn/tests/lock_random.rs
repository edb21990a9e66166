//! Owners that ask for few keys at random, in every way that the table offers, beside a history of what they were told. By
//! that alone
//!
//! * nobody is told that it holds a key beside an owner whom that excludes;
//! * a deadlock that is told stood, the whole of it at one instant;
//! * every call ends, also where nothing but the end of a deadlock can end it;
//! * nothing is left in the table, and it has counted what the calls have told.

mod lock_harness;
mod lock_history;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lock_harness::*;
use lock_history::*;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use untorn_txn::lock::{
    Acquire, Canceller, LockMode, LockRequest, LockTable, LockTableOptions, OwnerId, Wait,
};

/// Nothing takes nearly as long: what has not come to its end by then never will.
const STUCK: Duration = Duration::from_secs(60);
/// How many transactions each thread has.
const EACH: usize = 8;

/// A table, who asks it for what, and what came of it.
struct World {
    table: LockTable,
    owners: Vec<OwnerId>,
    keys: Vec<Bytes>,
    /// Whether waits end before their time. Where none does, every deadlock has to be found.
    gives_up: bool,
    history: Mutex<History>,
    cancellers: Mutex<Vec<Canceller>>,
    /// How often it was said that a cancellation had ended a wait.
    cancelled: AtomicU64,
}

/// A lock that an owner was told it holds.
#[derive(Debug)]
struct Claim {
    call: usize,
    key: Bytes,
    attempt: u64,
}

/// Two calls of one step for a key in one mode come under one number, as a request that is sent twice.
fn attempt(step: u64, mode: LockMode) -> u64 {
    2 * step + u64::from(mode == Exclusive)
}

impl World {
    fn new(rng: &mut SmallRng) -> Self {
        let delay = Duration::from_micros([0, 100, 1000][rng.random_range(0..3)]);
        let threads = rng.random_range(2..9);
        let mut owners: Vec<OwnerId> = (1..).take(threads * EACH).collect();
        owners.shuffle(rng);
        Self {
            table: LockTable::with_options(LockTableOptions::default().deadlock_delay(delay)),
            owners,
            keys: (0..rng.random_range(1..8)).map(ring_key).collect(),
            gives_up: rng.random_bool(0.5),
            history: Mutex::default(),
            cancellers: Mutex::default(),
            cancelled: AtomicU64::new(0),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("another thread has failed")
    }

    fn cancellers(&self) -> MutexGuard<'_, Vec<Canceller>> {
        self.cancellers.lock().expect("another thread has failed")
    }

    /// The transactions of one thread: all at once, or one after another, with calls that block it.
    fn run(&self, owners: &[OwnerId], mut rng: SmallRng) {
        let may_block = rng.random_bool(0.5);
        let owners = owners.iter();
        let transactions = owners.map(|owner| self.transaction(*owner, may_block, rng.fork()));
        if may_block {
            transactions.for_each(block_on);
        } else {
            let transactions: FuturesUnordered<_> = transactions.collect();
            block_on(transactions.collect::<()>());
        }
    }

    /// A few steps, each of some calls at once. While they wait, locks of earlier steps are let go of.
    async fn transaction(&self, owner: OwnerId, may_block: bool, mut rng: SmallRng) {
        let mut held: Vec<Claim> = Vec::new();
        for step in 0..rng.random_range(1..5) {
            let calls = 0..rng.random_range(1..5);
            let mut calls: FuturesUnordered<_> = calls
                .map(|_| self.call(owner, step, may_block, rng.fork()))
                .collect();
            while let Some(granted) = calls.next().await {
                held.extend(granted);
                let is_earlier = |claim: &Claim| claim.attempt < attempt(step, Shared);
                if let Some(at) = held.iter().position(is_earlier)
                    && rng.random_bool(0.2)
                {
                    self.release(owner, &mut held, at);
                }
            }
            yield_now().await;
            if rng.random_bool(0.1) {
                // What waits for this thread comes to be searched for before it goes on.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if rng.random_bool(0.5) {
            let keys: BTreeSet<_> = held.iter().map(|claim| &claim.key).collect();
            self.let_go(&held, || {
                self.table.release_all(owner, &self.keys) == keys.len()
            });
        } else {
            while !held.is_empty() {
                self.release(owner, &mut held, 0);
            }
        }
    }

    /// One call, made a little later or at once.
    async fn call(
        &self,
        owner: OwnerId,
        step: u64,
        may_block: bool,
        mut rng: SmallRng,
    ) -> Option<Claim> {
        for _ in 0..rng.random_range(0..3) {
            yield_now().await;
        }
        if self.gives_up {
            self.cancel_some(&mut rng);
        }
        let key = self.keys.choose(&mut rng)?;
        let mode = *[Shared, Exclusive].choose(&mut rng)?;
        let attempt = attempt(step, mode);
        let request = if self.gives_up {
            terms(attempt, &mut rng)
        } else {
            forever(attempt)
        };
        let call = self.history().make(owner, key, mode);
        let acquire = || {
            let acquire = self.table.acquire(owner, key, mode, &request);
            self.cancellers().push(acquire.canceller());
            acquire
        };
        let answer = match rng.random_range(0..8) {
            0 if may_block => Some(self.table.acquire_blocking(owner, key, mode, &request)),
            1 if may_block => Some(acquire().wait()),
            2 if self.gives_up => unless_dropped(acquire(), rng.random_range(0..4)).await,
            _ => Some(acquire().await),
        };
        self.history().tell(call, &request, answer.as_ref());
        answer?.ok()?;
        assert!(self.table.mode_of(owner, key) >= Some(mode));
        let key = key.clone();
        Some(Claim { call, key, attempt })
    }

    /// Now and then ends a wait, or all those of an owner.
    fn cancel_some(&self, rng: &mut SmallRng) {
        let canceller = self.cancellers().choose(rng).cloned();
        let ended = match (rng.random_range(0..20), canceller) {
            (0, _) => self
                .table
                .cancel_owner(self.owners[rng.random_range(0..self.owners.len())]),
            (1 | 2, Some(canceller)) => canceller.cancel().into(),
            _ => 0,
        };
        self.cancelled.fetch_add(ended as u64, Relaxed);
    }

    /// Releases the claim at this place, and those which the owner has on the key under the same number.
    fn release(&self, owner: OwnerId, held: &mut Vec<Claim>, at: usize) {
        let (key, attempt) = (held[at].key.clone(), held[at].attempt);
        let is_same = |claim: &mut Claim| claim.key == key && claim.attempt == attempt;
        let claims: Vec<Claim> = held.extract_if(.., is_same).collect();
        self.let_go(&claims, || self.table.release(owner, &key, attempt));
    }

    fn let_go(&self, claims: &[Claim], release: impl FnOnce() -> bool) {
        let calls = || claims.iter().map(|claim| claim.call);
        self.history().let_go(calls());
        assert!(release(), "not held: {claims:?}");
        self.history().leave(calls());
    }

    /// All have come to their end.
    fn check_rest(&self) {
        let (history, stats) = (self.history(), self.table.stats());
        let is_empty = "LockTable { keys: 0, owners_waiting: 0, .. }";
        assert_eq!(format!("{:?}", self.table), is_empty);
        let counted = [
            (GRANTED, stats.grants),
            (NOT_AVAILABLE, stats.not_available),
            (TIMED_OUT, stats.timeouts),
            (DEADLOCK, stats.deadlocks),
            (CANCELLED, stats.cancelled),
        ];
        // A call that was dropped has come to one of these ends, too.
        let sum: u64 = counted.iter().map(|(_, calls)| calls).sum();
        assert_eq!(sum, history.calls());
        for (end, calls) in counted {
            assert!(history.told(end) <= calls, "{end}: {stats:?}");
        }
        let cancelled = history.told(CANCELLED)..=stats.cancelled;
        assert!(cancelled.contains(&self.cancelled.load(Relaxed)));
    }
}

/// Most calls wait for ever.
fn terms(attempt: u64, rng: &mut SmallRng) -> LockRequest {
    let soon = Duration::from_micros(rng.random_range(0..2000));
    let (wait, deadline) = match rng.random_range(0..8) {
        0 => (Wait::NoWait, None),
        1 => (Wait::For(soon), None),
        2 => (Wait::Forever, Some(Instant::now() + soon)),
        _ => (Wait::Forever, None),
    };
    LockRequest {
        wait,
        deadline,
        attempt,
    }
}

/// Polls the call so often, and drops it if it has told nothing.
async fn unless_dropped(mut call: Acquire, polls: u32) -> Option<Answer> {
    for _ in 0..polls {
        if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(Pin::new(&mut call).poll(cx))).await {
            return Some(answer);
        }
        yield_now().await;
    }
    None
}

/// Lets others run: other transactions of the thread, and other threads.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        std::thread::yield_now();
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Some threads on one table. They are not scoped, so that the test comes to its end where one of them does not.
fn round(rng: &mut SmallRng, told: &mut Told) {
    let world = Arc::new(World::new(rng));
    let (tell_end, ends) = mpsc::channel();
    for thread in 0..world.owners.len() / EACH {
        let (world, tell_end, rng) = (world.clone(), tell_end.clone(), rng.fork());
        std::thread::spawn(move || {
            let owners = &world.owners[thread * EACH..][..EACH];
            let end = catch_unwind(AssertUnwindSafe(|| world.run(owners, rng)));
            let _ = tell_end.send(end);
        });
    }
    for _ in world.owners.chunks(EACH) {
        let end = ends.recv_timeout(STUCK).unwrap_or_else(|_| {
            let (waiting, held) = (world.table.waiting(), world.table.held());
            panic!("stuck: {waiting:#?}, {held:#?}")
        });
        end.unwrap_or_else(|panic| resume_unwind(panic));
    }
    world.check_rest();
    world.history().add_to(told);
}

#[test]
fn owners_at_random_get_what_the_table_promises() {
    let mut rng = SmallRng::seed_from_u64(seed("random"));
    let (begin, mut rounds, mut told) = (Instant::now(), 0, Told::default());
    let enough = Duration::from_secs(seconds(2));
    // On until every end was seen, however slow the machine.
    while begin.elapsed() < enough || told.len() < ENDS {
        assert!(begin.elapsed() < enough + STUCK, "only {told:?}");
        round(&mut rng, &mut told);
        rounds += 1;
    }
    println!("{rounds} rounds: {told:?}");
}
