//! What users fill: a list of writes.

use super::op::{Op, fold};
use crate::error::{Error, MAX_KEY_LEN, MAX_VALUE_LEN};
use crate::sync::Arc;

/// Writes that are to take effect at one instant, for [`Memtable::apply`](crate::Memtable::apply),
/// [`MemtableSet::apply`](crate::MemtableSet::apply), [`SequencedMemtable::apply_at`](crate::SequencedMemtable::apply_at) and
/// [`SequencedSet::apply_at`](crate::SequencedSet::apply_at).
///
/// Of several writes of one key the last one counts, but for a tag, which goes with the content that was written before or after.
/// Applying does not change it: it may be applied again, or [cleared](WriteBatch::clear) and filled anew.
///
/// ```
/// use untorn_memtable::{Memtable, WriteBatch};
/// let table = Memtable::new();
/// let mut batch = WriteBatch::new();
/// batch.put("alice", "70").put("bob", "80").delete("carol");
/// table.apply(&batch)?;
/// assert_eq!(table.get("bob").as_deref(), Some(&b"80"[..]));
/// assert_eq!(table.len(), 3); // the tombstone is live
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct WriteBatch {
    list: Arc<List>,
}

/// Shared with the descriptors that were made of it.
#[derive(Clone, Default)]
pub(super) struct List {
    /// Keys and values, one after another.
    pub(super) bytes: Vec<u8>,
    pub(super) writes: Vec<Write>,
}

impl List {
    /// Bytes that it holds.
    pub(super) fn allocated(&self) -> usize {
        self.bytes.capacity() + self.writes.capacity() * size_of::<Write>()
    }
}

/// Where among many bytes a key or a value lies.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: usize,
    len: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Write {
    pub(super) key: Span,
    pub(super) what: What,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Put(Span),
    Delete,
    Tag(u32),
}

impl Span {
    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..][..self.len]
    }

    /// Of what `add` appends.
    pub(super) fn added(bytes: &mut Vec<u8>, add: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = bytes.len();
        add(bytes);
        let len = bytes.len() - start;
        Span { start, len }
    }
}

impl List {
    #[inline]
    pub(super) fn part(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    fn add(&mut self, part: &[u8]) -> Span {
        Span::added(&mut self.bytes, |bytes| bytes.extend_from_slice(part))
    }
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets the key's value; its tag stays, in a [`MemtableSet`](crate::MemtableSet) if the key lies in the active table.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut WriteBatch {
        self.push(key.as_ref(), |list| What::Put(list.add(value.as_ref())))
    }

    /// Writes a tombstone, on an absent key too; its tag stays, as with [`put`](Self::put).
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut WriteBatch {
        self.push(key.as_ref(), |_| What::Delete)
    }

    /// Sets the key's whole tag; its content stays. A key that is absent becomes [`Kind::TagOnly`](crate::Kind::TagOnly).
    pub fn tag(&mut self, key: impl AsRef<[u8]>, tag: u32) -> &mut WriteBatch {
        self.push(key.as_ref(), |_| What::Tag(tag))
    }

    fn push(&mut self, key: &[u8], what: impl FnOnce(&mut List) -> What) -> &mut WriteBatch {
        let list = self.list_mut();
        let key = list.add(key);
        let what = what(list);
        list.writes.push(Write { key, what });
        self
    }

    fn list_mut(&mut self) -> &mut List {
        if Arc::get_mut(&mut self.list).is_none() {
            self.list = Arc::new(List::clone(&self.list));
        }
        match Arc::get_mut(&mut self.list) {
            Some(list) => list,
            None => unreachable!("a copy of its own was made above"),
        }
    }

    /// Number of writes, several of one key counted each.
    pub fn len(&self) -> usize {
        self.list.writes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.writes.is_empty()
    }

    /// Length of all keys and values, in bytes.
    pub fn size(&self) -> usize {
        self.list.bytes.len()
    }

    /// Takes all writes out. The memory is kept for the next ones; where a table still holds on to it, as much is taken anew.
    pub fn clear(&mut self) {
        match Arc::get_mut(&mut self.list) {
            Some(list) => {
                list.bytes.clear();
                list.writes.clear();
            }
            None => {
                let List { bytes, writes } = &*self.list;
                self.list = Arc::new(List {
                    bytes: Vec::with_capacity(bytes.len()),
                    writes: Vec::with_capacity(writes.len()),
                });
            }
        }
    }

    pub(super) fn list(&self) -> &Arc<List> {
        &self.list
    }

    /// Whether every key and value is short enough.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for write in &self.list.writes {
            if write.key.len > MAX_KEY_LEN {
                return Err(Error::KeyTooLarge {
                    size: write.key.len,
                    limit: MAX_KEY_LEN,
                });
            }
            if let What::Put(value) = write.what
                && value.len > MAX_VALUE_LEN
            {
                return Err(Error::ValueTooLarge {
                    size: value.len,
                    limit: MAX_VALUE_LEN,
                });
            }
        }
        Ok(())
    }

    /// Whether the content of each key is written whose tag is.
    pub(crate) fn check_content(&self) -> Result<(), Error> {
        let sets_tag = |write: &Write| matches!(write.what, What::Tag(_));
        let alone =
            self.list.writes.iter().any(sets_tag) && fold(&self.list).iter().any(Op::is_tag_alone);
        match alone {
            true => Err(Error::TagAlone),
            false => Ok(()),
        }
    }
}

impl std::fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBatch")
            .field("len", &self.len())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
