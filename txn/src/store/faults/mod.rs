//! A store between a transaction and its store that lets things go wrong.
//!
//! [`FaultyStore`] passes every request on, but for those that meet a [`Fault`]: an error, a delay, a lost request, a
//! lost answer, a duplicate at once or late. Which do is drawn from a seed ([`FaultPlan`]) or asked for
//! ([`FaultyStore::inject`]). What is promised of a [`Store`](super) holds of it as well, if it holds of the store
//! behind it: a failure that it makes up is [`Error::Store`], *nobody knows*. So whatever is built on stores can be tried
//! on it.
//!
//! ```
//! use std::sync::Arc;
//! use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore, Request};
//! use untorn_txn::{BeginOptions, Db, MemStore};
//!
//! let store = Arc::new(FaultyStore::new(Arc::new(MemStore::new()), FaultPlan::new(1)));
//! let db = Db::new(store.clone());
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! txn.put("k", "v")?;
//! // Comes twice, and is one commit.
//! store.inject(Request::Commit, Fault::Duplicate);
//! txn.blocking().commit()?;
//! assert_eq!(store.happened(Fault::Duplicate), 1);
//! assert_eq!(db.blocking().snapshot()?.blocking().get("k")?.as_deref(), Some(&b"v"[..]));
//! # Ok::<(), untorn_txn::Error>(())
//! ```
//!
//! # What changes
//!
//! A counter of requests that the plan draws by, the queue of faults that were asked for, and the queue of late
//! duplicates, each under its own mutex. Nothing is locked while a request is passed on. Delays are counted in polls, not in
//! time: no timer is needed, and the same seed gives the same run where one thread asks.
//!
//! [`let_go`](Store::let_go) and [`stop_locking`](Store::stop_locking) tell nothing back and are always passed on, and so is
//! [`settle`](Store::settle).

mod late;
mod plan;

pub use plan::{Fault, FaultPlan, Request};

use super::{
    Answer, Begin, Flush, LockAnswers, LockKey, LockTerms, Pairs, Prewrite, Prewritten, SafePoint,
    ScanRequest, Store, Timestamp, TxnStatus,
};
use crate::{Entry, Error};
use bytes::Bytes;
use late::{Change, Late, UNDER_WAY};
use plan::Draws;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How often others have their turn before a delayed request goes on.
const TURNS: u32 = 20;

/// The failure of a request that met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{request}: {fault}, as planned")]
pub struct Injected {
    /// What was asked.
    pub request: Request,
    /// What went wrong.
    pub fault: Fault,
}

/// A store behind which things go wrong. See the [module](self).
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    draws: Draws,
    is_on: AtomicBool,
    late: Late,
}

impl FaultyStore {
    /// `inner`, with the faults of a plan.
    pub fn new(inner: Arc<dyn Store>, plan: FaultPlan) -> Self {
        Self {
            inner,
            draws: Draws::new(plan),
            is_on: AtomicBool::new(true),
            late: Late::default(),
        }
    }

    /// The store behind.
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// The next request of this kind that is sent meets this fault, whatever the plan says. Several are queued.
    pub fn inject(&self, request: Request, fault: Fault) {
        self.draws.ask_for(request, fault);
    }

    /// Ends the plan's faults, and delivers the late duplicates that are still under way.
    pub fn heal(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        while self.late.deliver_one(&*self.inner, 0) {}
    }

    /// Lets the plan's faults happen again.
    pub fn harm(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// How often a fault has happened.
    pub fn happened(&self, fault: Fault) -> u64 {
        self.draws.happened(fault)
    }

    /// Sends a request, `call`, with what is to happen to it. `copy` is what a late duplicate is made of, for requests
    /// that change something.
    fn send<'a, T: Send + 'a>(
        &'a self,
        request: Request,
        copy: impl FnOnce() -> Option<Change>,
        call: impl Fn() -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        match self.draw(request) {
            Some(fault) => self.meet(request, fault, copy, call),
            None => call(),
        }
    }

    /// What is to happen to a request.
    fn draw(&self, request: Request) -> Option<Fault> {
        let is_on = self.is_on.load(Ordering::Relaxed);
        if is_on {
            self.late.deliver_one(&*self.inner, UNDER_WAY);
        }
        let fault = self.draws.draw(request, is_on)?;
        tracing::trace!(%request, %fault, "injected");
        Some(fault)
    }

    fn meet<'a, T: Send + 'a>(
        &'a self,
        request: Request,
        fault: Fault,
        copy: impl FnOnce() -> Option<Change>,
        call: impl Fn() -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        let injected = move || Err(Error::transient(Injected { request, fault }));
        match fault {
            Fault::Error => Answer::ready(injected()),
            Fault::LateDuplicate => {
                copy().into_iter().for_each(|copy| self.late.add(copy));
                call()
            }
            Fault::Delay => Answer::waiting(async move {
                turns().await;
                call().await
            }),
            Fault::LostRequest | Fault::Part => Answer::waiting(async move {
                turns().await;
                injected()
            }),
            Fault::LostAnswer => Answer::waiting(async move {
                // Whatever it was: nobody learns it.
                drop(call().await);
                injected()
            }),
            Fault::Duplicate => Answer::waiting(async move {
                drop(call().await);
                call().await
            }),
        }
    }
}

/// Lets others have their turn.
async fn turns() {
    let mut left = TURNS;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        // For a runtime, and for a thread that parks.
        context.waker().wake_by_ref();
        std::thread::yield_now();
        Poll::Pending
    })
    .await;
}

impl Store for FaultyStore {
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp> {
        self.send(
            Request::Begin,
            || None,
            move || self.inner.begin(begin.clone()),
        )
    }

    fn timestamp(&self) -> Answer<'_, Timestamp> {
        self.send(Request::Timestamp, || None, || self.inner.timestamp())
    }

    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        self.send(Request::Hold, || None, move || self.inner.hold(at))
    }

    fn let_go(&self, at: Timestamp) {
        self.inner.let_go(at);
    }

    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>> {
        self.send(Request::Get, || None, move || self.inner.get(key, at))
    }

    fn batch_get<'a>(&'a self, keys: &'a [Bytes], at: Timestamp) -> Answer<'a, Vec<Option<Bytes>>> {
        self.send(
            Request::Get,
            || None,
            move || self.inner.batch_get(keys, at),
        )
    }

    fn read_cache(&self) -> usize {
        self.inner.read_cache()
    }

    fn first_batch(&self) -> usize {
        self.inner.first_batch()
    }

    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs> {
        self.send(Request::Scan, || None, move || self.inner.scan(request))
    }

    fn lock<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        let copy = || Some(Change::of_lock(start, keys, terms));
        match self.draw(Request::Lock) {
            None => self.inner.lock(start, keys, terms),
            Some(fault @ Fault::Part) if keys.len() > 1 => Answer::waiting(async move {
                let (carried_out, lost) = keys.split_at(keys.len() / 2);
                let mut answers = self.inner.lock(start, carried_out, terms).await?;
                // Where the store did not get to the end of its half, nobody knows how far it got.
                let lost = lost.len() + carried_out.len() - answers.len();
                let request = Request::Lock;
                answers
                    .extend((0..lost).map(|_| Err(Error::transient(Injected { request, fault }))));
                Ok(answers)
            }),
            Some(fault) => self.meet(Request::Lock, fault, copy, move || {
                self.inner.lock(start, keys, terms)
            }),
        }
    }

    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        self.send(
            Request::Unlock,
            || Some(Change::Unlock(start, locks.clone())),
            {
                let locks = locks.clone();
                move || self.inner.unlock(start, locks.clone())
            },
        )
    }

    fn stop_locking(&self, start: Timestamp) {
        self.inner.stop_locking(start);
    }

    fn heartbeat(&self, start: Timestamp, primary: Bytes, ttl: Duration) -> Answer<'_, ()> {
        self.send(
            Request::Heartbeat,
            || None,
            move || self.inner.heartbeat(start, primary.clone(), ttl),
        )
    }

    fn status(&self, start: Timestamp, primary: Bytes) -> Answer<'_, TxnStatus> {
        self.send(
            Request::Status,
            || None,
            move || self.inner.status(start, primary.clone()),
        )
    }

    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        self.send(
            Request::Prewrite,
            || Some(Change::of_prewrite(start, request)),
            move || self.inner.prewrite(start, request),
        )
    }

    fn decides_in_prewrite(&self) -> bool {
        self.inner.decides_in_prewrite()
    }

    fn takes_flushes(&self) -> bool {
        self.inner.takes_flushes()
    }

    fn flush<'a>(&'a self, start: Timestamp, request: &'a Flush) -> Answer<'a, ()> {
        let copy = || Some(Change::of_flush(start, request));
        match self.draw(Request::Flush) {
            None => self.inner.flush(start, request),
            Some(fault @ Fault::Part) => Answer::waiting(async move {
                let mut half = request.clone();
                let mutations = &mut half.prewrite.mutations;
                mutations.truncate(mutations.len() / 2);
                self.inner.flush(start, &half).await?;
                let request = Request::Flush;
                Err(Error::transient(Injected { request, fault }))
            }),
            Some(fault) => self.meet(Request::Flush, fault, copy, move || {
                self.inner.flush(start, request)
            }),
        }
    }

    fn flushed<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [Bytes],
    ) -> Answer<'a, Vec<Option<Entry>>> {
        self.send(
            Request::Flushed,
            || None,
            move || self.inner.flushed(start, keys),
        )
    }

    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        self.send(
            Request::Commit,
            || Some(Change::Commit(start)),
            move || self.inner.commit(start),
        )
    }

    fn rollback(&self, start: Timestamp) -> Answer<'_, ()> {
        self.send(
            Request::Rollback,
            || Some(Change::Rollback(start)),
            move || self.inner.rollback(start),
        )
    }

    fn settle(&self, deadline: Instant) -> Answer<'_, bool> {
        self.inner.settle(deadline)
    }

    fn safe_point(&self) -> Answer<'_, SafePoint> {
        self.send(Request::SafePoint, || None, || self.inner.safe_point())
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("is_on", &self.is_on)
            .finish_non_exhaustive()
    }
}
