//! Reads without copying: a table under an epoch guard.

use crate::entry::EntryRef;
use crate::item::Item;
use crate::memtable::Memtable;
use crate::reclaim::{self, Guard};
use crate::table::item;
use crate::version::{State, VersionRef};
use crate::visible::{Current, newest, plainly_newest};
use crate::walk::{Walk, owned};
use std::ops::RangeBounds;

/// A table under an epoch guard: what it lends stays valid for as long as the handle lives, whatever is written meanwhile.
///
/// Made by [`Memtable::pin`]. Cheap to make, bound to its thread. Nothing that is removed or overwritten anywhere can be freed
/// while a handle is held, so hold it for a lookup or a scan, not for a session.
///
/// ```
/// let table = untorn_memtable::Memtable::new();
/// table.insert("k", "old")?;
/// let pinned = table.pin();
/// let value = pinned.get("k");
/// table.insert("k", "new")?;
/// assert_eq!(value, Some(&b"old"[..])); // still there, unchanged
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
///
/// What is lent cannot outlive the handle:
///
/// ```compile_fail,E0505
/// let table = untorn_memtable::Memtable::new();
/// let pinned = table.pin();
/// let value = pinned.get("k");
/// drop(pinned);
/// println!("{value:?}");
/// ```
///
/// Nor can the handle go to another thread:
///
/// ```compile_fail,E0277
/// let table = untorn_memtable::Memtable::new();
/// let pinned = table.pin();
/// std::thread::scope(|scope| scope.spawn(move || pinned.get("k").is_some()).join().unwrap());
/// ```
pub struct Pinned<'t> {
    table: &'t Memtable,
    guard: Guard,
}

impl<'t> Pinned<'t> {
    #[inline]
    pub(crate) fn new(table: &'t Memtable) -> Pinned<'t> {
        Pinned {
            table,
            guard: reclaim::pin(),
        }
    }

    /// The value that the key holds; `None` if it is absent, deleted or has a tag alone.
    ///
    /// Linearizable. O(log n), no allocation, no copy.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.table.table().value(key.as_ref(), &self.guard)
    }

    /// The values that the keys hold, in the order of the keys, as [`Pinned::get`] would answer for each, at an instant of its own.
    ///
    /// Lookups go side by side, so that while one waits for memory the others are under way: for tables that are larger than
    /// the caches, a few times as fast as one after another. Sixteen keys or more are worth it.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// table.insert("a", "1")?;
    /// table.insert("c", "3")?;
    /// let pinned = table.pin();
    /// assert_eq!(pinned.get_many(&["a", "b", "c"]), [Some(&b"1"[..]), None, Some(&b"3"[..])]);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<&[u8]>> {
        self.table.table().values(keys, &self.guard).collect()
    }

    /// The live key with its kind and tag; `None` if it is absent. Linearizable, no copy.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Item<'_>> {
        self.table.table().read(key.as_ref(), &self.guard)
    }

    /// Keys and values in the bounds, in order, from either end. Tombstones and tags are left out.
    ///
    /// Each key is read at the moment when it is yielded: one that is there for the whole scan is yielded exactly once, one
    /// that is written meanwhile is seen or not. For all keys at one instant use [`Memtable::snapshot`]. An empty or
    /// inverted range yields nothing.
    ///
    /// O(log n) to start, O(1) a step; a step after one from the other end costs O(log n). Keys that are not shown are passed one by one:
    /// tombstones, tags, and what was removed or rolled back and is not cleared away yet, since a snapshot or a stage needs it or
    /// [few writes](Memtable::compact) came since.
    ///
    /// ```
    /// use std::ops::Bound;
    ///
    /// let table = untorn_memtable::Memtable::new();
    /// for key in ["a", "b", "c"] {
    ///     table.insert(key, "v")?;
    /// }
    /// let pinned = table.pin();
    /// assert_eq!(pinned.range("b"..).count(), 2);
    /// // What the keys are is told where the bounds alone do not tell it.
    /// let behind = (Bound::Excluded("a"), Bound::Unbounded);
    /// assert_eq!(pinned.range::<&str>(behind).count(), 2);
    /// assert_eq!(pinned.range::<&[u8]>(..).count(), 3);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range<'_> {
        Range(self.walk(bounds))
    }

    /// The first key with a value, and that. Tombstones and tags are passed over; the cost is that of [`Pinned::range`].
    pub fn first(&self) -> Option<(&[u8], &[u8])> {
        self.range::<&[u8]>(..).next()
    }

    /// The last key with a value, and that. Tombstones and tags are passed over; the cost is that of [`Pinned::range`].
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.range::<&[u8]>(..).next_back()
    }

    /// As [`Pinned::range`], with every live key: tombstones and those with a tag alone too.
    pub fn range_all<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> RangeAll<'_> {
        RangeAll(self.walk(bounds))
    }

    fn walk<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Walk<'_> {
        let (lower, upper) = (owned(bounds.start_bound()), owned(bounds.end_bound()));
        Walk::new(self.table.table(), lower, upper, &self.guard)
    }
}

impl std::fmt::Debug for Pinned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
}

/// The keys with a value, as [`Pinned::range`] shows them.
impl<'g> IntoIterator for &'g Pinned<'g> {
    type Item = (&'g [u8], &'g [u8]);
    type IntoIter = Range<'g>;

    fn into_iter(self) -> Range<'g> {
        self.range::<&[u8]>(..)
    }
}

/// Every live key of a range, from [`Pinned::range_all`].
pub struct RangeAll<'g>(Walk<'g>);

impl<'g> RangeAll<'g> {
    #[inline]
    fn show(&self, entry: EntryRef<'g>) -> Option<Item<'g>> {
        let Walk { table, guard, .. } = self.0;
        let mask = table.persistent_mask;
        let current = Current::read(entry, &table.clock, mask, guard)?;
        (!current.is_absent()).then(|| item(entry, current.live, current.tag(mask)))
    }
}

impl<'g> Iterator for RangeAll<'g> {
    type Item = Item<'g>;

    #[inline]
    fn next(&mut self) -> Option<Item<'g>> {
        loop {
            let entry = self.0.next()?;
            if let Some(item) = self.show(entry) {
                return Some(item);
            }
        }
    }
}

impl DoubleEndedIterator for RangeAll<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.0.next_back()?;
            if let Some(item) = self.show(entry) {
                return Some(item);
            }
        }
    }
}

impl std::iter::FusedIterator for RangeAll<'_> {}

impl std::fmt::Debug for RangeAll<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeAll").finish_non_exhaustive()
    }
}

/// The keys and values of a range, from [`Pinned::range`].
pub struct Range<'g>(Walk<'g>);

impl<'g> Range<'g> {
    #[inline]
    fn show(&self, entry: EntryRef<'g>) -> Option<(&'g [u8], &'g [u8])> {
        let version = newest(entry, &self.0.table.clock, self.0.guard)?;
        shown(entry, version)
    }

    /// Where the next entry is not at hand, or not plainly to be shown: `at`, if there is one, was taken from the walk.
    #[cold]
    fn next_beyond(&mut self, at: Option<EntryRef<'g>>) -> Option<(&'g [u8], &'g [u8])> {
        let mut at = at;
        loop {
            let entry = match at.take() {
                Some(entry) => entry,
                None => self.0.next()?,
            };
            if let Some(shown) = self.show(entry) {
                return Some(shown);
            }
        }
    }
}

#[inline(always)]
fn shown<'g>(entry: EntryRef<'g>, version: VersionRef<'g>) -> Option<(&'g [u8], &'g [u8])> {
    (version.state() == State::Value).then(|| (entry.key(), version.value()))
}

impl<'g> Iterator for Range<'g> {
    type Item = (&'g [u8], &'g [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.0.next_at_hand();
        if let Some(entry) = at {
            let plain = plainly_newest(entry, &self.0.table.clock, self.0.guard);
            if let Some(shown) = plain.and_then(|version| shown(entry, version)) {
                return Some(shown);
            }
        }
        self.next_beyond(at)
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.0.next_back()?;
            if let Some(shown) = self.show(entry) {
                return Some(shown);
            }
        }
    }
}

impl std::iter::FusedIterator for Range<'_> {}

impl std::fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}
