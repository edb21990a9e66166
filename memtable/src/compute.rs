//! Read-modify-write of one key's value.

use crate::error::Error;
use crate::item::{Item, Update};
use crate::memtable::Memtable;
use crate::write::Change;
use bytes::Bytes;
use std::borrow::Cow;

/// What became of a [`Memtable::compare_and_set`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the key may have held something else"]
pub enum Exchange {
    /// The key held what was expected, and holds the new value now.
    Set,
    /// The key held this instead; nothing is changed.
    Found(Option<Bytes>),
}

/// Puts the value, with the tag that the key has, or takes the key out.
fn change<'v>(item: Option<Item<'_>>, new: Option<Cow<'v, [u8]>>) -> Change<'v> {
    let tag = item.map_or(0, |item| item.tag);
    match (new, item) {
        (Some(value), _) => Change::Update(Update::Put { value, tag }),
        (None, Some(_)) => Change::Remove,
        (None, None) => Change::Update(Update::Keep),
    }
}

fn copied(value: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    let bytes = value.len();
    let room = copy.try_reserve_exact(bytes);
    room.map_err(|_| Error::OutOfMemory { bytes })?;
    copy.extend_from_slice(value);
    Ok(copy)
}

impl Memtable {
    /// Atomically puts what `compute` makes of the key's value in its place, and answers that. `None`, on either side, is
    /// no value: what is to become `None` is removed, as by [`Memtable::remove`]. The tag stays.
    ///
    /// Linearizable. `compute` may be called again after a lost race, so it should do nothing but compute. See
    /// [`Memtable::update`] for tombstones and tags.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// let append = |value: Option<&[u8]>| Some([value.unwrap_or_default(), b"x"].concat());
    /// table.compute("k", append)?;
    /// assert_eq!(table.compute("k", append)?.as_deref(), Some(&b"xx"[..]));
    /// assert_eq!(table.compute("k", |_| None)?, None);
    /// assert!(table.is_empty());
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]; in a table with persistent bits
    /// [`Error::PersistentTag`] if the answer is `None`. Nothing is changed then.
    pub fn compute(
        &self,
        key: impl AsRef<[u8]>,
        mut compute: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Bytes>, Error> {
        let mut computed = Ok(None);
        self.table().write(key.as_ref(), |item| {
            let new = compute(item.and_then(Item::into_value));
            match new.as_deref().map(copied).transpose() {
                Ok(copy) => {
                    computed = Ok(new.map(Bytes::from));
                    change(item, copy.map(Cow::Owned))
                }
                Err(error) => {
                    computed = Err(error);
                    Change::Update(Update::Keep)
                }
            }
        })?;
        computed
    }

    /// The key's value, after inserting what `make` makes if it has none. Linearizable; of several callers at once all get the
    /// same value. `make` may be called and its value not be used.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// assert_eq!(table.get_or_insert_with("k", || "first")?, "first");
    /// assert_eq!(table.get_or_insert_with("k", || "second")?, "first");
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]; nothing is changed then.
    pub fn get_or_insert_with<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        mut make: impl FnMut() -> V,
    ) -> Result<Bytes, Error> {
        let key = key.as_ref();
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let mut held = Ok(Bytes::new());
        self.table().write(key, |item| {
            let found = item.and_then(Item::into_value);
            if let Some(value) = found {
                held = copied(value).map(Bytes::from);
                return Change::Update(Update::Keep);
            }
            let new = make();
            let new = new.as_ref();
            match copied(new).and_then(|told| Ok((told, copied(new)?))) {
                Ok((told, put)) => {
                    held = Ok(Bytes::from(told));
                    change(item, Some(Cow::Owned(put)))
                }
                Err(error) => {
                    held = Err(error);
                    Change::Update(Update::Keep)
                }
            }
        })?;
        held
    }

    /// Sets the key's value to `new` if it is `expected`; `None` is no value, and setting to it removes the key. The tag stays.
    /// Linearizable.
    ///
    /// ```
    /// use untorn_memtable::{Exchange, Memtable};
    /// let table = Memtable::new();
    /// assert_eq!(table.compare_and_set("k", None, Some(b"1"))?, Exchange::Set);
    /// assert_eq!(table.compare_and_set("k", None, Some(b"2"))?, Exchange::Found(Some("1".into())));
    /// assert_eq!(table.compare_and_set("k", Some(b"1"), None)?, Exchange::Set);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]; in a table with persistent bits
    /// [`Error::PersistentTag`] if `new` is `None`. Nothing is changed then.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Exchange, Error> {
        let mut exchange = Exchange::Set;
        self.table().write(key.as_ref(), |item| {
            let found = item.and_then(Item::into_value);
            if found == expected {
                exchange = Exchange::Set;
                change(item, new.map(Cow::Borrowed))
            } else {
                exchange = Exchange::Found(found.map(Bytes::copy_from_slice));
                Change::Update(Update::Keep)
            }
        })?;
        Ok(exchange)
    }
}
