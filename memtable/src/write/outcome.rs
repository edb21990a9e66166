//! What a write makes of a key: its contents, the version or entry that holds them, and what that adds to the account.

use super::Change;
use crate::entry::{Contents, EntryRef, MAX_INLINE_VALUE, NewEntry};
use crate::error::{Error, MAX_VALUE_LEN, OutOfMemory};
use crate::item::Update;
use crate::marks::Order;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stamp::{Stamp, StampWord};
use crate::table::Table;
use crate::version::{Delta, NewVersion, Place, State, VersionRef};
use crate::visible::Current;
use std::borrow::Cow;

/// What the key is to hold after `change`; `None` if it stays as it is.
#[inline]
pub(crate) fn contents<'v>(
    change: Change<'v>,
    old: Option<(State, &'v [u8])>,
) -> Result<Option<Contents<'v>>, Error> {
    let empty = Cow::Borrowed(&[][..]);
    let (state, tag, value) = match change {
        Change::Update(Update::Keep) => return Ok(None),
        Change::Update(Update::Put { value, tag }) => (State::Value, tag, value),
        Change::Update(Update::Tombstone { tag }) => (State::Tombstone, tag, empty),
        Change::Update(Update::Tag(tag)) => match old {
            Some((state, value)) => (state, tag, Cow::Borrowed(value)),
            None => (State::TagOnly, tag, empty),
        },
        Change::Remove => (State::Gone, 0, empty),
    };
    match value.len() {
        size if size > MAX_VALUE_LEN => Err(Error::ValueTooLarge {
            size,
            limit: MAX_VALUE_LEN,
        }),
        _ => Ok(Some(Contents { state, tag, value })),
    }
}

impl Table {
    /// A version for the top of a chain, and what it adds to the account.
    pub(crate) fn version_above(
        &self,
        entry: EntryRef<'_>,
        current: &Current<'_>,
        contents: &Contents<'_>,
        stamp: StampWord,
        order: Order,
    ) -> Result<(NewVersion, Delta), OutOfMemory> {
        let Contents { state, tag, value } = contents;
        let (minus, plus) = self.weigh(current, *state, *tag);
        let old = current.live.map_or(0, |live| live.value_len());
        let delta = Delta {
            key_len: entry.key().len() as u32,
            value: value.len() as i64 - old as i64,
            minus,
            plus,
        };
        let previous = current.newest.as_ptr();
        let version = NewVersion::new(stamp, *state, *tag, value, previous, delta, order)?;
        Ok((version, delta))
    }

    /// An entry with its first version: inline, or apart if the value is long.
    pub(crate) fn new_entry(
        &self,
        key: &[u8],
        contents: &Contents<'_>,
        stamp: StampWord,
        order: Order,
        guard: &Guard,
    ) -> Result<NewEntry, OutOfMemory> {
        let Contents { state, tag, value } = contents;
        if value.len() <= MAX_INLINE_VALUE {
            return NewEntry::new(key, contents, stamp);
        }
        let delta = Delta {
            key_len: key.len() as u32,
            value: value.len() as i64,
            minus: Place::Nowhere,
            plus: match *tag & self.persistent_mask {
                0 => Place::Here,
                _ => Place::Always,
            },
        };
        let version = NewVersion::new(
            stamp,
            *state,
            *tag,
            value,
            std::ptr::null_mut(),
            delta,
            order,
        )?;
        NewEntry::over(key, version.publish(guard)).inspect_err(|_| {
            // SAFETY: no entry names it.
            unsafe { version.destroy() }
        })
    }

    /// Where the key's own weight was booked and where it is to be from now on.
    fn weigh(&self, current: &Current<'_>, state: State, tag: u32) -> (Place, Place) {
        let bits_before = current.persistent != 0;
        let bits_after = tag & self.persistent_mask != 0;
        let lowest = || {
            let chain = std::iter::successors(Some(current.newest), VersionRef::previous);
            let segments = chain.filter_map(|version| match version.stamp() {
                Stamp::At(segment) if !current.view.discards(segment) => Some(segment),
                _ => None,
            });
            segments.last().map_or(Place::Nowhere, Place::Segment)
        };
        match (bits_before, bits_after, current.live.is_some()) {
            (true, true, _) => (Place::Nowhere, Place::Nowhere),
            (false, true, _) => (lowest(), Place::Always),
            (true, false, true) => (Place::Always, lowest()),
            (true, false, false) => (Place::Always, Place::Here),
            (false, false, true) if state == State::TagOnly && planted("tag-counted-again") => {
                (Place::Nowhere, Place::Here)
            }
            (false, false, true) if state == State::Gone => (Place::Here, Place::Nowhere),
            (false, false, true) => (Place::Nowhere, Place::Nowhere),
            (false, false, false) => (Place::Nowhere, Place::Here),
        }
    }
}
