//! What becomes of one key in a batch, and where it was placed.

use super::write_batch::{List, What};
use crate::entry::{EntryRef, EntrySlot};
use crate::fence::common_prefix;
use crate::item::{Item, Update};
use crate::reclaim::Guard;
use crate::run::head;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::version::{Version, VersionRef};
use std::borrow::Cow;
use std::ptr;

/// All writes of one key, folded. Writes are named by their number in the list.
pub(super) struct Op {
    key: usize,
    /// The last write of its content, if it is changed.
    content: Option<usize>,
    tag: Option<u32>,
    entry: AtomicPtr<u8>,
    /// Null until the op is placed.
    version: AtomicPtr<Version>,
}

/// An op that is placed, and where.
#[derive(Clone, Copy)]
pub(super) struct Placed<'g> {
    pub(super) entry: EntryRef<'g>,
    pub(super) version: VersionRef<'g>,
}

/// The writes of a list by key, those of one key in their order, each with its number. With it some bytes of the key behind
/// what all have in common, which decide most comparisons.
fn sorted(list: &List) -> Vec<(u64, usize)> {
    let key = |number: usize| list.key(list.writes[number]);
    let numbers = 0..list.writes.len();
    let first = numbers.clone().next().map_or(&[][..], key);
    let shared = numbers
        .clone()
        .fold(first.len(), |shared, number| match shared {
            0 => 0,
            _ => common_prefix(&first[..shared], key(number)),
        });
    let headed = numbers.map(|number| (head(key(number), shared), number));
    let mut sorted: Vec<_> = headed.collect();
    if !sorted.is_sorted() {
        sorted.sort_unstable();
    }
    for alike in sorted.chunk_by_mut(|left, right| left.0 == right.0) {
        if alike.len() > 1 {
            alike.sort_by(|(_, left), (_, right)| key(*left).cmp(key(*right)));
        }
    }
    sorted
}

/// The ops of a list of writes, sorted by key, one for each key.
pub(super) fn fold(list: &List) -> Box<[Op]> {
    let key = |number: usize| list.key(list.writes[number]);
    let sorted = sorted(list);
    let mut ops: Vec<Op> = Vec::with_capacity(sorted.len());
    for (_, number) in sorted {
        match ops.last_mut() {
            Some(last) if key(last.key) == key(number) => last.fold(number, list),
            _ => {
                let mut op = Op {
                    key: number,
                    content: None,
                    tag: None,
                    entry: AtomicPtr::new(ptr::null_mut()),
                    version: AtomicPtr::new(ptr::null_mut()),
                };
                op.fold(number, list);
                ops.push(op);
            }
        }
    }
    ops.into_boxed_slice()
}

impl Op {
    /// Another write of the same key comes after those before.
    fn fold(&mut self, number: usize, list: &List) {
        match list.writes[number].what {
            What::Tag(tag) => self.tag = Some(tag),
            What::Put { .. } | What::Delete => self.content = Some(number),
        }
    }

    pub(super) fn key<'l>(&self, list: &'l List) -> &'l [u8] {
        list.key(list.writes[self.key])
    }

    /// Whether it writes the tag alone.
    pub(super) fn is_tag_alone(&self) -> bool {
        self.content.is_none()
    }

    /// What it makes of what the key holds.
    pub(super) fn change<'l>(&self, list: &'l List, item: Option<Item<'_>>) -> Update<'l> {
        let tag = self.tag.or(item.map(|item| item.tag)).unwrap_or_default();
        let Some(number) = self.content else {
            return Update::Tag(tag);
        };
        let write = list.writes[number];
        match write.what {
            What::Put { .. } => Update::Put {
                value: Cow::Borrowed(list.value(write)),
                tag,
            },
            What::Delete | What::Tag(_) => Update::Tombstone { tag },
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
