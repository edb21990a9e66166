//! A store that holds the answers to lock requests back until it is told, counts what it was asked, and wants reads kept
//! if it is told to.
#![allow(dead_code)] // each test file uses a part

use bytes::Bytes;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;
use untorn_txn::store::{
    Answer, Begin, LockAnswers, LockKey, LockTerms, Pairs, Prewrite, Prewritten, ScanRequest,
    TxnStatus,
};
use untorn_txn::{Error, KeyFlags, MemStore, SafePoint, Store, Timestamp, Transaction, TxnState};

#[derive(Debug, Default)]
pub struct HeldStore {
    pub inner: MemStore,
    /// How many bytes of what was read are to be kept.
    read_cache: usize,
    /// Values lie in blocks of so many bytes, as those do that come over a network.
    block: usize,
    told: Mutex<Told>,
    changed: Condvar,
    after_rollback: Mutex<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Told {
    sent: HashMap<Bytes, usize>,
    read: HashMap<Bytes, usize>,
    given_back: HashMap<Bytes, usize>,
    beats: HashMap<Bytes, usize>,
    gates: HashMap<Bytes, Arc<Gate>>,
    requests: Vec<Vec<Bytes>>,
    batches: Vec<usize>,
    scans: Vec<usize>,
    timestamps: usize,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    verdict: Option<Result<(), Error>>,
    wakers: Vec<Waker>,
}

impl Gate {
    fn open(&self, verdict: Result<(), Error>) {
        let wakers = {
            let mut state = self.state.lock().unwrap();
            state.verdict.get_or_insert(verdict);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn passed(&self) -> Result<(), Error> {
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            match &state.verdict {
                Some(verdict) => Poll::Ready(verdict.clone()),
                None => {
                    state.wakers.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl HeldStore {
    /// One that wants so many bytes kept of what was read. Its values lie in blocks of `block` bytes.
    pub fn keeping(read_cache: usize, block: usize) -> Self {
        Self {
            read_cache,
            block,
            ..Self::default()
        }
    }

    /// From now on requests for this key are not answered.
    pub fn hold(&self, key: &'static str) {
        let mut told = self.told.lock().unwrap();
        told.gates.insert(Bytes::from(key), Arc::default());
    }

    /// Those requests go on to the store, or fail; later ones are not held.
    pub fn answer(&self, key: &str, verdict: Result<(), Error>) {
        let gate = self.told.lock().unwrap().gates.remove(key.as_bytes());
        gate.expect("the key is held").open(verdict);
    }

    /// Later requests for the key are not held; those that are, until the answer is called.
    pub fn release_hold(&self, key: &str) -> impl FnOnce() + use<> {
        let gate = self.told.lock().unwrap().gates.remove(key.as_bytes());
        let gate = gate.expect("the key is held");
        move || gate.open(Ok(()))
    }

    /// Is woken after each rollback, when the locks are released, and before that is answered.
    pub fn after_rollback(&self, waker: Waker) {
        *self.after_rollback.lock().unwrap() = Some(waker);
    }

    pub fn sent(&self, key: &str) -> usize {
        let told = self.told.lock().unwrap();
        told.sent.get(key.as_bytes()).copied().unwrap_or(0)
    }

    /// How often a key was asked for by `get` or `batch_get`.
    pub fn read(&self, key: &str) -> usize {
        let told = self.told.lock().unwrap();
        told.read.get(key.as_bytes()).copied().unwrap_or(0)
    }

    /// All such questions.
    pub fn reads(&self) -> usize {
        self.told.lock().unwrap().read.values().sum()
    }

    fn in_a_block(&self, value: Bytes) -> Bytes {
        if value.len() >= self.block {
            return value;
        }
        let mut block = value.to_vec();
        block.resize(self.block, 0);
        Bytes::from(block).slice(..value.len())
    }

    pub fn given_back(&self, key: &str) -> usize {
        let told = self.told.lock().unwrap();
        told.given_back.get(key.as_bytes()).copied().unwrap_or(0)
    }

    /// The keys of the lock requests since this was asked last, in the order in which they were sent.
    pub fn requests(&self) -> Vec<Vec<Bytes>> {
        std::mem::take(&mut self.told.lock().unwrap().requests)
    }

    /// For how many keys `batch_get` was asked since this was asked last, in the order in which that was sent.
    pub fn batches(&self) -> Vec<usize> {
        std::mem::take(&mut self.told.lock().unwrap().batches)
    }

    /// How many keys the scans since this was asked last were for, in the order in which they were sent.
    pub fn scans(&self) -> Vec<usize> {
        std::mem::take(&mut self.told.lock().unwrap().scans)
    }

    /// How many timestamps were asked for since this was asked last.
    pub fn timestamps(&self) -> usize {
        std::mem::take(&mut self.told.lock().unwrap().timestamps)
    }

    /// Parks until so many requests for the key were sent.
    pub fn wait_sent(&self, key: &str, count: usize) {
        self.wait_until(|told| {
            told.sent
                .get(key.as_bytes())
                .is_some_and(|&sent| sent >= count)
        });
    }

    /// Parks until there was one more sign of life with this key as the primary.
    pub fn wait_beat(&self, primary: &'static str) {
        let beats = |told: &Told| told.beats.get(primary.as_bytes()).copied().unwrap_or(0);
        let before = beats(&self.told.lock().unwrap());
        self.wait_until(|told| beats(told) > before);
    }

    fn wait_until(&self, is_so: impl Fn(&Told) -> bool) {
        let told = self.told.lock().unwrap();
        drop(self.changed.wait_while(told, |told| !is_so(told)).unwrap());
    }
}

impl Store for HeldStore {
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp> {
        self.inner.begin(begin)
    }
    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        self.inner.hold(at)
    }
    fn let_go(&self, at: Timestamp) {
        self.inner.let_go(at);
    }
    fn timestamp(&self) -> Answer<'_, Timestamp> {
        self.told.lock().unwrap().timestamps += 1;
        self.inner.timestamp()
    }
    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>> {
        let mut told = self.told.lock().unwrap();
        *told.read.entry(Bytes::copy_from_slice(key)).or_default() += 1;
        drop(told);
        Answer::waiting(async move {
            let value = self.inner.get(key, at).await?;
            Ok(value.map(|value| self.in_a_block(value)))
        })
    }
    fn batch_get<'a>(&'a self, keys: &'a [Bytes], at: Timestamp) -> Answer<'a, Vec<Option<Bytes>>> {
        self.told.lock().unwrap().batches.push(keys.len());
        Answer::waiting(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key, at).await?);
            }
            Ok(values)
        })
    }
    fn read_cache(&self) -> usize {
        self.read_cache
    }
    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs> {
        self.told.lock().unwrap().scans.push(request.limit);
        self.inner.scan(request)
    }
    fn first_batch(&self) -> usize {
        self.inner.first_batch()
    }
    /// Up to the first key that is held; that one, asked for alone, waits.
    fn lock<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        let (open, gate) = {
            let mut told = self.told.lock().unwrap();
            let is_held = |key: &LockKey| told.gates.contains_key(&key.key);
            let held = keys.iter().position(is_held);
            let open = match held {
                Some(0) if keys.len() == 1 => 1,
                held => held.unwrap_or(keys.len()),
            };
            if open > 0 {
                let request = keys[..open].iter().map(|key| key.key.clone());
                told.requests.push(request.collect());
            }
            for key in &keys[..open] {
                *told.sent.entry(key.key.clone()).or_default() += 1;
            }
            (&keys[..open], told.gates.get(&keys[0].key).cloned())
        };
        self.changed.notify_all();
        match gate {
            None => self.inner.lock(start, open, terms),
            Some(gate) if open.len() == 1 => Answer::waiting(async move {
                gate.passed().await?;
                self.inner.lock(start, open, terms).await
            }),
            Some(_) => Answer::ready(Ok(LockAnswers::new())),
        }
    }
    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        let mut told = self.told.lock().unwrap();
        for (key, _) in &locks {
            *told.given_back.entry(key.clone()).or_default() += 1;
        }
        drop(told);
        self.inner.unlock(start, locks)
    }
    fn stop_locking(&self, start: Timestamp) {
        let gates: Vec<_> = {
            let mut told = self.told.lock().unwrap();
            told.gates.drain().collect()
        };
        for (_, gate) in gates {
            gate.open(Err(Error::TransactionClosed {
                state: TxnState::RolledBack,
            }));
        }
        self.inner.stop_locking(start);
    }
    fn heartbeat(&self, start: Timestamp, primary: Bytes, ttl: Duration) -> Answer<'_, ()> {
        let mut told = self.told.lock().unwrap();
        *told.beats.entry(primary.clone()).or_default() += 1;
        drop(told);
        self.changed.notify_all();
        self.inner.heartbeat(start, primary, ttl)
    }
    fn status(&self, start: Timestamp, primary: Bytes) -> Answer<'_, TxnStatus> {
        self.inner.status(start, primary)
    }
    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        self.inner.prewrite(start, request)
    }
    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        self.inner.commit(start)
    }
    fn rollback(&self, start: Timestamp) -> Answer<'_, ()> {
        let answer = self.inner.rollback(start);
        let waker = self.after_rollback.lock().unwrap().clone();
        waker.iter().for_each(Waker::wake_by_ref);
        answer
    }
    fn safe_point(&self) -> Answer<'_, SafePoint> {
        self.inner.safe_point()
    }
}

/// The keys whose locks the transaction has published.
pub fn locked_flags(txn: &Transaction) -> Vec<String> {
    txn.buffer()
        .range_with_flags::<&str>(..)
        .filter(|(_, _, flags)| flags.contains(KeyFlags::LOCKED))
        .map(|(key, ..)| String::from_utf8_lossy(&key).into_owned())
        .collect()
}

/// The keys that the transaction holds in the store.
pub fn held_by(store: &MemStore, txn: &Transaction) -> Vec<String> {
    let mut keys: Vec<String> = store
        .locks()
        .held()
        .into_iter()
        .filter(|lock| lock.holders.iter().any(|h| h.owner == txn.start_ts()))
        .map(|lock| String::from_utf8_lossy(&lock.key).into_owned())
        .collect();
    keys.sort();
    keys
}
