//! The pipelined buffer: for transactions larger than memory.
//!
//! Writes go into the *active* part, a [`MemBuffer`]. When it has grown over the thresholds it is frozen and becomes a
//! [`Generation`], which a thread hands to the buffer's [`FlushTarget`] while writes go on into a fresh part. At most one flush is
//! under way: who makes the next one due waits for it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Mutex;
//! use bytes::Bytes;
//! use untorn_txn::buffer::{FlushTarget, Generation, PipelinedBuffer};
//! use untorn_txn::store::Answer;
//! use untorn_txn::{Entry, Error};
//!
//! /// Keeps what it is given; a real one writes locks to a store.
//! #[derive(Default)]
//! struct Flushed(Mutex<BTreeMap<Bytes, Entry>>);
//!
//! impl FlushTarget for Flushed {
//!     fn flush(&self, generation: Generation) -> Answer<'_, ()> {
//!         let written = generation.mutations().filter_map(|(key, entry, _)| Some((key, entry?)));
//!         self.0.lock().expect("not poisoned").extend(written);
//!         Answer::ready(Ok(()))
//!     }
//!
//!     fn flushed(&self, keys: Vec<Bytes>) -> Answer<'_, BTreeMap<Bytes, Entry>> {
//!         let flushed = self.0.lock().expect("not poisoned");
//!         let found = keys.into_iter().filter_map(|key| flushed.get_key_value(&key[..]));
//!         Answer::ready(Ok(found.map(|(key, entry)| (key.clone(), entry.clone())).collect()))
//!     }
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let buffer = PipelinedBuffer::builder().min_keys(100).min_bytes(1_000).build(Flushed::default());
//! for n in 0..1_000_u32 {
//!     buffer.blocking().set(n.to_be_bytes(), "value")?;
//! }
//! assert_eq!(buffer.len(), 1_000);
//! assert_eq!(buffer.blocking().get(7_u32.to_be_bytes())?, Some(Entry::Value("value".into())));
//! buffer.blocking().flush()?;
//! buffer.blocking().flush_wait()?;
//! assert!(buffer.generations() >= 9);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! | word | changed by | read by |
//! |---|---|---|
//! | parts: active, flushing, sums of what was frozen, whether it is closed | who begins a flush, the flush when it succeeds, and who closes, one at a time (`turn`) | everybody, one load |
//! | the outcome of a flush | the flush, once | who waits for it |
//!
//! * P1: the active part is frozen first, which waits for the writes under way and is refused while a stage is open, and replaced
//!   afterwards. A write that finds it frozen waits for `turn` and finds the next part. So no write is in two parts or in none, and
//!   what a frozen part counts does not change.
//! * P2: a part stays in sight as *flushing* until its flush has succeeded; then the target is asked for its keys. A reader looks at
//!   the parts of one load, the active one first, then at the target; so what was settled is found in one of them, and nothing older
//!   than it. A flush that has failed stays in sight for good.
//!
//! * P3: a transaction closes it for writes, under `turn`: the active part first, then the word that says so. A write that finds its
//!   part shut waits for `turn`, and is then in the next part or is refused. What was written before is flushed once more.
//! * P4: what the older parts hold for a key does not change while the active one is written. So a write that depends on it may look
//!   first, wait for the target, and write then into the part of that look: it is refused there if that is the active one no more.
//!
//! # Consistency and cost
//!
//! | operation | consistency | cost, waiting |
//! |---|---|---|
//! | `set`, `delete`, `update_flags`, `.._with_flags` | linearizable, as in [`MemBuffer`] | that of the buffer and one `stats`; waits for the flush under way if the next one is due |
//! | `get`, `batch_get` | linearizable, key by key; a flushed key as the target answers | a lookup in at most two parts, then a question to the target |
//! | `get_flags` | of the newest part in memory that has the key | a lookup in at most two parts |
//! | `len`, `size`, `stats` | linearizable; a pair of one instant | those of the active part |
//! | `is_dirty` | linearizable | as in the buffer |
//! | `stage` and its end | as in the buffer | as in the buffer; no flush begins while one is open |
//! | memory hook | told at the end of each write; totals from several threads may come out of order | that of the buffer |
//! | `flush`, `flush_wait` | | waits for the flush under way |
//!
//! # What is not there
//!
//! Savepoints, snapshots, ranges, history and inspection: they would need what was flushed. Flags are in memory alone: those of a
//! flushed key went to the target with its mutation and are not known here any more, and a key that is written again begins without.

mod blocking;
mod builder;
mod flight;
mod parts;
mod target;

pub use blocking::BlockingPipelined;
pub use builder::PipelinedBuilder;
pub use target::{FlushTarget, Generation};

use super::{Entry, Limits, MemBuffer, Stage, Stats};
use crate::error::{Error, TxnState};
use crate::flags::{FlagOp, KeyFlags};
use bytes::Bytes;
use parts::Pipeline;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The writes of a transaction that may be larger than memory, for any number of threads. See the [module](self).
///
/// A clone is the same buffer. When the last one is dropped, a flush under way runs to its end; what was not flushed is gone.
#[derive(Clone)]
pub struct PipelinedBuffer {
    pipeline: Arc<Pipeline>,
}

impl PipelinedBuffer {
    /// Sets thresholds and limits before the buffer is made.
    pub fn builder() -> PipelinedBuilder {
        PipelinedBuilder::default()
    }

    /// The same methods, for threads that park instead of awaiting.
    pub fn blocking(&self) -> BlockingPipelined<'_> {
        BlockingPipelined { buffer: self }
    }

    /// [`MemBuffer::set`].
    ///
    /// # Errors
    /// Those of [`MemBuffer::set`]; that of a flush that failed, if the next one is due. Nothing is changed then.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.set_with_flags(key, value, []).await
    }

    /// [`MemBuffer::set_with_flags`].
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        let (key, value, ops) = (key.as_ref(), value.as_ref(), ops.as_ref());
        self.pipeline
            .write(|active| active.set_with_flags(key, value, ops))
            .await
    }

    /// [`MemBuffer::delete`].
    ///
    /// # Errors
    /// As [`set`](Self::set), without `EmptyValue`.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        self.delete_with_flags(key, []).await
    }

    /// [`MemBuffer::delete_with_flags`].
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        let (key, ops) = (key.as_ref(), ops.as_ref());
        self.pipeline
            .write(|active| active.delete_with_flags(key, ops))
            .await
    }

    /// [`MemBuffer::update_flags`]. A key of an older part alone begins without flags.
    ///
    /// # Errors
    /// As [`set`](Self::set), without `EmptyValue` and `EntryTooLarge`.
    pub async fn update_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        let (key, ops) = (key.as_ref(), ops.as_ref());
        self.pipeline
            .write(|active| active.update_flags(key, ops))
            .await
    }

    /// Does a write of one key, each time that it is tried.
    pub(crate) async fn write(
        &self,
        write: impl Fn(&MemBuffer) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.pipeline.write(write).await
    }

    /// Does a write of one key that depends on what the parts before the active one hold for it.
    pub(crate) async fn write_over(
        &self,
        key: &[u8],
        write: impl Fn(&MemBuffer, Option<Entry>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.pipeline.write_over(key, write).await
    }

    /// Refuses writes from now on. Nothing is done while a stage is open, unless stages are to be ended.
    pub(crate) fn close(&self, state: TxnState, end_stages: bool) -> Result<(), Error> {
        self.pipeline.close(state, end_stages)
    }

    /// Once it is closed: flushes what is left, and waits for that.
    pub(crate) async fn flush_rest(&self) -> Result<(), Error> {
        self.pipeline.flush_rest().await
    }

    /// The end of the flush under way, if there is one. It does not keep the buffer, and the target is not held by the flush then.
    pub(crate) fn flush_end(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let flight = self.pipeline.flight()?;
        Some(async move { drop(flight.landed().await) })
    }

    /// What the key holds, in whatever part; `None` if it is absent or has flags only. Linearizable.
    ///
    /// # Errors
    /// Those of the target, if it has to be asked.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let mut found = self.batch_get([key]).await?;
        Ok(found.pop_first().map(|(_, entry)| entry))
    }

    /// The found ones among `keys`, tombstones included. Each is read as by [`get`](Self::get); the target is asked once for all
    /// that are not in memory.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<BTreeMap<Bytes, Entry>, Error> {
        let keys = keys.into_iter();
        let keys = keys.map(|key| Bytes::copy_from_slice(key.as_ref()));
        self.pipeline.read(keys.collect()).await
    }

    /// The flags of a key in the newest part in memory that has it; `None` if none has.
    pub fn get_flags(&self, key: impl AsRef<[u8]>) -> Option<KeyFlags> {
        self.pipeline.flags(key.as_ref())
    }

    /// Number of live keys, added up over all generations: a key that was written in two of them counts twice. Linearizable.
    pub fn len(&self) -> usize {
        self.stats().len
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes, as [`MemBuffer::size`], added up over all generations as [`len`](Self::len) is. Linearizable.
    pub fn size(&self) -> usize {
        self.stats().size
    }

    /// Number and size at one instant, over all generations. Linearizable.
    pub fn stats(&self) -> Stats {
        self.pipeline.stats()
    }

    /// [`MemBuffer::is_dirty`], over all generations.
    pub fn is_dirty(&self) -> bool {
        self.pipeline.is_dirty()
    }

    /// Bytes that the parts in memory hold. A walk over them.
    pub fn memory(&self) -> u64 {
        self.pipeline.memory()
    }

    /// Sets a hook that is told of the bytes that the parts in memory hold, as
    /// [`MemBuffer::set_memory_hook`] tells of a buffer's. It is called at the end of a write, in its
    /// thread; that a flush or the end of a stage gave memory back is told by the next one.
    pub fn set_memory_hook(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        self.pipeline.set_hook(hook);
    }

    /// Takes the hook away.
    pub fn clear_memory_hook(&self) {
        self.pipeline.clear_hook();
    }

    /// The limits in force. That of the whole buffer binds the sum over all generations.
    pub fn limits(&self) -> Limits {
        self.pipeline.limits()
    }

    /// Opens a stage, as [`MemBuffer::stage`] does. While one is open no flush begins, whatever the active part holds.
    pub fn stage(&self) -> Stage {
        self.pipeline.stage()
    }

    /// Number of flushes begun so far, which is the number of the newest generation.
    pub fn generations(&self) -> u64 {
        self.pipeline.generations()
    }

    /// Begins to flush what the active part holds, however little, after waiting for the flush under way. False if there is nothing.
    ///
    /// # Errors
    /// That of a flush that failed; [`Error::StageOpen`] while a stage is open. Nothing is begun then.
    pub async fn flush(&self) -> Result<bool, Error> {
        self.pipeline.flush().await
    }

    /// Waits for the flush under way, if there is one. To commit: [`flush`](Self::flush), then this.
    ///
    /// # Errors
    /// That of a flush that failed, now or before.
    pub async fn flush_wait(&self) -> Result<(), Error> {
        self.pipeline.flush_wait().await
    }
}

impl std::fmt::Debug for PipelinedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stats { len, size, .. } = self.stats();
        f.debug_struct("PipelinedBuffer")
            .field("len", &len)
            .field("size", &size)
            .field("generations", &self.generations())
            .finish_non_exhaustive()
    }
}
