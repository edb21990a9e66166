//! What users fill: a list of writes.

use super::op::{Op, fold};
use crate::error::{Error, MAX_KEY_LEN, MAX_VALUE_LEN};
use crate::sync::Arc;

/// Writes that are to take effect at one instant, for [`Memtable::apply`](crate::Memtable::apply),
/// [`MemtableSet::apply`](crate::MemtableSet::apply) and [`SequencedMemtable::apply_at`](crate::SequencedMemtable::apply_at).
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
    bytes: Vec<u8>,
    pub(super) writes: Vec<Write>,
}

/// Where a write's key lies, and right behind it its value.
#[derive(Clone, Copy)]
pub(super) struct Write {
    start: usize,
    key_len: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Put { len: usize },
    Delete,
    Tag(u32),
}

impl List {
    pub(super) fn key(&self, write: Write) -> &[u8] {
        &self.bytes[write.start..][..write.key_len]
    }

    /// The value that is put; empty for any other write.
    pub(super) fn value(&self, write: Write) -> &[u8] {
        match write.what {
            What::Put { len } => &self.bytes[write.start + write.key_len..][..len],
            What::Delete | What::Tag(_) => &[],
        }
    }
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets the key's value; its tag stays.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut WriteBatch {
        let value = value.as_ref();
        self.push(key.as_ref(), What::Put { len: value.len() }, value)
    }

    /// Writes a tombstone, on an absent key too; its tag stays.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut WriteBatch {
        self.push(key.as_ref(), What::Delete, &[])
    }

    /// Sets the key's whole tag; its content stays. A key that is absent becomes [`Kind::TagOnly`](crate::Kind::TagOnly).
    pub fn tag(&mut self, key: impl AsRef<[u8]>, tag: u32) -> &mut WriteBatch {
        self.push(key.as_ref(), What::Tag(tag), &[])
    }

    fn push(&mut self, key: &[u8], what: What, value: &[u8]) -> &mut WriteBatch {
        let list = self.list_mut();
        let start = list.bytes.len();
        list.bytes.extend_from_slice(key);
        list.bytes.extend_from_slice(value);
        list.writes.push(Write {
            start,
            key_len: key.len(),
            what,
        });
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

    /// Takes all writes out. The memory is kept for the next ones, unless the table still holds on to it.
    pub fn clear(&mut self) {
        match Arc::get_mut(&mut self.list) {
            Some(list) => {
                list.bytes.clear();
                list.writes.clear();
            }
            None => self.list = Arc::default(),
        }
    }

    /// The same writes, under what `encode` makes of their keys.
    ///
    /// # Errors
    /// What `encode` refuses; [`Error::NoTags`] if a tag is set.
    pub(crate) fn encoded(
        &self,
        encode: impl Fn(&[u8]) -> Result<Vec<u8>, Error>,
    ) -> Result<WriteBatch, Error> {
        let mut encoded = WriteBatch::new();
        for &write in &self.list.writes {
            let key = encode(self.list.key(write))?;
            match write.what {
                What::Put { .. } => encoded.put(key, self.list.value(write)),
                What::Delete => encoded.delete(key),
                What::Tag(_) => return Err(Error::NoTags),
            };
        }
        Ok(encoded)
    }

    pub(super) fn list(&self) -> &Arc<List> {
        &self.list
    }

    /// Whether every key and value is short enough.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for write in &self.list.writes {
            if write.key_len > MAX_KEY_LEN {
                return Err(Error::KeyTooLarge {
                    size: write.key_len,
                    limit: MAX_KEY_LEN,
                });
            }
            let size = self.list.value(*write).len();
            if size > MAX_VALUE_LEN {
                return Err(Error::ValueTooLarge {
                    size,
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
