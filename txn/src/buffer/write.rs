//! Writes: values, tombstones, flags.
//!
//! A write goes through the gate, so that stages, limits and the freeze stand still for it, and is
//! then one atomic read-modify-write of the table on one key. Writers never wait for each other,
//! but for those that do not fit into a bounded buffer.

use super::limits::Hold;
use super::seam::Moment;
use super::tag::Tag;
use super::{Inner, MemBuffer, Rules};
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::mutant::planted;
use crate::sync::Ordering;
use std::borrow::Cow;
use untorn_memtable::{Kind, Memtable, Update};

/// What a write does to the content of its key.
#[derive(Clone, Copy)]
pub(super) enum Content<'v> {
    Value(&'v [u8]),
    Tombstone,
    Keep,
}

impl MemBuffer {
    /// Sets the value of a key. Both are copied; an empty key is allowed.
    ///
    /// Takes effect at one instant. `NEED_CONSTRAINT_CHECK` is cleared, the other flags stay.
    ///
    /// # Errors
    /// In this order, nothing changed: [`Error::TransactionClosed`], [`Error::EmptyValue`],
    /// [`Error::KeyTooLarge`], [`Error::EntryTooLarge`], [`Error::TxnTooLarge`].
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.write(key.as_ref(), Content::Value(value.as_ref()), &[])
    }

    /// Sets the value of a key and applies the flag operations, in order, at the same instant.
    ///
    /// # Errors
    /// As [`set`](Self::set); a rejected call applies no flags.
    pub fn set_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        self.write(key.as_ref(), Content::Value(value.as_ref()), ops.as_ref())
    }

    /// Writes a tombstone, on an absent key too.
    ///
    /// # Errors
    /// As [`set`](Self::set), without `EmptyValue`.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        self.write(key.as_ref(), Content::Tombstone, &[])
    }

    /// Writes a tombstone and applies the flag operations, in order, at the same instant.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn delete_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        self.write(key.as_ref(), Content::Tombstone, ops.as_ref())
    }

    /// Applies the flag operations, in order, and leaves the value; makes a flags-only key where
    /// there was none, even if it ends up without flags. Of two concurrent calls on one key both
    /// take effect.
    ///
    /// # Errors
    /// [`Error::TransactionClosed`], [`Error::KeyTooLarge`], [`Error::TxnTooLarge`].
    pub fn update_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        self.write(key.as_ref(), Content::Keep, ops.as_ref())
    }

    /// Whether there is something that a commit must carry: a write or flag update was made with
    /// no stage open, an outermost stage was released with a value or tombstone of its own, or a
    /// persistent flag was set anywhere. Never false again but by [`reset`](Self::reset).
    ///
    /// Linearizable. One load once true; until then it waits for the writes under way.
    pub fn is_dirty(&self) -> bool {
        let Some(inner) = self.made() else {
            return false;
        };
        if inner.dirty.load(Ordering::SeqCst) {
            return true;
        }
        // A write under way may be visible already and marked only in a moment: let it finish.
        let _shut = (!planted("dirty-not-asked-again")).then(|| inner.shut());
        inner.dirty.load(Ordering::SeqCst)
    }

    fn write(&self, key: &[u8], content: Content<'_>, ops: &[FlagOp]) -> Result<(), Error> {
        let inner = self.inner();
        if ops.contains(&FlagOp::SetPresumeNotExists) {
            inner.presumes.store(true, Ordering::SeqCst);
        }
        let table = || inner.table.load();
        let mut written = inner.attempt(&inner.inside(), &table(), key, content, ops, None);
        if matches!(written, Err(Error::TxnTooLarge { .. })) {
            // The room may only be held by a sibling for the moment: decide it alone.
            written = inner.attempt(inner.shut().rules(), &table(), key, content, ops, None);
        }
        let _inside = planted("hook-inside").then(|| inner.inside());
        self.report_memory();
        written
    }
}

impl Inner {
    /// One write under the given rules, in the table that they go with. `reserved` is room that it
    /// brings along: then no limit is asked, and what it does not need goes back.
    pub(super) fn attempt(
        &self,
        rules: &Rules,
        table: &Memtable,
        key: &[u8],
        content: Content<'_>,
        ops: &[FlagOp],
        reserved: Option<Hold>,
    ) -> Result<(), Error> {
        let is_reserved = reserved.is_some();
        let mut hold = reserved.unwrap_or_default();
        if let Some(state) = rules.closed() {
            self.room.settle(hold, false);
            return Err(Error::TransactionClosed { state });
        }
        let value_len = match content {
            Content::Value([]) if !self.options.empty_values => return Err(Error::EmptyValue),
            Content::Value(value) => Some(value.len()),
            Content::Tombstone => Some(0),
            Content::Keep => None,
        };
        let limits = rules.limits();
        if !is_reserved {
            limits.admit(key.len(), value_len)?;
        }

        let may_return = rules.may_return();
        let bounded = limits.bounded();
        let mut refused = None;
        let mut flags = KeyFlags::empty();
        let written = table.update(key, |item| {
            refused = None;
            let old = item.map_or(Tag::default(), |item| Tag(item.tag));
            let new = old.after(value_len.is_some(), ops, may_return);
            flags = new.flags();
            let has_content = item.is_some_and(|item| item.kind != Kind::TagOnly);
            if bounded {
                let before = item.map_or(0, |item| key.len() + item.value.len());
                let kept = item.map_or(0, |item| item.value.len());
                let after = key.len() + value_len.unwrap_or(kept);
                if let Err(error) = self.room.fit(&mut hold, before, after, limits.buffer) {
                    refused = Some(error);
                    return Update::Keep;
                }
            }
            self.seam.reached(Moment::Decided);
            match content {
                Content::Value(value) => Update::Put {
                    value: Cow::Borrowed(value),
                    tag: new.0,
                },
                Content::Tombstone => Update::Tombstone { tag: new.0 },
                // A flags-only key may be alive for its lock alone; now it is on its own account.
                Content::Keep if has_content && new == old => Update::Keep,
                Content::Keep => Update::Tag(new.0),
            }
        });
        self.seam.reached(Moment::Published);
        if bounded {
            self.room
                .settle(hold, written.is_ok_and(|written| written.changed));
        }
        match (refused, written) {
            (Some(error), _) => return Err(error),
            (None, Err(error)) => return Err(from_table(error, key.len(), value_len)),
            (None, Ok(_)) => {}
        }
        rules.note(value_len.is_some());
        if !rules.staged() || flags.intersects(KeyFlags::PERSISTENT) {
            self.mark_dirty();
        }
        Ok(())
    }

    /// Notes that a commit has something to carry; under the gate, so that `is_dirty` can wait.
    pub(super) fn mark_dirty(&self) {
        if !self.dirty.load(Ordering::Relaxed) {
            self.dirty.store(true, Ordering::SeqCst);
        }
    }
}

/// The table's own limits lie above those that were checked; should one be met, it is named.
fn from_table(error: untorn_memtable::Error, key: usize, value: Option<usize>) -> Error {
    match error {
        untorn_memtable::Error::KeyTooLarge { size, limit } => Error::KeyTooLarge { size, limit },
        untorn_memtable::Error::ValueTooLarge { limit, .. } => Error::EntryTooLarge {
            size: key + value.unwrap_or(0),
            limit: key + limit,
        },
        untorn_memtable::Error::OutOfMemory { bytes } => Error::OutOfMemory { bytes },
        _ => Error::OptionConflict {
            reason: "the table takes no such write",
        },
    }
}

#[cfg(test)]
mod tests;
