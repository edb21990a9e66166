//! The same methods for threads that park.

use super::PipelinedBuffer;
use crate::buffer::Entry;
use crate::error::Error;
use crate::flags::FlagOp;
use crate::transaction::block_on;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A [`PipelinedBuffer`] whose methods block; made by [`PipelinedBuffer::blocking`].
///
/// Whoever waits is woken by the thread of the flush, so no runtime is needed.
#[derive(Debug, Clone, Copy)]
pub struct BlockingPipelined<'b> {
    pub(super) buffer: &'b PipelinedBuffer,
}

impl BlockingPipelined<'_> {
    /// [`PipelinedBuffer::set`].
    ///
    /// # Errors
    /// The same.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        block_on(self.buffer.set(key, value))
    }

    /// [`PipelinedBuffer::set_with_flags`].
    ///
    /// # Errors
    /// The same.
    pub fn set_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        block_on(self.buffer.set_with_flags(key, value, ops))
    }

    /// [`PipelinedBuffer::delete`].
    ///
    /// # Errors
    /// The same.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        block_on(self.buffer.delete(key))
    }

    /// [`PipelinedBuffer::delete_with_flags`].
    ///
    /// # Errors
    /// The same.
    pub fn delete_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        block_on(self.buffer.delete_with_flags(key, ops))
    }

    /// [`PipelinedBuffer::update_flags`].
    ///
    /// # Errors
    /// The same.
    pub fn update_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        block_on(self.buffer.update_flags(key, ops))
    }

    /// [`PipelinedBuffer::get`].
    ///
    /// # Errors
    /// The same.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        block_on(self.buffer.get(key))
    }

    /// [`PipelinedBuffer::batch_get`].
    ///
    /// # Errors
    /// The same.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<BTreeMap<Bytes, Entry>, Error> {
        block_on(self.buffer.batch_get(keys))
    }

    /// [`PipelinedBuffer::flush`].
    ///
    /// # Errors
    /// The same.
    pub fn flush(&self) -> Result<bool, Error> {
        block_on(self.buffer.flush())
    }

    /// [`PipelinedBuffer::flush_wait`].
    ///
    /// # Errors
    /// The same.
    pub fn flush_wait(&self) -> Result<(), Error> {
        block_on(self.buffer.flush_wait())
    }
}
