//! What a buffer holds on the heap, and giving back what nobody needs.

use super::{MemBuffer, Memory};

impl MemBuffer {
    /// Bytes held, by kind; nothing for a buffer never written. What was taken back and is not
    /// cleared away yet counts as [`superseded`](Memory::superseded). Of a transaction's locks it has the flags alone, not what the
    /// transaction and its store note of each.
    ///
    /// Costs nothing until it is asked for, and then a walk over the buffer. Beside writers it is a
    /// sum of what was there at different moments of the call. A [hook](Self::set_memory_hook) is
    /// told as memory grows.
    ///
    /// ```
    /// use untorn_txn::MemBuffer;
    ///
    /// let buffer = MemBuffer::new();
    /// assert_eq!(buffer.memory().total(), 0);
    /// buffer.set("key", "value")?;
    /// assert_eq!(buffer.memory().payload, 8);
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    pub fn memory(&self) -> Memory {
        let made = self.made();
        made.map_or_else(Memory::default, |inner| inner.table.load().memory())
    }

    /// Has the table count what it holds, from now on.
    pub(super) fn count_held_bytes(&self) {
        let inner = self.inner();
        // So that no write is half counted.
        let _shut = inner.shut();
        inner.table.load().count_held_bytes();
    }

    /// What was counted.
    pub(super) fn held_bytes(&self) -> usize {
        let made = self.made();
        made.map_or(0, |inner| inner.table.load().held_bytes())
    }

    /// Clears away all that was taken back or overwritten and that no snapshot, savepoint or stage
    /// needs. Later writes and stage calls do the same little by little, two keys each.
    ///
    /// Changes nothing that can be read. A walk over the buffer; holds up nobody but a writer that
    /// would clear away at the same time.
    pub fn compact(&self) {
        if let Some(inner) = self.made() {
            inner.table.load().compact();
            self.report_memory();
        }
    }
}
