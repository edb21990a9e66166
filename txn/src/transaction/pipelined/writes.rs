//! The way of the writes from the buffer to the store, one generation after another.

use super::PipelinedOptions;
use crate::buffer::{Entry, FlushTarget, Generation, PipelinedBuffer};
use crate::db::Shared;
use crate::error::{Error, TxnState};
use crate::lock::Wait;
use crate::metrics::{self, Event};
use crate::store::{Answer, Flush, Mutation, MutationOp, Prewrite, Timestamp};
use crate::transaction::Core;
use crate::transaction::mutations::bytes_of;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// How often a generation is sent in all.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The writes of a pipelined transaction.
pub(in crate::transaction) struct Writes {
    pub(in crate::transaction) buffer: PipelinedBuffer,
    pub(super) sent: Arc<Sent>,
}

/// What was flushed so far. Changed by the flush under way, read by the commit that has waited for it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// A key of the first generation that left something; named by all after it.
    pub(super) primary: OnceLock<Bytes>,
    keys: AtomicUsize,
    bytes: AtomicUsize,
}

impl Sent {
    /// Mutations, and the length of their keys and values.
    pub(super) fn counts(&self) -> (usize, usize) {
        let counts = [&self.keys, &self.bytes].map(|count| count.load(Ordering::Acquire));
        (counts[0], counts[1])
    }
}

impl Writes {
    pub(super) fn new(
        db: &Arc<Shared>,
        core: &Weak<Core>,
        start_ts: Timestamp,
        options: &PipelinedOptions,
    ) -> Self {
        let sent = Arc::new(Sent::default());
        let target = Target {
            db: Arc::clone(db),
            core: Weak::clone(core),
            start_ts,
            lock_wait: options.lock_wait,
            lock_ttl: options.lock_ttl,
            sent: Arc::clone(&sent),
        };
        Self {
            buffer: options.buffer().build(target),
            sent,
        }
    }
}

/// Puts generations down in the store. It does not keep the transaction open: one that is dropped is rolled back at once.
struct Target {
    db: Arc<Shared>,
    core: Weak<Core>,
    start_ts: Timestamp,
    lock_wait: Wait,
    lock_ttl: Duration,
    sent: Arc<Sent>,
}

impl FlushTarget for Target {
    fn flush(&self, generation: Generation) -> Answer<'_, ()> {
        let number = generation.number();
        let span = tracing::debug_span!("flush", start_ts = self.start_ts, generation = number);
        let flushed = async move {
            let mutations = mutations(&generation);
            if mutations.is_empty() {
                return Ok(());
            }
            let (keys, bytes) = (mutations.len(), bytes_of(&mutations));
            let flushed = self.put_down(number, mutations).await;
            match &flushed {
                Ok(()) => {
                    self.sent.keys.fetch_add(keys, Ordering::AcqRel);
                    self.sent.bytes.fetch_add(bytes, Ordering::AcqRel);
                    tracing::debug!(keys, bytes, "flushed");
                    metrics::count(Event::Flushed);
                }
                Err(error) => {
                    tracing::debug!(keys, bytes, %error, "flush failed");
                    metrics::count(Event::FlushFailed);
                }
            }
            flushed
        };
        Answer::waiting(flushed.instrument(span))
    }

    fn flushed(&self, keys: Vec<Bytes>) -> Answer<'_, BTreeMap<Bytes, Entry>> {
        Answer::waiting(async move {
            let entries = self.db.store.flushed(self.start_ts, &keys).await;
            let entries = entries.map_err(|error| self.told_by_store(error))?;
            let found = keys.into_iter().zip(entries);
            Ok(found
                .filter_map(|(key, entry)| Some((key, entry?)))
                .collect())
        })
    }
}

impl Target {
    async fn put_down(&self, number: u64, mutations: Vec<Mutation>) -> Result<(), Error> {
        let mut prewrite = Prewrite {
            wait: self.lock_wait,
            ttl: self.lock_ttl,
            ..Prewrite::new(mutations)
        };
        if prewrite.leaves_something() {
            let primary = self.sent.primary.get_or_init(|| prewrite.primary.clone());
            prewrite.primary = primary.clone();
        }
        self.of_open(|core| {
            core.check_alive()?;
            if let Some(primary) = self.sent.primary.get() {
                core.register.settle_primary(primary);
            }
            if core.register.starts_to_beat() {
                core.start_to_beat();
            }
            Ok(())
        })?;
        let request = Flush::new(number, prewrite);
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.send(&request).await {
                Err(Error::Store {
                    transient: true, ..
                }) => {}
                answer => return answer,
            }
            // Nobody knows whether it has arrived: if so, it changes nothing now.
            self.of_open(|_| Ok(()))?;
            self.db.worker.sleep_until(Instant::now() + pause).await;
            pause *= 2;
        }
        self.send(&request).await
    }

    async fn send(&self, request: &Flush) -> Result<(), Error> {
        let answer = self.db.store.flush(self.start_ts, request).await;
        answer.map_err(|error| self.told_by_store(error))
    }

    /// As the transaction's, while somebody has it.
    fn told_by_store(&self, error: Error) -> Error {
        match self.core.upgrade() {
            Some(core) => core.told_by_store(error),
            None => error,
        }
    }

    /// Does something with the transaction, unless that has ended. It is not held for longer: its last handle is its owner's.
    fn of_open(&self, with: impl FnOnce(&Arc<Core>) -> Result<(), Error>) -> Result<(), Error> {
        let closed = |state| Error::TransactionClosed { state };
        let core = self.core.upgrade().ok_or(closed(TxnState::RolledBack))?;
        match core.life.state() {
            TxnState::Open | TxnState::Committing => with(&core),
            state => Err(closed(state)),
        }
    }
}

/// What a generation puts down, in key order.
fn mutations(generation: &Generation) -> Vec<Mutation> {
    let op = |entry, is_presumed_absent| match entry {
        Entry::Value(value) if is_presumed_absent => MutationOp::Insert(value),
        Entry::Value(value) => MutationOp::Put(value),
        // Presumed only where no generation has the key: there is nothing to delete.
        Entry::Tombstone if is_presumed_absent => MutationOp::CheckNotExists,
        Entry::Tombstone => MutationOp::Delete,
    };
    let written = generation.mutations().filter_map(|(key, entry, flags)| {
        let op = op(entry?, flags.presumes_not_exists());
        Some(Mutation::new(key, op))
    });
    written.collect()
}
