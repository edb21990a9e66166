//! What becomes of one key in a batch, and where it was placed.

use super::write_batch::{List, Span, What, Write};
use crate::entry::{EntryRef, EntrySlot};
use crate::fence::common_prefix;
use crate::item::{Item, Update};
use crate::reclaim::Guard;
use crate::run::head;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::version::{Version, VersionRef};
use std::borrow::Cow;
use std::ptr;

/// Appends the stored form of a key. Stored keys have the order of the keys.
pub(crate) type Encode<'e> = &'e dyn Fn(&[u8], &mut Vec<u8>);

/// All writes of one key, folded.
pub(super) struct Op {
    /// In the list, or among the stored keys.
    key: Span,
    /// What the last write of its content leaves, if there is one.
    content: Option<Content>,
    tag: Option<u32>,
    entry: AtomicPtr<u8>,
    /// Null until the op is placed.
    version: AtomicPtr<Version>,
}

#[derive(Clone, Copy)]
enum Content {
    Value(Span),
    Tombstone,
}

/// An op that is placed, and where.
#[derive(Clone, Copy)]
pub(super) struct Placed<'g> {
    pub(super) entry: EntryRef<'g>,
    pub(super) version: VersionRef<'g>,
}

/// The writes of a list by key, those of one key in their order: some bytes of the key behind what all have in common, which decide
/// most comparisons, and in the lower half the number of the write.
fn sorted(list: &List) -> Vec<u128> {
    let key = |headed: u128| list.part(list.writes[headed as usize].key);
    let keys = list.writes.iter().map(|write| list.part(write.key));
    let first = keys.clone().next().unwrap_or_default();
    let shared = keys.clone().fold(first.len(), |shared, key| match shared {
        0 => 0,
        _ => common_prefix(&first[..shared], key),
    });
    let heads = keys.map(|key| u128::from(head(key, shared)) << 64);
    let mut sorted: Vec<_> = heads.zip(0..).map(|(head, number)| head | number).collect();
    sorted.sort_unstable();
    for alike in sorted.chunk_by_mut(|left, right| left >> 64 == right >> 64) {
        if alike.len() > 1 {
            alike.sort_by(|&left, &right| key(left).cmp(key(right)));
        }
    }
    sorted
}

/// The ops of a list of writes, sorted by key, one for each key.
pub(super) fn fold(list: &List) -> Box<[Op]> {
    let ascends = |left: &Write, right: &Write| list.part(left.key) < list.part(right.key);
    if list.writes.is_sorted_by(ascends) {
        return list.writes.iter().map(Op::new).collect();
    }
    let mut ops: Vec<Op> = Vec::with_capacity(list.writes.len());
    let mut before = None;
    for headed in sorted(list) {
        let (head, write) = (headed >> 64, &list.writes[headed as usize]);
        match ops.last_mut() {
            Some(last) if before == Some(head) && list.part(last.key) == list.part(write.key) => {
                last.fold(write)
            }
            _ => ops.push(Op::new(write)),
        }
        before = Some(head);
    }
    ops.into_boxed_slice()
}

impl Op {
    /// Of one write.
    pub(super) fn new(write: &Write) -> Op {
        let mut op = Op {
            key: write.key,
            content: None,
            tag: None,
            entry: AtomicPtr::new(ptr::null_mut()),
            version: AtomicPtr::new(ptr::null_mut()),
        };
        op.fold(write);
        op
    }

    /// Another write of the same key comes after those before.
    fn fold(&mut self, write: &Write) {
        match write.what {
            What::Tag(tag) => self.tag = Some(tag),
            What::Put(value) => self.content = Some(Content::Value(value)),
            What::Delete => self.content = Some(Content::Tombstone),
        }
    }

    #[inline]
    pub(super) fn key<'k>(&self, keys: &'k [u8]) -> &'k [u8] {
        self.key.of(keys)
    }

    /// Its key is the one that is appended to `stored` from now on.
    pub(super) fn store_key(&mut self, list: &List, encode: Encode<'_>, stored: &mut Vec<u8>) {
        self.key = Span::added(stored, |stored| encode(list.part(self.key), stored));
    }

    /// Whether it writes the tag alone.
    pub(super) fn is_tag_alone(&self) -> bool {
        self.content.is_none()
    }

    /// What it makes of what the key holds.
    #[inline]
    pub(super) fn change<'l>(&self, list: &'l List, item: Option<Item<'_>>) -> Update<'l> {
        let tag = self.tag.or(item.map(|item| item.tag)).unwrap_or_default();
        match self.content {
            Some(Content::Value(value)) => Update::Put {
                value: Cow::Borrowed(list.part(value)),
                tag,
            },
            Some(Content::Tombstone) => Update::Tombstone { tag },
            None => Update::Tag(tag),
        }
    }

    /// Notes where it was placed. Several may note it, all the same.
    pub(super) fn note(&self, placed: Placed<'_>) {
        self.entry
            .store(placed.entry.slot().as_ptr(), Ordering::Relaxed);
        // Release: with the entry, and with what was published there.
        self.version
            .store(placed.version.as_ptr(), Ordering::Release);
    }

    /// Where it was placed.
    ///
    /// # Safety
    /// The owner of the batch has not booked the version, or the guard began before he did (B3).
    pub(super) unsafe fn placed<'g>(&self, guard: &'g Guard) -> Option<Placed<'g>> {
        let version = self.version.load(Ordering::Acquire);
        // SAFETY: a version that is not booked is neither freed nor its entry buried, by the contract not before the guard ends.
        unsafe {
            let version = VersionRef::new(version)?;
            let entry = EntrySlot::from_ptr(self.entry.load(Ordering::Relaxed)).under(guard);
            Some(Placed { entry, version })
        }
    }

    pub(super) fn is_placed(&self) -> bool {
        !self.version.load(Ordering::Acquire).is_null()
    }
}
