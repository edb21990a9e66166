//! Writes: values, tombstones, flags.
//!
//! A write goes through the gate, so that stages, limits and the freeze stand still for it, and is
//! then one atomic read-modify-write of the table on one key. Writers never wait for each other,
//! but for those that do not fit into a bounded buffer.

use super::builder::Options;
use super::limits::{Hold, Limits, TooLarge};
use super::seam::Moment;
use super::tag::Tag;
use super::{Inner, MemBuffer, Rules};
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::mutant::planted;
use crate::sync::Ordering;
use std::borrow::Cow;
use untorn_memtable::{Item, Kind, Memtable, Update, Written};

/// What a write does to the content of its key.
#[derive(Clone, Copy)]
pub(crate) enum Content<'v> {
    Value(&'v [u8]),
    Tombstone,
    Keep,
}

impl<'v> Content<'v> {
    /// Length of the value that is written; `None` if the content stays.
    fn value_len(self) -> Option<usize> {
        match self {
            Content::Value(value) => Some(value.len()),
            Content::Tombstone => Some(0),
            Content::Keep => None,
        }
    }

    /// What becomes of `item`, and its tag.
    #[inline(always)]
    fn over(self, item: Option<Item<'_>>, ops: &[FlagOp], may_return: bool) -> (Tag, Update<'v>) {
        let old = item.map_or(Tag::default(), |item| Tag(item.tag));
        let keeps = matches!(self, Content::Keep);
        let tag = old.after(!keeps, ops, may_return);
        let has_content = || item.is_some_and(|item| item.kind != Kind::TagOnly);
        let update = match self {
            Content::Value(value) => Update::Put {
                value: Cow::Borrowed(value),
                tag: tag.0,
            },
            Content::Tombstone => Update::Tombstone { tag: tag.0 },
            // A flags-only key may be alive for its lock alone; now it is on its own account.
            Content::Keep if tag == old && has_content() => Update::Keep,
            Content::Keep => Update::Tag(tag.0),
        };
        (tag, update)
    }
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

    #[inline]
    fn write(&self, key: &[u8], content: Content<'_>, ops: &[FlagOp]) -> Result<(), Error> {
        let written = self.write_unreported(key, content, ops);
        let _inside = planted("hook-inside").then(|| self.inner().inside());
        self.report_memory();
        written
    }

    /// A write whose memory the caller reports once it holds no lock: the hook may write the same key.
    #[inline]
    pub(crate) fn write_unreported(
        &self,
        key: &[u8],
        content: Content<'_>,
        ops: &[FlagOp],
    ) -> Result<(), Error> {
        let inner = match self.made() {
            Some(inner) => inner,
            None => {
                // What a buffer never written refuses leaves it so.
                self.options.admit_first(key.len(), content)?;
                self.inner()
            }
        };
        if ops.contains(&FlagOp::SetPresumeNotExists) {
            inner.presumes.store(true, Ordering::SeqCst);
        }
        inner.write(key, content, ops)
    }
}

impl Inner {
    #[inline]
    fn write(&self, key: &[u8], content: Content<'_>, ops: &[FlagOp]) -> Result<(), Error> {
        let table = || self.table.load();
        let written = self.attempt(&self.inside(), &table(), key, content, ops, None);
        if !matches!(written, Err(Error::TxnTooLarge { .. })) {
            return written;
        }
        // The room may only be held by a sibling for the moment: decide it alone.
        self.attempt_apart(self.shut().rules(), &table(), key, content, ops, None)
    }

    /// [`attempt`](Self::attempt), for where it is not worth a copy of its code.
    #[inline(never)]
    pub(super) fn attempt_apart(
        &self,
        rules: &Rules,
        table: &Memtable,
        key: &[u8],
        content: Content<'_>,
        ops: &[FlagOp],
        reserved: Option<Hold>,
    ) -> Result<(), Error> {
        self.attempt(rules, table, key, content, ops, reserved)
    }

    /// One write under the given rules, in the table that they go with. `reserved` is room that it
    /// brings along: then no limit is asked, and what it does not need goes back.
    #[inline(always)]
    fn attempt(
        &self,
        rules: &Rules,
        table: &Memtable,
        key: &[u8],
        content: Content<'_>,
        ops: &[FlagOp],
        reserved: Option<Hold>,
    ) -> Result<(), Error> {
        let hold = reserved.unwrap_or_default();
        if let Some(state) = rules.closed() {
            self.room.settle(hold, false);
            return Err(Error::TransactionClosed { state });
        }
        self.options.admit_empty(content)?;
        let limits = rules.limits();
        let value_len = content.value_len();
        let too_large = match hold.is_reserved {
            true => None,
            false => limits.admit(key.len(), value_len).err(),
        };

        let may_return = rules.may_return();
        let mut tag = Tag::default();
        let mut change = |item: Option<Item<'_>>| {
            let (new, update) = content.over(item, ops, may_return);
            tag = new;
            self.seam.reached(Moment::Decided);
            update
        };
        let (written, refused) = if limits.bounded() || too_large.is_some() {
            let sizes = Sizes {
                key: key.len(),
                value: value_len,
            };
            self.update_within(&limits, too_large, hold, sizes, |judge| {
                table.update(key, |item| match judge(item) {
                    true => change(item),
                    false => Update::Keep,
                })
            })
        } else {
            let written = table.update(key, change);
            self.seam.reached(Moment::Published);
            (written, None)
        };
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        if let Err(error) = written {
            return Err(from_table(error, key.len(), value_len));
        }
        rules.note(value_len.is_some());
        if !rules.staged() || tag.flags().intersects(KeyFlags::PERSISTENT) {
            self.mark_dirty();
        }
        Ok(())
    }

    /// An update that a limit may refuse. It asks the judge that it is given of the item which it is about to replace.
    fn update_within(
        &self,
        limits: &Limits,
        too_large: Option<TooLarge>,
        mut hold: Hold,
        sizes: Sizes,
        update: impl FnOnce(&mut dyn FnMut(Option<Item<'_>>) -> bool) -> Updated,
    ) -> (Updated, Option<TooLarge>) {
        // That of a key which the table would not even look for.
        let mut refused = too_large;
        let written = update(&mut |item| {
            let (before, after) = sizes.of(item);
            refused = match too_large {
                Some(_) if after > before => too_large,
                _ if limits.bounded() => self.room.fit(&mut hold, before, after, limits).err(),
                _ => None,
            };
            refused.is_none()
        });
        self.seam.reached(Moment::Published);
        if limits.bounded() {
            let is_changed = matches!(written, Ok(Written { changed: true, .. }));
            self.room.settle(hold, is_changed);
        }
        (written, refused)
    }

    /// Notes that a commit has something to carry; under the gate, so that `is_dirty` can wait.
    pub(super) fn mark_dirty(&self) {
        if !self.dirty.load(Ordering::Relaxed) {
            self.dirty.store(true, Ordering::SeqCst);
        }
    }
}

type Updated = Result<Written, untorn_memtable::Error>;

/// What a write brings; no value if it leaves the content.
#[derive(Clone, Copy)]
struct Sizes {
    key: usize,
    value: Option<usize>,
}

impl Sizes {
    /// What the key takes before and after.
    fn of(self, item: Option<Item<'_>>) -> (usize, usize) {
        let kept = item.map_or(0, |item| item.value.len());
        let before = item.map_or(0, |_| self.key + kept);
        (before, self.key + self.value.unwrap_or(kept))
    }
}

impl Options {
    fn admit_empty(&self, content: Content<'_>) -> Result<(), Error> {
        match content {
            Content::Value([]) if !self.empty_values => Err(Error::EmptyValue),
            _ => Ok(()),
        }
    }

    /// Whether a buffer in which nothing was ever changed takes this write.
    #[cold]
    fn admit_first(&self, key: usize, content: Content<'_>) -> Result<(), Error> {
        self.admit_empty(content)?;
        let value = content.value_len();
        self.limits.admit(key, value)?;
        self.limits.admit_all(key + value.unwrap_or(0))?;
        Ok(())
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
