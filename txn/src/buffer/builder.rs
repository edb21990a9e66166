//! What is chosen before a buffer is made.

use super::MemBuffer;
use super::limits::{Limits, MAX_KEY_LEN};
use std::sync::OnceLock;

/// Limits to begin with, and what stays for the buffer's life.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) limits: Limits,
    pub(super) empty_values: bool,
    pub(super) keep: bool,
}

/// Builds a [`MemBuffer`].
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// Longest key in bytes; at most [`MAX_KEY_LEN`], which is the default.
    pub fn key_limit(mut self, bytes: usize) -> Self {
        self.options.limits.key = bytes.min(MAX_KEY_LEN);
        self
    }

    /// Largest key and value together; no limit by default.
    pub fn entry_limit(mut self, bytes: usize) -> Self {
        self.options.limits.entry = bytes;
        self
    }

    /// Largest [`MemBuffer::size`]; no limit by default.
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.options.limits.buffer = bytes;
        self
    }

    /// Whether values may be empty, for embedders that use keys as a set. Off by default.
    pub fn empty_values(mut self, allowed: bool) -> Self {
        self.options.empty_values = allowed;
        self
    }

    /// The buffer belongs to a transaction: `reset` is refused.
    #[allow(dead_code)] // for `Transaction`
    pub(crate) fn without_reset(mut self) -> Self {
        self.options.keep = true;
        self
    }

    /// The buffer, empty.
    pub fn build(self) -> MemBuffer {
        MemBuffer {
            inner: OnceLock::new(),
            options: self.options,
        }
    }
}
