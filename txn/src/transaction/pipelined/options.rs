//! What may be said at the beginning of a pipelined transaction.

use crate::buffer::{Limits, PipelinedBuffer, pipelined::PipelinedBuilder};
use crate::lock::Wait;
use crate::store::{LOCK_TTL, Timestamp};
use crate::transaction::{BeginOptions, Mode, OnDrop};
use std::time::Duration;

/// How a [`PipelinedTransaction`](super::PipelinedTransaction) begins.
///
/// ```
/// use untorn_txn::PipelinedOptions;
///
/// let options = PipelinedOptions { min_keys: 1_000, ..Default::default() };
/// assert_eq!(options.min_bytes, 16 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct PipelinedOptions {
    /// The timestamp to read at; by default a fresh one.
    pub start_ts: Option<Timestamp>,
    /// A flush is due at this many keys and [`min_bytes`](Self::min_bytes). By default 10,000.
    pub min_keys: usize,
    /// A flush is due at this size and [`min_keys`](Self::min_keys). By default 16 MiB.
    pub min_bytes: usize,
    /// A flush is due at this size, however few the keys are. By default 128 MiB.
    pub force_bytes: usize,
    /// How long a flush waits for keys that others have locked. By default 50 seconds.
    pub lock_wait: Wait,
    /// Limits of the buffer; that of the whole binds the sum over all generations.
    pub limits: Limits,
    /// Whether values may be empty.
    pub empty_values: bool,
    /// How long locks outlive the last sign of life. By default 20 seconds; a sign is given twice in that time.
    pub lock_ttl: Duration,
    /// How long signs of life are given at most: then the locks are [lost](crate::Error::LockLost). By default an hour.
    pub max_lifetime: Option<Duration>,
    /// A drop that was not meant.
    pub on_drop: OnDrop,
    /// A name for logs.
    pub label: Option<String>,
}

impl Default for PipelinedOptions {
    fn default() -> Self {
        let any = BeginOptions::default();
        Self {
            start_ts: None,
            min_keys: 10_000,
            min_bytes: 16 << 20,
            force_bytes: 128 << 20,
            lock_wait: any.lock_wait,
            limits: any.limits,
            empty_values: false,
            lock_ttl: LOCK_TTL,
            max_lifetime: any.max_lifetime,
            on_drop: OnDrop::default(),
            label: None,
        }
    }
}

impl PipelinedOptions {
    pub(super) fn buffer(&self) -> PipelinedBuilder {
        PipelinedBuffer::builder()
            .min_keys(self.min_keys)
            .min_bytes(self.min_bytes)
            .force_bytes(self.force_bytes)
            .key_limit(self.limits.key)
            .entry_limit(self.limits.entry)
            .buffer_limit(self.limits.buffer)
            .empty_values(self.empty_values)
    }

    /// What is there for every transaction.
    pub(super) fn of_any(self) -> BeginOptions {
        BeginOptions {
            mode: Mode::Optimistic,
            start_ts: self.start_ts,
            lock_wait: self.lock_wait,
            limits: self.limits,
            empty_values: self.empty_values,
            lock_ttl: self.lock_ttl,
            max_lifetime: self.max_lifetime,
            on_drop: self.on_drop,
            label: self.label,
            ..BeginOptions::default()
        }
    }
}
