//! The descriptor of a batch: what is to be placed, where it was placed, and the decision.

use super::write_batch::{List, What, Write, WriteBatch};
use crate::entry::{EntryRef, EntrySlot};
use crate::item::{Item, Update};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stamp::{Stamp, StampWord};
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::sync::{Arc, Checked};
use crate::version::{Version, VersionRef};
use std::borrow::Cow;
use std::ptr;

/// A batch on its way into the table. Immutable but for the words that its [module](super) lists.
pub(crate) struct Descriptor {
    decision: StampWord,
    /// The turns of the clock under which it was begun: if they are others when it is stamped, it is void.
    turns: u64,
    /// Whether a stage was open then: each version owes its entry to the stage.
    pub(super) staged: bool,
    list: Arc<List>,
    /// Sorted by key, one for each key.
    pub(super) ops: Box<[Op]>,
    /// All ops before this one are placed.
    placed: AtomicUsize,
    check: Checked,
}

/// What becomes of one key.
pub(super) struct Op {
    key: Write,
    /// The content, if it is changed.
    content: Option<Write>,
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

impl Op {
    fn of(write: Write) -> Op {
        let (content, tag) = match write.what {
            What::Tag(tag) => (None, Some(tag)),
            What::Put { .. } | What::Delete => (Some(write), None),
        };
        Op {
            key: write,
            content,
            tag,
            entry: AtomicPtr::new(ptr::null_mut()),
            version: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Another write of the same key comes after it.
    fn then(&mut self, later: Op) {
        self.content = later.content.or(self.content);
        self.tag = later.tag.or(self.tag);
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

    fn is_placed(&self) -> bool {
        !self.version.load(Ordering::Acquire).is_null()
    }
}

impl Descriptor {
    pub(super) fn new(batch: &WriteBatch, turns: u64, staged: bool) -> Box<Descriptor> {
        let list = batch.list();
        let mut writes: Vec<Write> = list.writes.clone();
        if !writes.is_sorted_by(|left, right| list.key(*left) < list.key(*right)) {
            // Stable: the last write of a key stays the last.
            writes.sort_by(|left, right| list.key(*left).cmp(list.key(*right)));
        }
        let mut ops: Vec<Op> = Vec::with_capacity(writes.len());
        for write in writes {
            match ops.last_mut() {
                Some(last) if list.key(last.key) == list.key(write) => last.then(Op::of(write)),
                _ => ops.push(Op::of(write)),
            }
        }
        let descriptor = Descriptor {
            decision: StampWord::new(Stamp::InBatch),
            turns,
            staged,
            list: list.clone(),
            ops: ops.into_boxed_slice(),
            placed: AtomicUsize::new(0),
            check: Checked::new(),
        };
        descriptor.check.wrote();
        Box::new(descriptor)
    }

    pub(crate) fn decision(&self) -> &StampWord {
        self.check.read();
        &self.decision
    }

    pub(super) fn is_open(&self) -> bool {
        self.decision().load() == Stamp::InBatch
    }

    /// Leaves *open*. Only when every op is placed (B5).
    pub(super) fn close(&self) {
        let turns = self.turns;
        self.decision
            .decide(Stamp::InBatch, Stamp::Pending { turns });
    }

    /// The first op that is not placed yet.
    pub(super) fn next_op(&self) -> Option<&Op> {
        self.check.read();
        // Acquire and release: who closes the batch on the word of another passes on where that one saw the ops placed.
        let (read, write) = match planted("batch-placed-relaxed") {
            true => (Ordering::Relaxed, Ordering::Relaxed),
            false => (Ordering::Acquire, Ordering::Release),
        };
        let from = self.placed.load(read);
        let placed = self.ops[from..].iter().take_while(|op| op.is_placed());
        let next = from + placed.count();
        if next > from {
            self.placed.fetch_max(next, write);
        }
        self.ops.get(next)
    }

    pub(super) fn key(&self, op: &Op) -> &[u8] {
        self.list.key(op.key)
    }

    /// What the op makes of what the key holds.
    pub(super) fn change(&self, op: &Op, item: Option<Item<'_>>) -> Update<'_> {
        let tag = op.tag.or(item.map(|item| item.tag)).unwrap_or_default();
        match op.content {
            None => Update::Tag(tag),
            Some(write) => match write.what {
                What::Put { .. } => Update::Put {
                    value: Cow::Borrowed(self.list.value(write)),
                    tag,
                },
                What::Delete | What::Tag(_) => Update::Tombstone { tag },
            },
        }
    }

    /// The versions of the batch, all of them if it is decided. For who found it announced under the guard: they are not booked.
    pub(crate) fn versions<'g>(&self, guard: &'g Guard) -> impl Iterator<Item = VersionRef<'g>> {
        self.ops.iter().filter_map(|op| {
            // SAFETY: announced under the guard, so booked later than that began (A1).
            Some(unsafe { op.placed(guard) }?.version)
        })
    }
}

/// # Safety
/// `object` is a boxed [`Descriptor`] that nobody can reach any more, and it was not freed before.
pub(super) unsafe fn destroy(object: *mut u8) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(object.cast::<Descriptor>()) });
}
