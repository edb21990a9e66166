//! The clock: what time it is, which stages are open, and what was rolled back.
//!
//! All of that is one immutable [`View`] behind one word, and each of these is one CAS of it:
//!
//! | step | segment | marks | holes | turns |
//! |---|---|---|---|---|
//! | tick | +1 | | | |
//! | take a snapshot | +1, but of before the stages | | | |
//! | forget snapshots that were let go | | | | |
//! | open a stage, make a savepoint | +1 | push | | +1 if it is the only mark |
//! | release a stage, let a savepoint go | | take out | | |
//! | clean up a stage | +1 | pop down to it, and it | add `[first, segment]` | +1 |
//! | roll back to a savepoint | +1 | pop down to it, begin it anew | add `[first, segment]` | +1 |
//! | forget a hole | | | remove | |
//! | freeze (once) | +1 | | | +1 |
//!
//! A *segment* is a stretch of time between two such steps. Every write is stamped with the segment in which it takes effect;
//! those in a *hole* were rolled back. So a stage of any size is taken back at one instant, for everybody. The open stages and the
//! live savepoints are [`marks`](crate::marks), what live snapshots show are [`instants`](crate::instants).
//!
//! # Stamping (S)
//!
//! A version is published as *pending* and stamped afterwards, by its writer or by whoever meets it first, so nobody waits.
//!
//! * S1: the stamp is read from the clock *after* the version was met, with a `SeqCst` fence between. A snapshot moves the
//!   clock, then a fence, then reads heads. Hence what a snapshot does not meet is stamped later than the snapshot.
//! * S2: a pending version carries the number of turns under which it was computed. If the view has another one, the version
//!   is stamped *void*: it never happened, and its writer starts again. So a write computed from a stage that was taken back
//!   meanwhile never takes effect, and none that was computed outside of stages lands in one. Ticks void nothing.
//!   A frozen view is the last one under which anything is stamped: what was computed before is void by the same rule, and who
//!   computes under it is refused ([`frozen`](crate::frozen)).
//! * S3: a head is stamped before anything is put on top, so what lies below a head is decided. For that, who writes over a
//!   version of an open batch completes the batch first ([`batch`](crate::batch)); who reads looks below.

use crate::batch::Descriptor;
use crate::debt::HoleRecord;
use crate::holes::{Hole, Holes};
use crate::instants::Instants;
use crate::marks::{Mark, Marks};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stamp::{Stamp, StampWord};
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::sync::{self, Arc, const_fn};
use crate::version::VersionRef;
use std::ptr;

/// The state of the clock between two steps.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) segment: u64,
    /// Steps that make void what was computed before.
    pub(crate) turns: u64,
    /// The open stages and live savepoints.
    pub(crate) marks: Marks,
    /// What live snapshots show.
    pub(crate) instants: Instants,
    pub(crate) holes: Holes,
    /// Nothing is written from now on.
    pub(crate) frozen: bool,
}

/// Where every table begins. Segment 0 is for what no rollback takes back.
pub(crate) const FIRST_SEGMENT: u64 = 1;

/// The first view of every table.
const BEGINNING: View = View {
    segment: FIRST_SEGMENT,
    turns: 0,
    marks: Marks::NONE,
    instants: Instants::NONE,
    holes: Holes::NONE,
    frozen: false,
};

impl View {
    /// Whether what is stamped with `segment` was rolled back.
    #[inline]
    pub(crate) fn discards(&self, segment: u64) -> bool {
        self.holes.around(segment).is_some()
    }

    /// Whether a snapshot at `snapshot` sees what is stamped with `segment`.
    pub(crate) fn shows(&self, segment: u64, snapshot: u64) -> bool {
        let taken_back = |hole: &Hole| hole.at() <= snapshot;
        segment <= snapshot && !self.holes.around(segment).is_some_and(taken_back)
    }

    /// The hole that took `segment` back first.
    pub(crate) fn rolled_back(&self, segment: u64) -> Option<&Hole> {
        self.holes.around(segment)
    }

    /// The innermost mark that `segment` does not lie before.
    pub(crate) fn mark_of(&self, segment: u64) -> Option<&Arc<Mark>> {
        self.marks.mark_of(segment)
    }

    /// Whether a rollback may part the two segments: the table can return to an instant after `older` and not after `newer`.
    pub(crate) fn mark_between(&self, older: u64, newer: u64) -> bool {
        self.marks.descent().parts(older, newer)
    }

    /// What follows when `mark` is set, which begins the next segment.
    pub(crate) fn marked(&self, mark: Arc<Mark>) -> View {
        View {
            segment: self.segment + 1,
            turns: self.turns + u64::from(self.marks.is_empty()),
            marks: self.marks.with(mark),
            ..self.clone()
        }
    }

    /// What follows when all that was stamped from `first` on is taken back, so that `marks` are left.
    pub(crate) fn cut(&self, first: u64, marks: Marks) -> (View, Arc<HoleRecord>) {
        let at = self.segment + 1;
        let record = HoleRecord::new(at);
        let hole = Hole {
            first,
            last: self.segment,
            record: record.clone(),
        };
        let view = View {
            segment: at,
            turns: self.turns + u64::from(!planted("cut-without-turn")),
            marks,
            holes: self.holes.with(hole),
            instants: self.instants.clone(),
            frozen: self.frozen,
        };
        (view, record)
    }
}

/// The word that holds the view.
pub(crate) struct Clock {
    /// Null: the beginning.
    view: AtomicPtr<View>,
    savepoints: LetGo,
    snapshots: LetGo,
    /// Snapshots that were let go, ever.
    snapshots_let_go: AtomicUsize,
}

/// So many instants that nobody looks at may stay in the view.
pub(crate) const FEW_SNAPSHOTS: usize = if cfg!(untorn_loom) { 0 } else { 8 };

/// How many of a kind were let go, and how often writers went by one of these, since all of the kind were looked through.
struct LetGo(AtomicUsize);

impl LetGo {
    const_fn! {
        const fn new() -> LetGo {
            LetGo(AtomicUsize::new(0))
        }
    }

    /// Counts `more`; answers whether these are more than a `few` and than half of `all`. Then the count begins anew.
    fn count(&self, more: usize, all: usize, few: usize) -> bool {
        // Relaxed: when they are looked through is a matter of cost alone.
        let count = self.0.fetch_add(more, Ordering::Relaxed) + more;
        let many = count > few && 2 * count > all;
        if many {
            self.0.store(0, Ordering::Relaxed);
        }
        many
    }
}

/// A view that a guard keeps alive.
#[derive(Clone, Copy)]
pub(crate) struct ViewRef<'g> {
    word: *mut View,
    view: &'g View,
}

impl<'g> std::ops::Deref for ViewRef<'g> {
    type Target = View;

    fn deref(&self) -> &View {
        self.view
    }
}

impl PartialEq for ViewRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.word, other.word)
    }
}

impl Clock {
    const_fn! {
        pub(crate) const fn new() -> Clock {
            Clock {
                view: AtomicPtr::new(ptr::null_mut()),
                savepoints: LetGo::new(),
                snapshots: LetGo::new(),
                snapshots_let_go: AtomicUsize::new(0),
            }
        }
    }

    /// Counts savepoints that were let go, or that a writer went by. Answers whether these are so many, among `marks`, that all are worth
    /// looking through.
    pub(crate) fn count_savepoints_let_go(&self, more: usize, marks: usize) -> bool {
        self.savepoints.count(more, marks, 0)
    }

    /// As [`Clock::count_savepoints_let_go`], for a snapshot among so many instants.
    pub(crate) fn count_snapshot_let_go(&self, instants: usize) -> bool {
        // Release: who finds it counted finds it gone.
        self.snapshots_let_go.fetch_add(1, Ordering::Release);
        self.snapshots.count(1, instants, FEW_SNAPSHOTS)
    }

    /// The same, for snapshots that a writer went by.
    pub(crate) fn count_snapshots_passed(&self, passed: usize, instants: usize) -> bool {
        self.snapshots.count(passed, instants, FEW_SNAPSHOTS)
    }

    /// How many snapshots were let go so far.
    pub(crate) fn snapshots_let_go(&self) -> usize {
        self.snapshots_let_go.load(Ordering::Acquire)
    }

    /// The current view.
    #[inline]
    pub(crate) fn now<'g>(&self, _guard: &'g Guard) -> ViewRef<'g> {
        const BEGINNING_REF: &View = &BEGINNING;
        let word = self.view.load(Ordering::Acquire);
        // SAFETY: a view is retired only after it was replaced here (I7).
        let view = unsafe { word.as_ref() }.unwrap_or(BEGINNING_REF);
        ViewRef { word, view }
    }

    /// Whether what is stamped with `segment` is rolled back by now.
    #[inline(always)]
    pub(crate) fn discards(&self, segment: u64, _guard: &Guard) -> bool {
        // SAFETY: as for `now`.
        let view = unsafe { self.view.load(Ordering::Acquire).as_ref() };
        // In the beginning nothing is.
        view.is_some_and(|view| view.discards(segment))
    }

    /// Puts `next` in place of `seen`. False if the clock moved meanwhile.
    pub(crate) fn step(&self, seen: ViewRef<'_>, next: View, guard: &Guard) -> bool {
        let apart = seen.holes.bytes_apart(&next.holes);
        let next = Box::into_raw(Box::new(next));
        let stepped = self
            .view
            .compare_exchange(seen.word, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        let (gone, bytes) = if stepped {
            (seen.word, size_of::<View>() + apart)
        } else {
            (next, 0)
        };
        match stepped {
            // SAFETY: never published.
            false => unsafe { destroy_view(gone.cast()) },
            // SAFETY: the CAS took it out of the only word that named it (I7).
            true if !gone.is_null() => unsafe { guard.retire(gone.cast(), destroy_view, bytes) },
            true => {}
        }
        stepped
    }

    /// Puts what `next` makes of the current view in its place, however often the clock moves meanwhile; answers what comes with it.
    pub(crate) fn change<R>(&self, guard: &Guard, next: impl Fn(&View) -> (View, R)) -> R {
        loop {
            let seen = self.now(guard);
            let (next, made) = next(&seen);
            if self.step(seen, next, guard) {
                return made;
            }
            sync::spin();
        }
    }

    /// Ends the segment of `seen`. That another step may have ended it first is just as good; but not every step does.
    pub(crate) fn tick(&self, seen: ViewRef<'_>, guard: &Guard) {
        let mut now = seen;
        while now.segment == seen.segment {
            let next = View {
                segment: now.segment + 1,
                ..now.view.clone()
            };
            if self.step(now, next, guard) {
                break;
            }
            now = self.now(guard);
        }
        // After the exchange, successful or not, of the last round: `now` is read with no write in between.
        sync::fence_after_rmw();
    }

    /// What the stamp says, after setting it if it was pending. For whoever meets a version in a chain (S1), or its batch; that
    /// may be open still.
    #[inline]
    pub(crate) fn settle(&self, word: &StampWord, guard: &Guard) -> Stamp {
        match word.load() {
            Stamp::Pending { turns } => {
                sync::atomic::fence(Ordering::SeqCst);
                self.stamp_now(word, turns, guard)
            }
            Stamp::InBatch => self.settle_in_batch(word, guard),
            stamp => stamp,
        }
    }

    #[cold]
    fn settle_in_batch(&self, word: &StampWord, guard: &Guard) -> Stamp {
        let Some(batch) = word.batch(guard) else {
            return word.load();
        };
        match self.settle_batch(batch, guard) {
            Stamp::InBatch => Stamp::InBatch,
            decided => word.decide_with(batch, decided),
        }
    }

    /// What a batch came to, after stamping it if that is all that is missing; [`Stamp::InBatch`] while it is open.
    pub(crate) fn settle_batch(&self, batch: &Descriptor, guard: &Guard) -> Stamp {
        let decision = batch.decision();
        match decision.load() {
            Stamp::Pending { turns } => {
                sync::atomic::fence(Ordering::SeqCst);
                self.stamp_now(decision, turns, guard)
            }
            stamp => stamp,
        }
    }

    /// The newest version from `head` on that is decided: the head, unless its batch is open. For readers, who help nobody.
    #[inline]
    pub(crate) fn decided<'g>(
        &self,
        head: VersionRef<'g>,
        guard: &'g Guard,
    ) -> Option<VersionRef<'g>> {
        match head.stamp_word().segment() {
            Some(_) => Some(head),
            None => self.decided_at_last(head, guard),
        }
    }

    fn decided_at_last<'g>(
        &self,
        head: VersionRef<'g>,
        guard: &'g Guard,
    ) -> Option<VersionRef<'g>> {
        match head.stamp() {
            Stamp::InBatch => self.decided_in_batch(head, guard),
            Stamp::Pending { .. } => {
                self.settle(head.stamp_word(), guard);
                Some(head)
            }
            _ => Some(head),
        }
    }

    #[cold]
    fn decided_in_batch<'g>(
        &self,
        head: VersionRef<'g>,
        guard: &'g Guard,
    ) -> Option<VersionRef<'g>> {
        // Before the look at the batch: once that is decided, what lies below may be cut off here.
        let mut below = head.previous();
        let stamp = self.settle(head.stamp_word(), guard);
        if planted("batch-below-late") {
            below = head.previous();
        }
        match stamp {
            Stamp::InBatch => below,
            _ => Some(head),
        }
    }

    /// As [`Clock::settle`], for the writer right after the CAS that published the version, which spares the fence.
    #[inline]
    pub(crate) fn settle_own(&self, version: VersionRef<'_>, guard: &Guard) -> Stamp {
        if !planted("stamp-without-fence") {
            sync::fence_after_rmw();
        }
        let word = version.stamp_word();
        match word.pending() {
            Some(turns) => self.stamp_now(word, turns, guard),
            None => word.load(),
        }
    }

    /// Stamps what was computed after so many turns.
    fn stamp_now(&self, word: &StampWord, turns: u64, guard: &Guard) -> Stamp {
        let view = self.now(guard);
        let decision = match view.turns == turns || planted("never-void") {
            true => Stamp::At(view.segment),
            false => Stamp::Void,
        };
        word.decide(Stamp::Pending { turns }, decision)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let view = sync::exclusive(&mut self.view);
        if !view.is_null() {
            // SAFETY: the table is being dropped; nobody else can reach its view.
            unsafe { destroy_view(view.cast()) }
        }
    }
}

/// # Safety
/// `object` is a boxed [`View`] that nobody can reach any more, and it was not freed before.
unsafe fn destroy_view(object: *mut u8) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(object.cast::<View>()) });
}
