//! The way of a batch through the table: announce, place, close, stamp, book, clean up.

use super::ahead::Ahead;
use super::descriptor::{self, Descriptor};
use super::op::{Encode, Op, Placed};
use super::write_batch::WriteBatch;
use crate::account::{Announced, Claim, delta_of};
use crate::chain::{Inserted, Spot};
use crate::entry::{EntryRef, EntrySlot, Head};
use crate::error::Error;
use crate::item::Written;
use crate::marks::UNORDERED;
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::stamp::{Stamp, StampWord};
use crate::sync;
use crate::table::Table;
use crate::trim::Role;
use crate::version::VersionRef;
use crate::visible::{Current, in_effect};
use crate::write::{self, Change};
use std::ptr;

/// What an attempt to place an op came to.
enum Placing<'g> {
    Placed,
    /// Nothing more has to be placed: the batch is closed.
    Closed,
    /// Another batch is open there.
    Behind(&'g Descriptor),
    /// Lost a race; look again.
    Again,
}

impl Table {
    /// Applies a batch, as one, under what `encode` makes of its keys.
    pub(crate) fn apply(
        &self,
        batch: &WriteBatch,
        encode: Option<Encode<'_>>,
    ) -> Result<Written, Error> {
        batch.check()?;
        match &batch.list().writes[..] {
            [] => return Ok(write::UNCHANGED),
            [only] => return self.apply_one(Op::new(only), batch, encode),
            _ => {}
        }
        loop {
            if let Some(written) = self.try_apply(batch, encode)? {
                self.pay_debts_for(batch.len());
                return Ok(written);
            }
            sync::spin();
        }
    }

    /// A batch of one write is that write.
    fn apply_one(
        &self,
        mut op: Op,
        batch: &WriteBatch,
        encode: Option<Encode<'_>>,
    ) -> Result<Written, Error> {
        let list = batch.list();
        let mut stored = Vec::new();
        let keys = match encode {
            Some(encode) => {
                op.store_key(list, encode, &mut stored);
                &stored
            }
            None => &list.bytes,
        };
        self.write(op.key(keys), |item| Change::Update(op.change(list, item)))
    }

    /// One attempt; `None` if it turned out to be void.
    fn try_apply(
        &self,
        batch: &WriteBatch,
        encode: Option<Encode<'_>>,
    ) -> Result<Option<Written>, Error> {
        // One for all of it: a rollback of what the batch is decided to be in waits for who has not cleaned up (B3).
        let guard = reclaim::pin();
        let view = self.clock.now(&guard);
        if view.frozen {
            return Err(write::refused());
        }
        let batch = Descriptor::new(batch, encode, &view);
        let batch = Box::into_raw(batch);
        // SAFETY: retired at the end of this call, not before.
        let descriptor = unsafe { &*batch };
        let mut claim = self.account.claim();
        if !planted("batch-unannounced") {
            claim.announce(Announced::batch(descriptor));
        }
        let written = if self.is_frozen(&guard) {
            claim.retract();
            drop(claim);
            Err(write::refused())
        } else {
            self.complete(descriptor, &guard);
            let stamp = self.settle_and_book(descriptor, claim, &guard);
            let staged = self.clean_up(descriptor, stamp, &guard);
            Ok((stamp != Stamp::Void).then_some(Written {
                changed: true,
                staged,
            }))
        };
        // SAFETY: no version names it any more (B3). It was announced: a `stats()` may still look at it (A1), and who met it in
        // a version may still be about to place something.
        unsafe { guard.retire(batch.cast(), descriptor::destroy, descriptor.allocated()) };
        written
    }

    /// Places what is missing of `batch`, and of those that are in its way, and closes it.
    pub(crate) fn complete<'g>(&self, batch: &'g Descriptor, guard: &'g Guard) {
        let mut ahead = Ahead::through(batch, self);
        loop {
            let placing = match ahead.next_op() {
                Some(op) => {
                    let spot = ahead.seek(op, guard);
                    self.place(ahead.batch, op, spot, guard)
                }
                None => {
                    if planted("batch-decided-at-once") {
                        let now = Stamp::At(self.clock.now(guard).segment);
                        ahead.batch.decision().decide(Stamp::InBatch, now);
                    }
                    ahead.batch.close();
                    Placing::Closed
                }
            };
            match placing {
                Placing::Placed => {}
                Placing::Again => sync::spin(),
                Placing::Closed if ptr::eq(ahead.batch, batch) => return,
                Placing::Closed => ahead = Ahead::through(batch, self),
                Placing::Behind(other) => ahead = Ahead::through(other, self),
            }
        }
    }

    fn place<'t, 'g>(
        &'t self,
        batch: &Descriptor,
        op: &Op,
        spot: Spot<'t, 'g, EntrySlot>,
        guard: &'g Guard,
    ) -> Placing<'g> {
        // SAFETY: from a run that was loaded under the guard (I4).
        let entry = spot.slot().map(|slot| unsafe { slot.under(guard) });
        if let Some(entry) = entry
            && let Head::Live(head) = entry.head()
        {
            return self.place_on_top(batch, op, entry, head, guard);
        }
        self.place_new(batch, op, spot, guard)
    }

    fn place_on_top<'g>(
        &self,
        batch: &Descriptor,
        op: &Op,
        entry: EntryRef<'g>,
        head: VersionRef<'g>,
        guard: &'g Guard,
    ) -> Placing<'g> {
        if self.clock.settle(head.stamp_word(), guard) == Stamp::InBatch {
            return match head.stamp_word().batch(guard) {
                Some(open) if ptr::eq(open, batch) => {
                    op.note(Placed {
                        entry,
                        version: head,
                    });
                    Placing::Placed
                }
                Some(other) => Placing::Behind(other),
                None => Placing::Again,
            };
        }
        // After the head was loaded (B4).
        if !batch.is_open() && !planted("batch-late-helper") {
            return Placing::Closed;
        }
        let current = Current::from(head, &self.clock, self.persistent_mask, guard);
        let change = Change::Update(batch.change(op, self.item(entry, &current)));
        let Ok(Some(next)) = write::contents(change, current.content()) else {
            unreachable!("every value was measured, and every op writes")
        };
        let stamp = StampWord::in_batch(batch);
        let order = match op.is_tag_alone() {
            true => current.next_order(true),
            false => batch.order,
        };
        let version = self.version_above(entry, &current, &next, stamp, order);
        let (version, _) = version.unwrap_or_else(|failed| failed.abort());
        if batch.staged {
            entry.owe();
        }
        let placed = Placed {
            entry,
            version: version.publish(guard),
        };
        if entry.push(head, placed.version) {
            self.held.hold_version(placed.version);
            op.note(placed);
            return Placing::Placed;
        }
        // SAFETY: never published, and not announced by itself.
        unsafe { version.destroy() };
        if batch.staged {
            self.settle_unlisted(entry, 1, guard);
        }
        Placing::Again
    }

    fn place_new<'t, 'g>(
        &'t self,
        batch: &Descriptor,
        op: &Op,
        spot: Spot<'t, 'g, EntrySlot>,
        guard: &'g Guard,
    ) -> Placing<'g> {
        if !batch.is_open() && !planted("batch-late-helper") {
            return Placing::Closed;
        }
        let change = Change::Update(batch.change(op, None));
        let Ok(Some(contents)) = write::contents(change, None) else {
            unreachable!("every value was measured, and every op writes")
        };
        let stamp = StampWord::in_batch(batch);
        let entry = self.new_entry(batch.key(op), &contents, stamp, batch.order, guard);
        let entry = entry.unwrap_or_else(|failed| failed.abort());
        let placed = entry.publish(guard);
        let Head::Live(version) = placed.head() else {
            unreachable!("only a published entry is buried")
        };
        if batch.staged {
            placed.owe();
        }
        // After the run was loaded (B4).
        let wanted = || batch.is_open() || planted("batch-late-helper");
        match self.insert_entry(spot, placed, wanted, guard) {
            Inserted::Done {
                displaced,
                offspring,
            } => {
                self.held.hold_entry(placed, version);
                op.note(Placed {
                    entry: placed,
                    version,
                });
                self.tidy_leaf(displaced, offspring, guard);
                Placing::Placed
            }
            Inserted::Found(_) | Inserted::Unwanted => {
                // SAFETY: never published, and not announced by itself.
                unsafe { entry.destroy() };
                Placing::Again
            }
        }
    }

    /// Stamps a closed batch, books it and lets the stripe go. Answers the stamp.
    fn settle_and_book(&self, batch: &Descriptor, mut claim: Claim<'_>, guard: &Guard) -> Stamp {
        let stamp = self.clock.settle_batch(batch, guard);
        match stamp {
            Stamp::At(segment) => {
                let deltas = batch.versions(guard);
                let deltas = deltas.map(|version| delta_of(version, self.persistent_mask));
                claim.fold_all(deltas, segment, &self.clock.now(guard), guard);
            }
            _ => claim.retract(),
        }
        stamp
    }

    /// Gives the versions of a batch its stamp (B3), then does what every write does on its way out. Answers whether they belong to
    /// a stage.
    fn clean_up(&self, batch: &Descriptor, stamp: Stamp, guard: &Guard) -> bool {
        let mut staged = false;
        for op in &batch.ops {
            // SAFETY: not booked yet.
            let Some(Placed { entry, version }) = (unsafe { op.placed(guard) }) else {
                unreachable!("a closed batch is placed whole")
            };
            if !planted("batch-stamps-left") {
                version.stamp_word().book_as(stamp);
            }
            match stamp {
                Stamp::At(segment) if batch.staged => {
                    let order = match version.is_inline() {
                        true => batch.order,
                        false => UNORDERED,
                    };
                    let below = version.previous();
                    let below = below.and_then(|below| in_effect(below, &self.clock.now(guard)));
                    let below = below.map(|below| below.stamp());
                    staged |= self.enlist(entry, order, segment, below, guard);
                }
                _ if batch.staged => entry.settle_debt(),
                _ => {}
            }
            if version.previous().is_some() {
                self.trim(entry, Role::Writer, guard);
            }
        }
        staged
    }
}
