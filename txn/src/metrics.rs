//! Counters for the [`metrics`](https://docs.rs/metrics) facade, with the feature `metrics`; without it nothing is
//! counted and nothing is called. Whoever installs a recorder sees:
//!
//! | name | kind | what is counted |
//! |---|---|---|
//! | `untorn_txn_begun_total` | counter | transactions begun |
//! | `untorn_txn_committed_total` | counter | commits |
//! | `untorn_txn_commit_failed_total` | counter | commits that failed and rolled back, or are undetermined |
//! | `untorn_txn_rolled_back_total` | counter | rollbacks by a call or a drop |
//! | `untorn_txn_retried_total` | counter | attempts of `Db::run` after the first |
//! | `untorn_txn_keys_locked_total` | counter | keys that lock calls took, without those that were held before |
//! | `untorn_txn_lock_calls_failed_total` | counter | lock calls that failed |
//! | `untorn_txn_deadlocks_total` | counter | lock calls that were a deadlock's victim |
//! | `untorn_txn_locks_lost_total` | counter | transactions whose locks were lost |
//! | `untorn_txn_reads_kept_total` | counter | point reads answered by what was [kept](crate::Store::read_cache) |
//! | `untorn_txn_reads_asked_total` | counter | point reads that a store was asked for which wants them kept |
//! | `untorn_txn_flushed_total` | counter | generations that pipelined transactions flushed |
//! | `untorn_txn_flushes_failed_total` | counter | generations that could not be flushed |
//! | `untorn_txn_lock_wait_seconds` | histogram | how long a key was waited for, where it was |

use std::time::Duration;

/// What happened to a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Begun,
    Committed,
    CommitFailed,
    RolledBack,
    Retried,
    LockCallFailed,
    Deadlock,
    LocksLost,
    Flushed,
    FlushFailed,
}

#[cfg(feature = "metrics")]
impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Begun => "untorn_txn_begun_total",
            Self::Committed => "untorn_txn_committed_total",
            Self::CommitFailed => "untorn_txn_commit_failed_total",
            Self::RolledBack => "untorn_txn_rolled_back_total",
            Self::Retried => "untorn_txn_retried_total",
            Self::LockCallFailed => "untorn_txn_lock_calls_failed_total",
            Self::Deadlock => "untorn_txn_deadlocks_total",
            Self::LocksLost => "untorn_txn_locks_lost_total",
            Self::Flushed => "untorn_txn_flushed_total",
            Self::FlushFailed => "untorn_txn_flushes_failed_total",
        }
    }
}

#[cfg(feature = "metrics")]
mod facade {
    use super::{Duration, Event};

    pub(crate) fn count(event: Event) {
        metrics::counter!(event.name()).increment(1);
    }

    pub(crate) fn keys_locked(keys: usize) {
        metrics::counter!("untorn_txn_keys_locked_total").increment(keys as u64);
    }

    pub(crate) fn reads_kept(reads: usize) {
        metrics::counter!("untorn_txn_reads_kept_total").increment(reads as u64);
    }

    pub(crate) fn reads_asked(reads: usize) {
        metrics::counter!("untorn_txn_reads_asked_total").increment(reads as u64);
    }

    pub(crate) fn lock_waited(time: Duration) {
        metrics::histogram!("untorn_txn_lock_wait_seconds").record(time);
    }
}

#[cfg(not(feature = "metrics"))]
mod facade {
    use super::{Duration, Event};

    #[inline(always)]
    pub(crate) fn count(_: Event) {}

    #[inline(always)]
    pub(crate) fn keys_locked(_: usize) {}

    #[inline(always)]
    pub(crate) fn reads_kept(_: usize) {}

    #[inline(always)]
    pub(crate) fn reads_asked(_: usize) {}

    #[inline(always)]
    pub(crate) fn lock_waited(_: Duration) {}
}

pub(crate) use facade::{count, keys_locked, lock_waited, reads_asked, reads_kept};
