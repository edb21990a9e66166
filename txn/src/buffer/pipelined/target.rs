//! Where generations go, and what they are.

use crate::buffer::{Entry, MemBuffer, RangeWithFlags, Stats};
use crate::error::Error;
use crate::store::Answer;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Takes the generations of a pipelined buffer, and knows what was in them.
pub trait FlushTarget: Send + Sync + 'static {
    /// Takes a generation, in a thread of its own; one at a time, in the order of their numbers. Once it has succeeded
    /// [`flushed`](Self::flushed) must find all of it, and what an older generation said of the same keys no more.
    ///
    /// An error, or a panic, ends all flushing: it is what the buffer answers from then on where a flush is due.
    fn flush(&self, generation: Generation) -> Answer<'_, ()>;

    /// What the flushed generations hold for those of `keys` that they have, tombstones included; the newest of each.
    fn flushed(&self, keys: Vec<Bytes>) -> Answer<'_, BTreeMap<Bytes, Entry>>;
}

/// A part of a pipelined buffer that is written no more.
#[derive(Clone)]
pub struct Generation {
    pub(super) number: u64,
    pub(super) part: MemBuffer,
}

impl Generation {
    /// Its number; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its live keys and their size in bytes.
    pub fn stats(&self) -> Stats {
        self.part.stats()
    }

    /// Every live key in order: key, content (`None`: flags only), flags.
    pub fn mutations(&self) -> RangeWithFlags {
        self.part.range_with_flags::<&[u8]>(..)
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .field("part", &self.part)
            .finish()
    }
}

/// The target panicked.
#[derive(Debug, thiserror::Error)]
#[error("the flush of generation {0} panicked")]
pub(super) struct Panicked(pub(super) u64);

impl From<Panicked> for Error {
    fn from(panicked: Panicked) -> Error {
        Error::store(panicked)
    }
}
