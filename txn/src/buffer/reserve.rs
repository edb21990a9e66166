//! Room for keys that a lock call will make live, held from before the first request.
//!
//! A lock call publishes its flags after the store granted the locks; a buffer that was full by then
//! would leave locks without a trace. So the call reserves the length of its keys that are not live
//! yet, and writes their flags through the reservation, which no limit refuses any more: not even where a
//! rollback has taken one out meanwhile that was live.

use super::write::Content;
use super::{Inner, MemBuffer};
use crate::error::Error;
use crate::flags::FlagOp;
use std::borrow::Cow;
use std::sync::Arc;

/// Room held in a buffer; what is left of it goes back on drop.
#[must_use = "the room goes back on drop"]
pub(crate) struct Reservation<'b> {
    buffer: Cow<'b, Arc<Inner>>,
    bytes: usize,
}

#[allow(dead_code)] // for `lock_keys`
impl MemBuffer {
    /// Reserves room for those of `keys` (none twice) that are not live.
    ///
    /// # Errors
    /// [`Error::TransactionClosed`], [`Error::KeyTooLarge`], [`Error::TxnTooLarge`]; nothing is
    /// reserved then.
    pub(crate) fn reserve<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Reservation<'_>, Error> {
        let inner = self.inner();
        let attempt = |rules: &super::Rules| {
            if let Some(state) = rules.closed() {
                return Err(Error::TransactionClosed { state });
            }
            let limits = rules.limits();
            let keys = || keys.iter().map(AsRef::as_ref);
            for key in keys() {
                if let Err(refused) = limits.admit(key.len(), None)
                    && inner.table.load().pin().entry(key).is_none()
                {
                    return Err(refused.into());
                }
            }
            // Without a limit room costs nothing, and nobody has to look what is there.
            let bytes = if limits.bounded() {
                let table = inner.table.load();
                let pinned = table.pin();
                let is_new = |key: &&[u8]| pinned.entry(key).is_none();
                keys().filter(is_new).map(<[u8]>::len).sum()
            } else {
                keys().map(<[u8]>::len).sum()
            };
            inner.room.reserve(bytes, &limits)?;
            Ok(bytes)
        };
        let reserved = attempt(&inner.inside());
        let bytes = match reserved {
            // As for a write: a sibling may hold room for the moment only.
            Err(Error::TxnTooLarge { .. }) => attempt(inner.shut().rules())?,
            other => other?,
        };
        Ok(Reservation {
            buffer: Cow::Borrowed(inner),
            bytes,
        })
    }
}

#[allow(dead_code)] // for `lock_keys`
impl Reservation<'_> {
    /// One that does not borrow the buffer.
    pub(crate) fn into_owned(mut self) -> Reservation<'static> {
        Reservation {
            buffer: Cow::Owned(Arc::clone(&self.buffer)),
            bytes: std::mem::take(&mut self.bytes),
        }
    }

    /// [`MemBuffer::update_flags`] for one of the keys, once for each; no limit refuses it.
    ///
    /// # Errors
    /// [`Error::TransactionClosed`].
    pub(crate) fn update_flags(
        &mut self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        self.update_all([(key, ops)])
    }

    /// [`update_flags`](Self::update_flags) of several keys, one after another. They pass the gate once; the iterator runs
    /// behind it, and must not write.
    ///
    /// # Errors
    /// As there; the keys before are written.
    pub(crate) fn update_all<K: AsRef<[u8]>, O: AsRef<[FlagOp]>>(
        &mut self,
        updates: impl IntoIterator<Item = (K, O)>,
    ) -> Result<(), Error> {
        let Self { buffer, bytes } = self;
        let inner: &Inner = buffer;
        let rules = inner.inside();
        let limits = rules.limits();
        let table = inner.table.load();
        let updates = updates.into_iter();
        // Each write pins for itself; of several, within this one, that is next to nothing.
        let _pinned = (updates.size_hint().1 != Some(1)).then(|| table.pin());
        for (key, ops) in updates {
            let key = key.as_ref();
            let share = match limits.bounded() {
                true => key.len().min(*bytes),
                // Nobody counts: all of it goes with the first key.
                false => *bytes,
            };
            *bytes -= share;
            let hold = inner.room.draw(share, &limits);
            inner.attempt_apart(&rules, &table, key, Content::Keep, ops.as_ref(), Some(hold))?;
        }
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes != 0 {
            let inner = &self.buffer;
            let rules = inner.inside();
            inner.room.unreserve(self.bytes, &rules.limits());
        }
    }
}

#[cfg(test)]
mod tests;
