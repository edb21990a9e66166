//! The table: its parts, and the path of a write through them.

use crate::account::{Account, Claim, Stats, delta_of};
use crate::cells::{Cell, Cells};
use crate::chain::{self, Growth, Hint, Inserted, Side, Spot};
use crate::clock::Clock;
use crate::debt::{DebtorList, Debts, Payment};
use crate::entry::{self, Contents, EntryRef, EntrySlot, Head, MAX_INLINE_VALUE, NewEntry};
use crate::error::{Error, MAX_KEY_LEN, MAX_VALUE_LEN};
use crate::fence::Fence;
use crate::item::{Entry, Item, Kind, Update, Written};
use crate::lanes::Lanes;
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::registry::Registry;
use crate::sync::{self, const_fn};
use crate::trim::{Role, Trimmed, Trimmer};
use crate::version::{self, Delta, NewVersion, Place, Stamp, State, VersionRef};
use crate::visible::{self, Current};
use std::borrow::Cow;

/// Most entries of a leaf.
const LEAF: usize = if cfg!(untorn_loom) { 2 } else { 48 };
/// Most slots of a lane run.
const LANE: usize = if cfg!(untorn_loom) { 2 } else { 64 };

/// The parts of a table.
pub(crate) struct Table {
    first: Cell<EntrySlot>,
    cells: Cells<EntrySlot>,
    lanes: Lanes,
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) account: Account,
    pub(crate) debts: Debts,
    pub(crate) persistent_mask: u32,
    leaf_capacity: usize,
    lane_capacity: usize,
}

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

const_fn! {
    pub(crate) const fn new_table(persistent_mask: u32) -> Table {
        Table {
            first: Cell::empty(),
            cells: Cells::new(),
            lanes: Lanes::new(),
            clock: Clock::new(),
            registry: Registry::new(),
            account: Account::new(),
            debts: Debts::new(),
            persistent_mask,
            leaf_capacity: LEAF,
            lane_capacity: LANE,
        }
    }
}

impl Table {
    /// For tests: small leaves split early and often.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.leaf_capacity = capacity.max(2);
        self.lane_capacity = capacity.max(2);
    }

    #[inline]
    pub(crate) fn hint<'t>(&'t self, key: &[u8], side: Side, guard: &Guard) -> Hint<'t, EntrySlot> {
        self.lanes.descend(&self.first, key, side, guard)
    }

    #[inline]
    fn seek<'t, 'g>(&'t self, key: &[u8], guard: &'g Guard) -> Spot<'t, 'g, EntrySlot> {
        chain::seek(self.hint(key, Side::At, guard), key, guard)
    }

    /// The key's entry, if its leaf has one.
    #[inline]
    pub(crate) fn find<'g>(&self, key: &[u8], guard: &'g Guard) -> Option<EntryRef<'g>> {
        let slot = self.seek(key, guard).slot()?;
        slot.prefetch();
        // SAFETY: from a run that was loaded under the guard (I4).
        Some(unsafe { slot.under(guard) })
    }

    /// What the key holds now.
    pub(crate) fn read<'g>(&self, key: &[u8], guard: &'g Guard) -> Option<Item<'g>> {
        let entry = self.find(key, guard)?;
        let current = Current::read(entry, &self.clock, self.persistent_mask, guard)?;
        self.item(entry, &current)
    }

    fn item<'g>(&self, entry: EntryRef<'g>, current: &Current<'g>) -> Option<Item<'g>> {
        if current.is_absent() {
            return None;
        }
        let tag = current.tag(self.persistent_mask);
        Some(item(entry, current.live, tag))
    }

    /// The value that the key holds now; the shortest path to it.
    #[inline]
    pub(crate) fn value<'g>(&self, key: &[u8], guard: &'g Guard) -> Option<&'g [u8]> {
        let entry = self.find(key, guard)?;
        let version = visible::newest(entry, &self.clock, guard)?;
        (version.state() == State::Value).then(|| entry.value(version))
    }

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
        if !self.debts.is_empty() {
            self.pay_debts(&guard);
        }
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
            Change::Remove => Role::Remover,
            Change::Update(_) => Role::Writer,
        };
        let old = current.live.map(|live| (live.state(), entry.value(live)));
        let Some(Contents { state, tag, value }) = contents(change, old)? else {
            return Ok(Attempt::Done(UNCHANGED));
        };
        let (minus, plus) = self.weigh(&current, state, tag);
        let delta = Delta {
            key_len: entry.key().len() as u32,
            value: value.len() as i64 - old.map_or(0, |(_, value)| value.len()) as i64,
            minus,
            plus,
        };
        let staged = current.view.stages.is_some();
        // One debt for the list of the stage, one for the burial.
        let debts = usize::from(staged) + usize::from(role == Role::Remover);
        (0..debts).for_each(|_| entry.owe());
        let turns = current.view.turns;
        let stamp = Stamp::Pending { turns };
        let new = NewVersion::new(stamp, state, tag, &value, current.head.as_ptr(), delta);
        let version = new.publish(guard);
        let mut claim = self.account.claim();
        claim.announce(version);
        if !entry.push(current.head, version) {
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
        let staged = view.stages.is_some();
        if staged {
            entry.owe();
        }
        let mut claim = self.account.claim();
        claim.announce(version);
        let dead = |slot: EntrySlot| {
            // SAFETY: from a run that was loaded under the guard (I4).
            unsafe { slot.under(guard) }.head() == Head::Dead
        };
        match chain::insert(&self.growth(), spot, entry.slot(), dead, guard) {
            Inserted::Found(_) => {
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
                    self.lanes.add(leaf, self.lane_capacity, guard);
                }
                Ok(attempt)
            }
        }
    }

    fn growth(&self) -> Growth<'_, EntrySlot> {
        Growth {
            cells: &self.cells,
            capacity: self.leaf_capacity,
        }
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

    /// Names an entry that is owed in the list of the stage that `segment` belongs to. Answers whether there is one.
    fn enlist(
        &self,
        entry: EntryRef<'_>,
        segment: u64,
        below: Option<Stamp>,
        guard: &Guard,
    ) -> bool {
        loop {
            let view = self.clock.now(guard);
            // Holes first: a stage outside may be open still, but its closer knows nothing of the hole.
            let hole = view.rolled_back(segment).map(|hole| hole.record.clone());
            if let (None, Some(stage)) = (&hole, view.stage_of(segment)) {
                let named = matches!(below, Some(Stamp::At(below)) if below >= stage.first);
                if named {
                    entry.settle_debt();
                    return true;
                }
                match stage.written.push(entry.slot()) {
                    Ok(()) => return true,
                    // Its closer moved the clock before he took the list.
                    Err(_) => continue,
                }
            }
            // Closed meanwhile: rolled back, or released into no stage.
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
        let hint = self.hint(entry.key(), Side::At, guard);
        if chain::remove(hint, entry.slot(), guard) || planted("retire-without-winning") {
            // SAFETY: our CAS took it out of the run, and a dead entry never gets into another one (I4).
            unsafe { retire(entry, guard) };
        }
    }

    fn pay_debts(&self, guard: &Guard) {
        self.debts
            .pay(&self.clock, &self.registry, &self.account, guard, |slot| {
                // SAFETY: an entry in debt is not buried (D1).
                self.trim(unsafe { slot.under(guard) }, Role::Payer, guard)
            });
    }

    pub(crate) fn stats(&self, guard: &Guard) -> Stats {
        self.account.stats(&self.clock, self.persistent_mask, guard)
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

/// Shows a version, or the tag alone where there is none.
pub(crate) fn item<'g>(entry: EntryRef<'g>, live: Option<VersionRef<'g>>, tag: u32) -> Item<'g> {
    let (kind, value) = match live.map(|live| (live.state(), live)) {
        Some((State::Value, live)) => (Kind::Value, entry.value(live)),
        Some((State::Tombstone, _)) => (Kind::Tombstone, &[][..]),
        Some((State::TagOnly | State::Gone, _)) | None => (Kind::TagOnly, &[][..]),
    };
    Item {
        key: entry.key(),
        kind,
        value,
        tag,
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

impl Drop for Table {
    fn drop(&mut self) {
        chain::free_runs(&mut self.first, |run| {
            let low = run.range().low;
            for slot in run.slots() {
                // SAFETY: the table is being dropped: each entry is in one run, and nobody else can reach it.
                unsafe { entry::destroy(slot.as_ptr()) };
            }
            if !low.is_null() {
                // SAFETY: a leaf owns its low fence; the lanes that name it read it no more.
                unsafe { Fence::free(low) };
            }
        });
    }
}
