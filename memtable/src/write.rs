//! The path of a write through the table.
//!
//! 1. Find the key's entry, read what is in effect and the view under which it is.
//! 2. Ask the caller what becomes of it; allocate the version.
//! 3. Claim a stripe of the account and announce the version there. If the table was frozen meanwhile, back to 1.
//! 4. Publish: push it on the entry's head, or put a new entry into its leaf. One CAS; if it is lost, back to 1.
//! 5. Stamp it. If it is void, for the clock turned since 1, back to 1.
//! 6. Book it in the stripe, and let the stripe go.
//! 7. Name the entry in the stage, if it was written in one; trim its chain; pay two debts.
//!
//! Up to 4 nothing is visible; after 5 the write has taken effect, and all that follows is house-keeping.

use crate::account::{Claim, delta_of};
use crate::chain::{Inserted, Spot};
use crate::debt::{DebtorList, Payment};
use crate::entry::{self, Contents, EntryRef, EntrySlot, Head, MAX_INLINE_VALUE, NewEntry};
use crate::error::{Error, MAX_KEY_LEN, MAX_VALUE_LEN};
use crate::item::{Entry, Item, Update, Written};
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::sync;
use crate::table::Table;
use crate::trim::{Role, Trimmed, Trimmer};
use crate::version::{self, Delta, NewVersion, Place, Stamp, State, VersionRef};
use crate::visible::Current;
use std::borrow::Cow;

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
            let spot = self.seek(key, &guard);
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
        let Some(current) = Current::read(entry, &self.clock, self.persistent_mask, guard) else {
            return Ok(Attempt::Dead);
        };
        let change = change(self.item(entry, &current));
        let role = match change {
            Change::Remove if self.persistent_mask != 0 => return Err(Error::PersistentTag),
            Change::Remove => Role::Remover,
            Change::Update(_) => Role::Writer,
        };
        let old = current.live.map(|live| (live.state(), entry.value(live)));
        let Some(Contents { state, tag, value }) = contents(change, old)? else {
            return Ok(Attempt::Done(UNCHANGED));
        };
        if current.view.frozen {
            return Err(refused());
        }
        let (minus, plus) = self.weigh(&current, state, tag);
        let delta = Delta {
            key_len: entry.key().len() as u32,
            value: value.len() as i64 - old.map_or(0, |(_, value)| value.len()) as i64,
            minus,
            plus,
        };
        let staged = !current.view.marks.is_empty();
        // One debt for the list of the stage, one for the burial.
        let debts = usize::from(staged) + usize::from(role == Role::Remover);
        (0..debts).for_each(|_| entry.owe());
        let turns = current.view.turns;
        let stamp = Stamp::Pending { turns };
        let new = NewVersion::new(stamp, state, tag, &value, current.head.as_ptr(), delta);
        let version = new.publish(guard);
        let mut claim = self.account.claim();
        claim.announce(version);
        if self.is_frozen(guard) || !entry.push(current.head, version) {
            claim.retract();
            drop(claim);
            if debts > 0 {
                // Not listed: a debt without a push may have come after the check of who buries the entry.
                (0..debts).for_each(|_| entry.settle_debt());
                // Whoever was ahead may have left a burial to us, since the entry was in debt.
                self.trim(entry, Role::Writer, guard);
            }
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
        let below = current.live.map(|live| live.stamp());
        let attempt = self.finish(entry, version, delta, below, staged, claim, guard);
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
        let stamp = Stamp::Pending { turns: view.turns };
        let Contents { state, tag, value } = &contents;
        let chained = (value.len() > MAX_INLINE_VALUE).then(|| {
            let delta = Delta {
                key_len: key.len() as u32,
                value: value.len() as i64,
                minus: Place::Nowhere,
                plus: match *tag & self.persistent_mask {
                    0 => Place::Here,
                    _ => Place::Always,
                },
            };
            NewVersion::new(stamp, *state, *tag, value, std::ptr::null_mut(), delta).publish(guard)
        });
        let entry = NewEntry::new(key, &contents, stamp, chained).publish(guard);
        let Head::Live(version) = entry.head() else {
            unreachable!("only a published entry is buried")
        };
        let staged = !view.marks.is_empty();
        if staged {
            entry.owe();
        }
        let mut claim = self.account.claim();
        claim.announce(version);
        let dead = |slot: EntrySlot| {
            // SAFETY: from a run that was loaded under the guard (I4).
            unsafe { slot.under(guard) }.head() == Head::Dead
        };
        let wanted = || !self.is_frozen(guard);
        match self
            .leaves()
            .insert(spot, entry.slot(), dead, wanted, guard)
        {
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
                let attempt = self.finish(entry, version, delta, None, staged, claim, guard);
                if let Some(displaced) = displaced {
                    // SAFETY: our CAS took the dead entry out of the run, and it never gets into another one (I4).
                    unsafe { retire(displaced.under(guard), guard) };
                }
                if let Some(leaf) = offspring {
                    self.leaves().list(leaf, guard);
                }
                Ok(attempt)
            }
        }
    }

    /// Asked between claim and publication, so that whoever froze the table before waits for us or stops us.
    #[inline]
    fn is_frozen(&self, guard: &Guard) -> bool {
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
        owed: bool,
        mut claim: Claim<'_>,
        guard: &Guard,
    ) -> Attempt {
        let Stamp::At(segment) = self.clock.settle_own(version, guard) else {
            claim.retract();
            version.mark_booked();
            if owed {
                entry.settle_debt();
            }
            return Attempt::Again;
        };
        claim.fold(delta, segment, &self.clock.now(guard), guard);
        version.mark_booked();
        drop(claim);
        let staged = owed && self.enlist(entry, segment, below, guard);
        Attempt::Done(Written {
            changed: true,
            staged,
        })
    }

    /// Names an entry that is owed in the list of the mark that `segment` belongs to. Answers whether it can be taken back.
    fn enlist(
        &self,
        entry: EntryRef<'_>,
        segment: u64,
        below: Option<Stamp>,
        guard: &Guard,
    ) -> bool {
        loop {
            let view = self.clock.now(guard);
            // Holes first: a mark outside may be there still, but who takes it away knows nothing of the hole.
            let hole = view.rolled_back(segment).map(|hole| hole.record.clone());
            if let (None, Some(mark)) = (&hole, view.mark_of(segment)) {
                let named = matches!(below, Some(Stamp::At(below)) if below >= mark.first);
                if named {
                    entry.settle_debt();
                    return true;
                }
                match mark.written.push(entry.slot()) {
                    Ok(()) => return true,
                    // Who took the mark away moved the clock before he took the list.
                    Err(_) => continue,
                }
            }
            // Taken away meanwhile: rolled back, or released into nothing.
            if let Some(hole) = &hole {
                hole.expect_batch();
            }
            let rolled_back = hole.is_some();
            self.debts.add(DebtorList::single(entry.slot()), hole);
            return rolled_back;
        }
    }

    /// Where the key's own weight was booked and where it is to be from now on.
    fn weigh(&self, current: &Current<'_>, state: State, tag: u32) -> (Place, Place) {
        let bits_before = current.persistent != 0;
        let bits_after = tag & self.persistent_mask != 0;
        let lowest = || {
            let chain = std::iter::successors(Some(current.head), VersionRef::previous);
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
            (false, false, true) if state == State::Gone => (Place::Here, Place::Nowhere),
            (false, false, true) => (Place::Nowhere, Place::Nowhere),
            (false, false, false) => (Place::Nowhere, Place::Here),
        }
    }

    fn trim(&self, entry: EntryRef<'_>, role: Role, guard: &Guard) -> Payment {
        let trimmer = Trimmer {
            clock: &self.clock,
            registry: &self.registry,
            persistent_mask: self.persistent_mask,
        };
        match trimmer.trim(entry, role, guard) {
            Trimmed::Buried => {
                self.unlink(entry, guard);
                Payment::Paid
            }
            Trimmed::Done(payment) => {
                if role == Role::Remover && !matches!(payment, Payment::Paid) {
                    self.debts.add(DebtorList::single(entry.slot()), None);
                }
                payment
            }
        }
    }

    /// Takes a dead entry out of its leaf, unless a new one took its place.
    fn unlink(&self, entry: EntryRef<'_>, guard: &Guard) {
        if self.leaves().remove(entry.slot(), guard) || planted("retire-without-winning") {
            // SAFETY: our CAS took it out of the run, and a dead entry never gets into another one (I4).
            unsafe { retire(entry, guard) };
        }
    }

    /// Pays a share of the debts, if there are any.
    pub(crate) fn pay_debts(&self, guard: &Guard) {
        if self.debts.is_empty() {
            return;
        }
        self.debts
            .pay(&self.clock, &self.registry, &self.account, guard, |slot| {
                // SAFETY: an entry in debt is not buried (D1).
                self.trim(unsafe { slot.under(guard) }, Role::Payer, guard)
            });
    }

    /// Takes the key out; answers what it held.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<Option<Entry>, Error> {
        if self.persistent_mask != 0 {
            return Err(Error::PersistentTag);
        }
        let mut removed = None;
        let written = self.write(key, |item| {
            removed = item.map(|item| item.to_entry());
            match removed {
                Some(_) => Change::Remove,
                None => Change::Update(Update::Keep),
            }
        })?;
        Ok(removed.filter(|_| written.changed))
    }
}

const UNCHANGED: Written = Written {
    changed: false,
    staged: false,
};

/// With a fence, so that who was refused reads afterwards what can no longer change (F2).
#[cold]
fn refused() -> Error {
    sync::atomic::fence(sync::atomic::Ordering::SeqCst);
    Error::Frozen
}

/// What the key is to hold after `change`; `None` if it stays as it is.
fn contents<'v>(
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

/// # Safety
/// No guard that begins now can reach the entry, and it is retired once.
unsafe fn retire(entry: EntryRef<'_>, guard: &Guard) {
    // SAFETY: by the contract.
    unsafe {
        guard.retire(
            entry.slot().as_ptr(),
            entry::destroy,
            entry::allocation(entry),
        )
    };
}
