//! What the tests of the lock table share: a task that counts its wake-ups, and waiting for a state.
#![allow(dead_code, unused_imports)]

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use untorn_txn::lock::{
    Acquire, Granted, LockError, LockMode, LockRequest, LockTable, OwnerId, Wait, WaitEdge,
};

pub use LockMode::{Exclusive, Shared};

pub fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

pub fn forever(attempt: u64) -> LockRequest {
    LockRequest {
        wait: Wait::Forever,
        deadline: None,
        attempt,
    }
}

pub fn within(millis: u64, attempt: u64) -> LockRequest {
    LockRequest {
        wait: Wait::For(std::time::Duration::from_millis(millis)),
        deadline: None,
        attempt,
    }
}

/// Takes a lock that must be free.
pub fn take(table: &LockTable, owner: u64, name: &str, mode: LockMode) -> Granted {
    match table.try_acquire(owner, &key(name), mode, 0) {
        Ok(granted) => granted,
        Err(error) => panic!("{owner} was refused: {error}"),
    }
}

/// A call that is polled by hand.
pub struct Task {
    call: Pin<Box<Acquire>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    pub fn new(call: Acquire) -> Self {
        Self {
            call: Box::pin(call),
            wakes: Arc::default(),
        }
    }

    /// Asks for a lock and polls once; the lock must not be granted yet.
    pub fn waiting(table: &LockTable, owner: u64, name: &str, mode: LockMode) -> Self {
        let mut task = Self::new(table.acquire(owner, &key(name), mode, &forever(0)));
        assert_eq!(task.poll(), None, "{owner} was granted {name}");
        task
    }

    pub fn poll(&mut self) -> Option<Result<Granted, LockError>> {
        let waker = Waker::from(self.wakes.clone());
        match self.call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// Waits until it is woken, and polls.
    pub fn woken(&mut self) -> Option<Result<Granted, LockError>> {
        while self.wakes() == 0 {
            std::thread::yield_now();
        }
        self.poll()
    }

    /// It was woken, and it is granted.
    #[track_caller]
    pub fn granted(&mut self) -> Granted {
        assert!(self.wakes() > 0, "not woken");
        match self.poll() {
            Some(Ok(granted)) => granted,
            other => panic!("not granted: {other:?}"),
        }
    }

    #[track_caller]
    pub fn still_waits(&mut self) {
        assert_eq!(self.wakes(), 0, "woken");
        assert_eq!(self.poll(), None);
    }

    pub fn canceller(&self) -> untorn_txn::lock::Canceller {
        self.call.canceller()
    }
}

/// Drives a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Until so many calls wait.
pub fn until_waiting(table: &LockTable, calls: usize) {
    while table.waiting().len() < calls {
        std::thread::yield_now();
    }
}

/// Waits until the timer thread has searched for the calls that wait by now: a deadlock of others, made after them, is
/// found by the same thread. It goes round so many owners that none of their calls finds it itself.
pub fn until_searched(table: &LockTable) {
    const RING: u64 = 40;
    // Owners that no test has.
    const FIRST: u64 = 1 << 32;
    let held = |owner| format!("searched {owner}");
    for owner in 0..RING {
        take(table, FIRST + owner, &held(owner), Exclusive);
    }
    let waiting = |owner| Task::waiting(table, FIRST + owner, &held(owner + 1), Exclusive);
    let _ring: Vec<Task> = (0..RING - 1).map(waiting).collect();
    let closing = table.acquire(FIRST + RING - 1, &key(&held(0)), Exclusive, &forever(0));
    assert!(matches!(block_on(closing), Err(LockError::Deadlock { .. })));
    for owner in 0..RING {
        table.release(FIRST + owner, held(owner).as_bytes(), 0);
    }
}

/// A seed from the environment, or a fresh one; printed either way.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("UNTORN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{test}: UNTORN_SEED={seed}");
    seed
}

/// For how long a test at random goes on: `UNTORN_SECONDS`, or what it takes by itself.
pub fn seconds(default: u64) -> u64 {
    match std::env::var("UNTORN_SECONDS") {
        Ok(given) => given.parse().expect("UNTORN_SECONDS is a number"),
        Err(_) => default,
    }
}

pub fn ring_key(at: usize) -> Bytes {
    key(&format!("ring {at}"))
}

/// Each edge's holder is the next one's waiter, the victim stands first and is the youngest.
pub fn check_shape(cycle: &[WaitEdge], victim: OwnerId) {
    assert!(cycle.len() > 1, "{cycle:?}");
    assert_eq!(cycle[0].waiter, victim);
    assert_eq!(cycle.iter().map(|edge| edge.waiter).max(), Some(victim));
    for (at, edge) in cycle.iter().enumerate() {
        assert_eq!(
            edge.holder,
            cycle[(at + 1) % cycle.len()].waiter,
            "{cycle:?}"
        );
    }
    let waiters: HashSet<_> = cycle.iter().map(|edge| edge.waiter).collect();
    assert_eq!(
        waiters.len(),
        cycle.len(),
        "an owner comes twice: {cycle:?}"
    );
}
