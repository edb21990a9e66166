//! What is chosen before a pipelined buffer is made.

use super::parts::Pipeline;
use super::{FlushTarget, PipelinedBuffer};
use crate::buffer::Builder;
use std::sync::Arc;

/// When the active part is flushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    pub(super) min_keys: usize,
    pub(super) min_bytes: usize,
    pub(super) force_bytes: usize,
}

/// Builds a [`PipelinedBuffer`].
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct PipelinedBuilder {
    thresholds: Thresholds,
    part: Builder,
}

impl Default for PipelinedBuilder {
    fn default() -> Self {
        PipelinedBuilder {
            thresholds: Thresholds {
                min_keys: 10_000,
                min_bytes: 16 << 20,
                force_bytes: 128 << 20,
            },
            part: Builder::default(),
        }
    }
}

impl PipelinedBuilder {
    /// A flush is due when the active part has this many keys and [`min_bytes`](Self::min_bytes). 10,000 by default.
    pub fn min_keys(mut self, keys: usize) -> Self {
        self.thresholds.min_keys = keys;
        self
    }

    /// A flush is due when the active part has this size and [`min_keys`](Self::min_keys). 16 MiB by default.
    pub fn min_bytes(mut self, bytes: usize) -> Self {
        self.thresholds.min_bytes = bytes;
        self
    }

    /// A flush is due when the active part has this size, however few its keys are. 128 MiB by default.
    pub fn force_bytes(mut self, bytes: usize) -> Self {
        self.thresholds.force_bytes = bytes;
        self
    }

    /// [`Builder::key_limit`](crate::buffer::Builder::key_limit).
    pub fn key_limit(mut self, bytes: usize) -> Self {
        self.part = self.part.key_limit(bytes);
        self
    }

    /// [`Builder::entry_limit`](crate::buffer::Builder::entry_limit).
    pub fn entry_limit(mut self, bytes: usize) -> Self {
        self.part = self.part.entry_limit(bytes);
        self
    }

    /// Largest [`size`](PipelinedBuffer::size), over all generations; no limit by default.
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.part = self.part.buffer_limit(bytes);
        self
    }

    /// [`Builder::empty_values`](crate::buffer::Builder::empty_values).
    pub fn empty_values(mut self, allowed: bool) -> Self {
        self.part = self.part.empty_values(allowed);
        self
    }

    /// The buffer, empty, which flushes into `target`.
    pub fn build(self, target: impl FlushTarget) -> PipelinedBuffer {
        PipelinedBuffer {
            pipeline: Arc::new(Pipeline::new(Arc::new(target), self.thresholds, self.part)),
        }
    }
}
