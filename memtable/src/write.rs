//! The path of a write through the table.
//!
//! 1. Find the key's entry, read what is in effect and the view under which it is.
//! 2. Ask the caller what becomes of it.
//! 3. Claim a stripe of the account, make the version and announce it there. If the table was frozen meanwhile, back to 1.
//! 4. Publish: push it on the entry's head, or put a new entry into its leaf. One CAS; if it is lost, back to 1.
//! 5. Stamp it. If it is void, for the clock turned since 1, back to 1.
//! 6. Book it in the stripe, and let the stripe go.
//! 7. Name the entry in the stage, if it was written in one; trim its chain; pay two debts.
//!
//! Up to 4 nothing is visible; after 5 the write has taken effect, and all that follows is house-keeping.

mod outcome;
mod tidy;

use crate::account::{Announced, Claim, delta_of};
use crate::chain::{Inserted, Spot};
use crate::entry::{EntryRef, EntrySlot, Head};
use crate::error::{Error, MAX_KEY_LEN};
use crate::item::{Entry, Item, Update, Written};
use crate::marks::{Order, UNORDERED};
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::stamp::{Stamp, StampWord};
use crate::sync;
use crate::table::Table;
use crate::trim::Role;
use crate::version::{self, Delta, VersionRef};
use crate::visible::{Current, in_effect};

pub(crate) use outcome::contents;
use tidy::retire;

/// What a write makes of a key, removal included.
pub(crate) enum Change<'v> {
    Update(Update<'v>),
    Remove,
}

/// What an attempt to write came to.
enum Attempt {
    Done(Written),
    /// The entry is dead: the key is absent, and a new entry has to take its place.
    Dead,
    /// Lost a race; look again.
    Again,
}

impl Table {
    /// Atomic read-modify-write of one key.
    pub(crate) fn write<'v>(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<Item<'_>>) -> Change<'v>,
    ) -> Result<Written, Error> {
        if key.len() > MAX_KEY_LEN {
            return Err(Error::KeyTooLarge {
                size: key.len(),
                limit: MAX_KEY_LEN,
            });
        }
        let guard = reclaim::pin();
        let written = loop {
            let spot = self.leaves().seek_to_insert(key, &guard);
            let attempt = match spot.slot() {
                // SAFETY: from a run that was loaded under the guard (I4).
                Some(slot) => self.overwrite(unsafe { slot.under(&guard) }, &mut change, &guard)?,
                None => Attempt::Dead,
            };
            let attempt = match attempt {
                Attempt::Dead => self.create(key, spot, &mut change, &guard)?,
                attempt => attempt,
            };
            match attempt {
                Attempt::Done(written) => break written,
                Attempt::Dead | Attempt::Again => sync::spin(),
            }
        };
        self.pay_debts(&guard);
        Ok(written)
    }

    /// Puts a version on top of the entry's chain.
    fn overwrite<'v>(
        &self,
        entry: EntryRef<'_>,
        change: &mut impl FnMut(Option<Item<'_>>) -> Change<'v>,
        guard: &Guard,
    ) -> Result<Attempt, Error> {
        let Head::Live(head) = entry.head() else {
            return Ok(Attempt::Dead);
        };
        if self.clock.settle(head.stamp_word(), guard) == Stamp::InBatch
            && !planted("batch-written-over")
        {
            if let Some(batch) = head.stamp_word().batch(guard) {
                self.complete(batch, guard);
            }
            return Ok(Attempt::Again);
        }
        let current = Current::from(head, &self.clock, self.persistent_mask, guard);
        let change = change(self.item(entry, &current));
        let role = match change {
            Change::Remove if self.persistent_mask != 0 => return Err(Error::PersistentTag),
            Change::Remove => Role::Remover,
            Change::Update(_) => Role::Writer,
        };
        let keeps = matches!(change, Change::Update(Update::Tag(_)));
        let Some(contents) = contents(change, current.content())? else {
            return Ok(Attempt::Done(UNCHANGED));
        };
        if current.view.frozen {
            return Err(refused());
        }
        let staged = !current.view.marks.is_empty();
        let turns = current.view.turns;
        let stamp = StampWord::new(match current.live {
            Some(old)
                if planted("equal-length-in-place") && old.value_len() == contents.value.len() =>
            {
                old.stamp()
            }
            _ => Stamp::Pending { turns },
        });
        let order = current.next_order(keeps);
        // Before the version is written: the exchange would wait for every line of it that is not in the cache.
        let mut claim = self.account.claim();
        let (new, delta) = self.version_above(entry, &current, &contents, stamp, order)?;
        let version = new.publish(guard);
        // One debt for the list of the stage, one for the burial.
        let debts = usize::from(staged) + usize::from(matches!(role, Role::Remover));
        (0..debts).for_each(|_| entry.owe());
        claim.announce(Announced::version(version));
        if self.is_frozen(guard) || !entry.push(head, version) {
            claim.retract();
            drop(claim);
            self.settle_unlisted(entry, debts, guard);
            if planted("announced-freed-at-once") {
                // SAFETY: none: the bug is planted.
                unsafe { version::destroy(version.as_ptr().cast()) };
                return Ok(Attempt::Again);
            }
            // SAFETY: never published, but announced: a `stats()` may still look at it (A1).
            unsafe {
                guard.retire(
                    version.as_ptr().cast(),
                    version::destroy,
                    version::allocation(version),
                )
            };
            return Ok(Attempt::Again);
        }
        self.held.hold_version(version);
        let debt = staged.then_some(UNORDERED);
        let below = debt.and_then(|_| in_effect(current.newest, &current.view));
        let below = below.map(|below| below.stamp());
        let attempt = self.finish(entry, version, delta, below, debt, claim, guard);
        self.trim(entry, role, guard);
        Ok(attempt)
    }

    /// Makes an entry for a key that has none, or a dead one.
    fn create<'v>(
        &self,
        key: &[u8],
        spot: Spot<'_, '_, EntrySlot>,
        change: &mut impl FnMut(Option<Item<'_>>) -> Change<'v>,
        guard: &Guard,
    ) -> Result<Attempt, Error> {
        let view = self.clock.now(guard);
        let Some(contents) = contents(change(None), None)? else {
            return Ok(Attempt::Done(UNCHANGED));
        };
        if view.frozen {
            return Err(refused());
        }
        let turns = view.turns;
        let stamp = StampWord::new(Stamp::Pending { turns });
        let order = view.marks.next_order();
        // Before the entry is written: the exchange would wait for every line of it that is not in the cache.
        let mut claim = self.account.claim();
        let entry = self.new_entry(key, &contents, stamp, order, guard)?;
        let entry = entry.publish(guard);
        let Head::Live(version) = entry.head() else {
            unreachable!("only a published entry is buried")
        };
        let staged = !view.marks.is_empty();
        if staged {
            entry.owe();
        }
        claim.announce(Announced::version(version));
        match self.insert_entry(spot, entry, || !self.is_frozen(guard), guard) {
            Inserted::Unwanted | Inserted::Found(_) => {
                claim.retract();
                // SAFETY: never published, but announced: a `stats()` may still look at its version (A1).
                unsafe { retire(entry, guard) };
                Ok(Attempt::Again)
            }
            Inserted::Done {
                displaced,
                offspring,
            } => {
                let delta = delta_of(version, self.persistent_mask);
                self.held.hold_entry(entry, version);
                let debt = staged.then_some(order);
                let attempt = self.finish(entry, version, delta, None, debt, claim, guard);
                self.tidy_leaf(displaced, offspring, guard);
                Ok(attempt)
            }
        }
    }

    /// Puts an entry into its leaf, unless the key has one that is alive, or it is not `wanted` any more.
    pub(crate) fn insert_entry<'t, 'g>(
        &'t self,
        spot: Spot<'t, 'g, EntrySlot>,
        entry: EntryRef<'g>,
        wanted: impl Fn() -> bool,
        guard: &'g Guard,
    ) -> Inserted<'t, EntrySlot> {
        let dead = |slot: EntrySlot| {
            // SAFETY: from a run that was loaded under the guard (I4).
            unsafe { slot.under(guard) }.head() == Head::Dead
        };
        self.leaves()
            .insert(spot, entry.slot(), dead, wanted, guard)
    }

    /// Asked between claim and publication, so that whoever froze the table before waits for us or stops us.
    #[inline]
    pub(crate) fn is_frozen(&self, guard: &Guard) -> bool {
        self.clock.now(guard).frozen
    }

    /// Stamps a version that was just published, books it, and names its entry in the stage.
    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        entry: EntryRef<'_>,
        version: VersionRef<'_>,
        delta: Delta,
        below: Option<Stamp>,
        debt: Option<Order>,
        mut claim: Claim<'_>,
        guard: &Guard,
    ) -> Attempt {
        let Stamp::At(segment) = self.clock.settle_own(version, guard) else {
            claim.retract();
            version.mark_booked();
            if debt.is_some() {
                entry.settle_debt();
            }
            return Attempt::Again;
        };
        claim.fold(delta, segment, &self.clock.now(guard), guard);
        version.mark_booked();
        drop(claim);
        let staged = debt.is_some_and(|order| self.enlist(entry, order, segment, below, guard));
        Attempt::Done(Written {
            changed: true,
            staged,
        })
    }

    /// Takes the key out, if what it holds is to go; answers what it held.
    pub(crate) fn remove(
        &self,
        key: &[u8],
        mut goes: impl FnMut(Item<'_>) -> bool,
    ) -> Result<Option<Entry>, Error> {
        if self.persistent_mask != 0 {
            return Err(Error::PersistentTag);
        }
        let mut removed = None;
        let written = self.write(key, |item| {
            removed = item.filter(|&item| goes(item)).map(|item| item.to_entry());
            match removed {
                Some(_) => Change::Remove,
                None => Change::Update(Update::Keep),
            }
        })?;
        Ok(removed.filter(|_| written.changed))
    }
}

pub(crate) const UNCHANGED: Written = Written {
    changed: false,
    staged: false,
};

/// With a fence, so that who was refused reads afterwards what can no longer change (F2).
#[cold]
pub(crate) fn refused() -> Error {
    sync::atomic::fence(sync::atomic::Ordering::SeqCst);
    Error::Frozen
}
