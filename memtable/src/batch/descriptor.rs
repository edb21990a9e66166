//! The descriptor of a batch: what is to be placed, where it was placed, and the decision.

use super::op::{Encode, Op, fold};
use super::write_batch::{List, WriteBatch};
use crate::clock::View;
use crate::item::{Item, Update};
use crate::marks::Order;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stamp::{Stamp, StampWord};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Checked};
use crate::version::VersionRef;

/// A batch on its way into the table. Immutable but for the words that its [module](super) lists.
pub(crate) struct Descriptor {
    decision: StampWord,
    /// The turns of the clock under which it was begun: if they are others when it is stamped, it is void.
    turns: u64,
    /// Whether a stage was open then: each version owes its entry to the stage.
    pub(super) staged: bool,
    /// The order of all that it writes.
    pub(super) order: Order,
    list: Arc<List>,
    /// The keys as they are stored, where that is not as they are in the list.
    stored: Option<Vec<u8>>,
    pub(super) ops: Box<[Op]>,
    /// All ops before this one are placed.
    placed: AtomicUsize,
    check: Checked,
}

impl Descriptor {
    pub(super) fn new(
        batch: &WriteBatch,
        encode: Option<Encode<'_>>,
        view: &View,
    ) -> Box<Descriptor> {
        let list = batch.list().clone();
        let mut ops = fold(&list);
        let stored = encode.map(|encode| {
            let mut stored = Vec::new();
            for op in &mut ops {
                op.store_key(&list, encode, &mut stored);
            }
            stored
        });
        let descriptor = Box::new(Descriptor {
            decision: StampWord::new(Stamp::InBatch),
            turns: view.turns,
            staged: !view.marks.is_empty(),
            order: view.marks.next_order(),
            list,
            stored,
            ops,
            placed: AtomicUsize::new(0),
            check: Checked::new(),
        });
        descriptor.check.wrote();
        descriptor
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

    /// So many ops from the first on are known to be placed.
    #[inline]
    pub(super) fn placed(&self) -> usize {
        self.check.read();
        // Acquire: who closes the batch on the word of another passes on where that one saw the ops placed.
        self.placed.load(match planted("batch-placed-relaxed") {
            true => Ordering::Relaxed,
            false => Ordering::Acquire,
        })
    }

    /// So many are. A store: a smaller number that comes late is true as well.
    #[inline]
    pub(super) fn note_placed(&self, placed: usize) {
        // Release: pairs with the load in `placed`.
        let order = match planted("batch-placed-relaxed") {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        self.placed.store(placed, order);
    }

    #[inline]
    pub(super) fn key(&self, op: &Op) -> &[u8] {
        op.key(self.stored.as_deref().unwrap_or(&self.list.bytes))
    }

    /// What the op makes of what the key holds.
    pub(super) fn change(&self, op: &Op, item: Option<Item<'_>>) -> Update<'_> {
        op.change(&self.list, item)
    }

    /// Bytes that it holds, those of the list too: nobody else may have that any more.
    pub(super) fn allocated(&self) -> usize {
        let stored = self.stored.as_ref().map_or(0, Vec::capacity);
        size_of::<Descriptor>() + size_of_val(&*self.ops) + stored + self.list.allocated()
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
