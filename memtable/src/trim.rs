//! Trimming: taking out of an entry's chain what nobody can see any more, and burying an entry when nothing is left.
//!
//! All of it happens under the entry's trim flag, and nobody waits for that: who finds it taken goes on, and the next write
//! trims what was left over.
//!
//! A version is needed
//!
//! * if it is the head: heads are never popped, so that a head never returns to an old pointer;
//! * if it is the newest in effect: everybody sees it now;
//! * if an open stage or a live savepoint began between it and the next newer one in effect: a rollback would bring it back;
//! * if a registered snapshot is between the two, or, for one that was rolled back, between it and the rollback;
//! * if it is the newest that happened at all and carries persistent bits, or hides those of an older one;
//! * if it is not booked, since a stripe of the account may still name it, or lies below such a one.
//!
//! An entry is buried when its head is nothing that anybody sees and what is left below, if anything, is that the key was removed: for
//! a reader both are a key that is not there.
//!
//! Not everybody looks through all of a chain: [`depth`].
//!
//! The order is always: unlink, then retire. A version that was unlinked keeps its own `previous`, so a reader who stands on it
//! still finds what was needed when he came.

mod depth;

use crate::clock::{Clock, View};
use crate::debt::{HoleRecord, Payment};
use crate::entry::{EntryRef, Head};
use crate::held::Held;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stamp::Stamp;
use crate::sync::Arc;
use crate::version::{self, State, VersionRef};
use crate::{instants, marks};
use depth::{Depth, LOOKS};

/// Who trims, and why.
#[derive(Clone, Copy)]
pub(crate) enum Role<'h> {
    /// A writer on his way out.
    Writer,
    /// Who took the entry from a list of what was written behind a mark that is gone.
    Payer,
    /// Who took it from a list of what was rolled back with this hole.
    Clearer(&'h Arc<HoleRecord>),
    /// Who looks through all of the chain and owes nothing.
    Compactor,
    /// Who removed the key and owes the entry since before: what he cannot clear away he names in a list of debts.
    Remover,
}

impl Role<'_> {
    fn owes(self) -> bool {
        match self {
            Role::Payer | Role::Clearer(_) | Role::Remover => true,
            Role::Writer | Role::Compactor => false,
        }
    }
}

/// What trimming came to.
pub(crate) enum Trimmed {
    Done(Payment),
    /// The entry was marked dead by this call: it has to leave its leaf.
    Buried,
}

/// How many a trimmer went by that were let go and are in the view still.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed {
    pub(crate) snapshots: usize,
    pub(crate) savepoints: usize,
}

pub(crate) struct Trimmer<'t> {
    pub(crate) clock: &'t Clock,
    pub(crate) held: &'t Held,
    pub(crate) persistent_mask: u32,
    pub(crate) passed: Passed,
}

/// Walks down a chain and says what is needed.
struct Judge<'g> {
    view: &'g View,
    marks: marks::Descent<'g>,
    instants: instants::Descent<'g>,
    /// Snapshots that were gone by elsewhere than on this way.
    passed: usize,
    persistent_mask: u32,
    /// Segment of the newest version in effect so far.
    newer: Option<u64>,
    top_passed: bool,
    /// The hole that is cleared away.
    hole: Option<&'g Arc<HoleRecord>>,
    /// Something is kept for a snapshot alone.
    blocked: bool,
    /// Something of that hole.
    hole_blocked: bool,
    /// Something is kept since its writer is not done with it.
    unbooked: bool,
    below_unbooked: bool,
    is_head: bool,
}

impl<'g> Judge<'g> {
    fn needs(&mut self, version: VersionRef<'g>) -> bool {
        let booked = version.is_booked();
        let needed = self.shows(version, booked) || !booked || self.below_unbooked;
        self.unbooked |= !booked;
        // What is kept needs what a reader who stands on it may look for below. The head has it by the rules above.
        self.below_unbooked |= !booked && !self.is_head;
        self.is_head = false;
        needed
    }

    fn shows(&mut self, version: VersionRef<'g>, booked: bool) -> bool {
        let stamp = version.stamp();
        let is_top = !self.top_passed && happened(version);
        self.top_passed |= is_top;
        let decides_bits = || is_top && self.bits_at_or_below(version);
        match stamp {
            Stamp::InBatch | Stamp::Pending { .. } => true,
            Stamp::Void => false,
            Stamp::Discarded => decides_bits(),
            Stamp::At(segment) => match self.view.rolled_back(segment) {
                Some(hole) => {
                    let mut instants = self.view.instants.descent();
                    let shown = instants.any_within(segment, hole.at());
                    let decides_bits = decides_bits();
                    self.passed += instants.passed();
                    self.blocked |= shown;
                    let is_cleared = |cleared| Arc::ptr_eq(cleared, &hole.record);
                    self.hole_blocked |= shown && self.hole.is_some_and(is_cleared);
                    // Not while it is announced: a `stats()` that began before the rollback counts it.
                    if decides_bits && !shown && booked {
                        version.stamp_word().discard(segment);
                    }
                    shown || decides_bits
                }
                None => {
                    let needed = match self.newer {
                        None => true,
                        Some(newer) => {
                            let shown = self.instants.any_within(segment, newer);
                            self.blocked |= shown;
                            shown || self.marks.parts(segment, newer)
                        }
                    };
                    self.newer = Some(segment);
                    needed
                }
            },
        }
    }

    fn passed(&self) -> Passed {
        Passed {
            snapshots: self.passed + self.instants.passed(),
            savepoints: self.marks.passed(),
        }
    }

    /// In a long chain that is taken for true before the end: then what was rolled back stays on top until the chain is shorter.
    fn bits_at_or_below(&self, version: VersionRef<'g>) -> bool {
        if self.persistent_mask == 0 {
            return false;
        }
        let mut chain = std::iter::successors(Some(version), VersionRef::previous);
        let has_bits = |version| happened(version) && version.tag() & self.persistent_mask != 0;
        chain.by_ref().take(LOOKS).any(has_bits) || chain.next().is_some()
    }
}

fn happened(version: VersionRef<'_>) -> bool {
    matches!(version.stamp(), Stamp::At(_) | Stamp::Discarded)
}

impl Trimmer<'_> {
    pub(crate) fn trim<'g>(
        &mut self,
        entry: EntryRef<'g>,
        role: Role<'_>,
        guard: &'g Guard,
    ) -> Trimmed {
        let Some(_flag) = entry.try_trim() else {
            return Trimmed::Done(Payment::Busy);
        };
        if role.owes() {
            entry.settle_debt();
        }
        let Head::Live(head) = entry.head() else {
            return Trimmed::Done(Payment::Paid);
        };
        // Decided before it is judged: a stamp that came in the middle would make a new version look like nothing. And before
        // the view is read: a stamp above the view may lie behind a mark that the view does not know, whose rollback needs what
        // lies below.
        if !self.clock.settle(head.stamp_word(), guard).is_decided() {
            // In an open batch: its owner trims when it is done.
            return Trimmed::Done(put_off(entry, role, Payment::Busy));
        }
        let view = self.clock.now(guard);
        if self.hides_all(head, &view) {
            self.unlink(head, None, guard);
            return Trimmed::Done(Payment::Paid);
        }
        let mut judge = Judge {
            view: &view,
            marks: view.marks.descent(),
            instants: view.instants.descent(),
            passed: 0,
            persistent_mask: self.persistent_mask,
            newer: None,
            top_passed: false,
            hole: match role {
                Role::Clearer(hole) => Some(hole),
                _ => None,
            },
            blocked: false,
            hole_blocked: false,
            unbooked: false,
            below_unbooked: false,
            is_head: true,
        };
        let head_needed = judge.needs(head);
        let alive = judge.newer.is_some() && head_needed && head.state() != State::Gone;
        if let (Stamp::At(segment), false) = (head.stamp(), judge.blocked)
            && head.is_booked()
            && view.discards(segment)
        {
            head.stamp_word().discard(segment);
        }
        let mut depth = Depth::of(role, entry, &view);
        let mut kept = head;
        let mut is_end = false;
        let mut next = head.previous();
        while let (false, Some(version)) = (is_end, next) {
            next = version.previous();
            if judge.needs(version) {
                self.unlink(kept, Some(version), guard);
                kept = version;
                is_end = depth.ends_at(version);
            }
        }
        if !is_end {
            self.unlink(kept, None, guard);
        }
        self.passed = judge.passed();

        let is_bare = |version: VersionRef<'_>| version.tag() & self.persistent_mask == 0;
        let removed_below = || {
            let is_only = head.previous() == Some(kept) && kept.previous().is_none();
            is_only && kept.state() == State::Gone && is_bare(kept)
        };
        let empty = !alive
            && (kept == head || removed_below())
            && head.stamp().is_decided()
            && (is_bare(head) || head.stamp() == Stamp::Void)
            && !judge.blocked
            && !judge.unbooked;
        if empty && (!entry.in_debt() || planted("bury-in-debt")) && entry.bury(head) {
            return Trimmed::Buried;
        }
        let blocked = match role {
            // What a snapshot keeps of the rest goes with a later write, as where nothing was rolled back, or is owed with its own hole.
            Role::Clearer(_) => judge.hole_blocked,
            _ => judge.blocked,
        };
        Trimmed::Done(match (judge.unbooked, blocked) {
            (false, false) => Payment::Paid,
            (true, _) => put_off(entry, role, Payment::Busy),
            (false, true) => put_off(entry, role, Payment::Blocked),
        })
    }

    /// Whether of a chain of two the older version is needed by nobody, for the reasons that hold of most: no rollback is possible
    /// or under way, no bit is persistent, no snapshot is between, and both are booked. What a writer finds who wrote over what a
    /// writer before had trimmed.
    #[inline]
    fn hides_all(&self, head: VersionRef<'_>, view: &View) -> bool {
        let simple = view.marks.is_empty() && view.holes.is_empty() && self.persistent_mask == 0;
        if !simple || head.state() == State::Gone || !head.is_booked() {
            return false;
        }
        let (Stamp::At(newer), Some(older)) = (head.stamp(), head.previous()) else {
            return false;
        };
        let Stamp::At(from) = older.stamp() else {
            return false;
        };
        older.is_booked() && older.previous().is_none() && !view.instants.any_within(from, newer)
    }

    /// Makes `to` follow `from` and retires what was between.
    fn unlink<'g>(&self, from: VersionRef<'g>, to: Option<VersionRef<'g>>, guard: &'g Guard) {
        let mut next = from.previous();
        if next == to {
            return;
        }
        from.set_previous(to);
        while let Some(version) = next
            && next != to
        {
            next = version.previous();
            if !version.is_inline() {
                self.held.let_version_go(version);
                // SAFETY: unlinked above by the only one who may, so no guard that begins now can reach it (I6).
                unsafe {
                    guard.retire(
                        version.as_ptr().cast(),
                        version::destroy,
                        version::allocation(version),
                    );
                }
            }
        }
    }
}

/// What could not be cleared away stays owed, if it was.
fn put_off(entry: EntryRef<'_>, role: Role<'_>, why: Payment) -> Payment {
    if !role.owes() {
        return Payment::Paid;
    }
    entry.owe();
    why
}
