//! What becomes of one key in a batch, and where it was placed.

use super::write_batch::{List, What};
use crate::entry::{EntryRef, EntrySlot};
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

/// The ops of a list of writes, sorted by key, one for each key.
pub(super) fn fold(list: &List) -> Box<[Op]> {
    let key = |number: usize| list.key(list.writes[number]);
    // With the beginning of the key, for most comparisons are decided by that.
    let mut order: Vec<_> = (0..list.writes.len())
        .map(|number| (head(key(number), 0), number))
        .collect();
    if !order.is_sorted_by_key(|&(_, number)| key(number)) {
        order.sort_unstable_by(|(left_head, left), (right_head, right)| {
            let by_key = || key(*left).cmp(key(*right));
            left_head
                .cmp(right_head)
                .then_with(by_key)
                .then(left.cmp(right))
        });
    }
    let mut ops: Vec<Op> = Vec::with_capacity(order.len());
    for (_, number) in order {
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
