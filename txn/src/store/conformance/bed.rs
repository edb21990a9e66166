//! The store under test, with the few requests of which the cases are made.

use super::one_key::{OneKey, patient, request};
use crate::store::{
    Answer, Begin, Guard, Locked, Mutation, MutationOp, Pairs, Prewrite, Prewritten, ScanRequest,
    Store, Timestamp,
};
use crate::{Error, TxnState};
use bytes::Bytes;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a case waits for an answer that has to come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A store, and the prefix of the keys that a case has for itself.
pub struct Bed {
    pub(super) store: Arc<dyn Store>,
    prefix: Vec<u8>,
    /// Alive as long as the case runs.
    owner: Arc<()>,
}

/// Shorthand for the mutations of a case.
pub(super) fn put(key: &Bytes, value: &'static str) -> Mutation {
    checked(key, MutationOp::Put(Bytes::from_static(value.as_bytes())))
}

pub(super) fn insert(key: &Bytes, value: &'static str) -> Mutation {
    checked(
        key,
        MutationOp::Insert(Bytes::from_static(value.as_bytes())),
    )
}

/// A mutation of a key that the transaction did not lock.
pub(super) fn checked(key: &Bytes, op: MutationOp) -> Mutation {
    Mutation::new(key.clone(), op)
}

/// A mutation of a key that the transaction has locked.
pub(super) fn locked(key: &Bytes, op: MutationOp) -> Mutation {
    Mutation {
        guard: Guard::Locked,
        ..checked(key, op)
    }
}

#[track_caller]
pub(super) fn refused_as<T: std::fmt::Debug>(result: Result<T, Error>, state: TxnState) {
    assert!(
        matches!(&result, Err(Error::TransactionClosed { state: seen }) if *seen == state),
        "it is {state}: {result:?}"
    );
}

impl Bed {
    pub(super) fn new(store: Arc<dyn Store>, case: &str) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        // Only to be different: no order is needed.
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("conformance/{}/{run}/{case}/", std::process::id()).into_bytes();
        Self {
            store,
            prefix,
            owner: Arc::default(),
        }
    }

    /// A key of the case.
    pub(super) fn key(&self, name: impl AsRef<[u8]>) -> Bytes {
        [self.prefix.as_slice(), name.as_ref()].concat().into()
    }

    /// The answer. A wait for a lock that is given [`PATIENCE`] ends before this does.
    #[track_caller]
    pub(super) fn ask<T>(&self, mut answer: Answer<'_, T>) -> Result<T, Error> {
        let waker = Waker::from(Arc::new(Unparks(std::thread::current())));
        let until = Instant::now() + PATIENCE * 2;
        loop {
            match Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending if Instant::now() > until => {
                    panic!("no answer in {:?}", PATIENCE * 2)
                }
                Poll::Pending => std::thread::park_timeout(until - Instant::now()),
            }
        }
    }

    /// As [`ask`](Self::ask), for what has to succeed.
    #[track_caller]
    pub(super) fn sure<T>(&self, answer: Answer<'_, T>) -> T {
        match self.ask(answer) {
            Ok(value) => value,
            Err(error) => panic!("nothing is in the way, and yet: {error}"),
        }
    }

    #[track_caller]
    pub(super) fn begin(&self) -> Timestamp {
        self.sure(self.store.begin(self.opening(None)))
    }

    /// How a transaction of the case begins, whose owner is alive.
    pub(super) fn opening(&self, start_ts: Option<Timestamp>) -> Begin {
        Begin {
            start_ts,
            owner: Arc::downgrade(&self.owner),
        }
    }

    #[track_caller]
    pub(super) fn now(&self) -> Timestamp {
        self.sure(self.store.timestamp())
    }

    #[track_caller]
    pub(super) fn get(&self, key: &Bytes, at: Timestamp) -> Option<Bytes> {
        self.sure(self.store.get(key, at))
    }

    /// What is newest.
    #[track_caller]
    pub(super) fn newest(&self, key: &Bytes) -> Option<Bytes> {
        self.get(key, self.now())
    }

    /// A range of the case's keys, which are given and answered without the prefix.
    #[track_caller]
    pub(super) fn scan(
        &self,
        bounds: impl RangeBounds<&'static str>,
        at: Timestamp,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Bytes)> {
        let mut after = self.prefix.clone();
        if let Some(last) = after.last_mut() {
            *last += 1;
        }
        let request = ScanRequest {
            lower: match bounds.start_bound() {
                Bound::Unbounded => Bound::Included(self.key("")),
                bound => bound.map(|name| self.key(name)),
            },
            upper: match bounds.end_bound() {
                Bound::Unbounded => Bound::Excluded(after.into()),
                bound => bound.map(|name| self.key(name)),
            },
            at,
            limit,
            reverse,
        };
        let pairs: Pairs = self.sure(self.store.scan(&request));
        pairs
            .into_iter()
            .map(|(key, value)| match key.strip_prefix(&self.prefix[..]) {
                Some(name) => (name.to_vec(), value),
                None => panic!("a key out of range: {key:?}"),
            })
            .collect()
    }

    /// The names alone.
    #[track_caller]
    pub(super) fn names(
        &self,
        bounds: impl RangeBounds<&'static str>,
        limit: usize,
        reverse: bool,
    ) -> Vec<String> {
        self.scan(bounds, self.now(), limit, reverse)
            .into_iter()
            .map(|(name, _)| String::from_utf8_lossy(&name).into_owned())
            .collect()
    }

    /// A lock of one key; it is on its way from the first poll on.
    pub(super) fn locking(&self, start: Timestamp, one: OneKey) -> Answer<'_, Locked> {
        Answer::waiting(async move {
            let keys = [one.key];
            let mut answers = self.store.lock(start, &keys, &one.terms).await?;
            let first = answers.pop();
            assert!(answers.is_empty(), "one answer for a key");
            first.expect("a key that is asked for alone is answered")
        })
    }

    pub(super) fn lock(&self, start: Timestamp, one: OneKey) -> Result<Locked, Error> {
        self.ask(self.locking(start, one))
    }

    /// Locks a key that nobody else holds.
    #[track_caller]
    pub(super) fn take(&self, start: Timestamp, key: &Bytes) -> Locked {
        self.sure(self.locking(start, request(key)))
    }

    #[track_caller]
    pub(super) fn unlock(&self, start: Timestamp, key: &Bytes, attempt: u64) {
        self.sure(self.store.unlock(start, vec![(key.clone(), attempt)]));
    }

    /// A prewrite that does not wait for locks.
    pub(super) fn prewrite(
        &self,
        start: Timestamp,
        mutations: &[Mutation],
    ) -> Result<Prewritten, Error> {
        let request = Prewrite::new(mutations.to_vec());
        self.ask(self.store.prewrite(start, &request))
    }

    /// A prewrite that has to succeed, of a transaction begun here.
    #[track_caller]
    pub(super) fn put_down(&self, mutations: &[Mutation]) -> Timestamp {
        let start = self.begin();
        self.put_down_as(start, mutations);
        start
    }

    /// A prewrite that has to succeed and to leave the decision open.
    #[track_caller]
    pub(super) fn put_down_as(&self, start: Timestamp, mutations: &[Mutation]) {
        let answer = self.prewrite(start, mutations);
        assert!(
            matches!(answer, Ok(Prewritten::Undecided)),
            "nothing is in the way, and nothing was decided: {answer:?}"
        );
    }

    /// A whole transaction that has to succeed: its commit timestamp.
    #[track_caller]
    pub(super) fn apply(&self, mutations: &[Mutation]) -> Timestamp {
        self.commit(self.put_down(mutations))
    }

    #[track_caller]
    pub(super) fn commit(&self, start: Timestamp) -> Timestamp {
        self.sure(self.store.commit(start))
    }

    #[track_caller]
    pub(super) fn rollback(&self, start: Timestamp) {
        self.sure(self.store.rollback(start));
    }

    /// Asserts that nobody holds the key: another one gets it, at the latest when what was sent has arrived.
    #[track_caller]
    pub(super) fn is_free(&self, key: &Bytes) {
        let start = self.begin();
        self.sure(self.locking(start, patient(key)));
        self.rollback(start);
    }

    /// Polls once: the request is on its way, or in a queue.
    #[track_caller]
    pub(super) fn waits<T: std::fmt::Debug>(&self, answer: &mut Answer<'_, T>) {
        let poll = Pin::new(answer).poll(&mut Context::from_waker(Waker::noop()));
        assert!(
            poll.is_pending(),
            "somebody is in the way, and yet: {poll:?}"
        );
    }
}

struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
