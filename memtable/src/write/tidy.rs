//! What a write does on its way out: name the entry in its stage, trim its chain, tidy its leaf, pay a share of the debts.

use crate::chain::Offspring;
use crate::debt::{DebtorList, Paid, Payment, SHARE};
use crate::entry::{self, EntryRef, EntrySlot};
use crate::instants;
use crate::marks::Order;
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::savepoint::sweep_passed;
use crate::stamp::Stamp;
use crate::table::Table;
use crate::trim::{Passed, Role, Trimmed, Trimmer};

/// So many holes are left to later writes.
const MANY_HOLES: usize = if cfg!(untorn_loom) { 0 } else { 4 };

/// A writer who went by so many snapshots or savepoints that were let go does something about it.
const MANY_PASSED: usize = if cfg!(untorn_loom) { 1 } else { 64 };

impl Table {
    /// Names an entry that is owed in the list of the mark that `segment` belongs to. Answers whether it can be taken back.
    /// `order` is that of an entry's first content, `below` the stamp of what was in effect before, a removal included.
    pub(crate) fn enlist(
        &self,
        entry: EntryRef<'_>,
        order: Order,
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
                match mark.written.push(entry.slot(), order, below, &view.marks) {
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

    /// Takes back debts that were made for a push that failed.
    pub(crate) fn settle_unlisted(&self, entry: EntryRef<'_>, debts: usize, guard: &Guard) {
        if debts > 0 {
            // Not listed: a debt without a push may have come after the check of who buries the entry.
            (0..debts).for_each(|_| entry.settle_debt());
            // Whoever was ahead may have left a burial to us, or the depth of the chain, since the entry was in debt.
            self.trim(entry, Role::Compactor, guard);
        }
    }

    pub(crate) fn trim(&self, entry: EntryRef<'_>, role: Role<'_>, guard: &Guard) -> Payment {
        let mut trimmer = Trimmer {
            clock: &self.clock,
            held: &self.held,
            persistent_mask: self.persistent_mask,
            passed: Passed::default(),
        };
        let trimmed = trimmer.trim(entry, role, guard);
        let Passed {
            snapshots,
            savepoints,
        } = trimmer.passed;
        if matches!(role, Role::Writer) && snapshots.max(savepoints) >= MANY_PASSED {
            self.forget_passed(trimmer.passed, guard);
        }
        match trimmed {
            Trimmed::Buried => {
                self.unlink(entry, guard);
                Payment::Paid
            }
            Trimmed::Done(payment) => {
                if matches!(role, Role::Remover) && !matches!(payment, Payment::Paid) {
                    self.debts.add(DebtorList::single(entry.slot()), None);
                }
                payment
            }
        }
    }

    /// Has the clock forget what a writer went by, so that those after him need not.
    #[cold]
    fn forget_passed(&self, passed: Passed, guard: &Guard) {
        if passed.snapshots >= MANY_PASSED {
            instants::forget_passed(passed.snapshots, &self.clock, guard);
        }
        if passed.savepoints >= MANY_PASSED {
            sweep_passed(passed.savepoints, &self.clock, &self.debts, guard);
        }
    }

    /// After an insert: retires the dead entry that was displaced, lists the leaf that was split off.
    pub(crate) fn tidy_leaf<'t>(
        &'t self,
        displaced: Option<EntrySlot>,
        offspring: Option<Offspring<'t, EntrySlot>>,
        guard: &Guard,
    ) {
        if let Some(displaced) = displaced {
            // SAFETY: from a run that was loaded under the guard (I4).
            let displaced = unsafe { displaced.under(guard) };
            self.held.let_entry_go(displaced);
            // SAFETY: our CAS took the dead entry out of the run, and it never gets into another one (I4).
            unsafe { retire(displaced, guard) };
        }
        if let Some(leaf) = offspring {
            self.leaves().list(leaf, guard);
        }
    }

    /// Takes a dead entry out of its leaf, unless a new one took its place.
    fn unlink(&self, entry: EntryRef<'_>, guard: &Guard) {
        if self.leaves().remove(entry.slot(), guard) || planted("retire-without-winning") {
            self.held.let_entry_go(entry);
            // SAFETY: our CAS took it out of the run, and a dead entry never gets into another one (I4).
            unsafe { retire(entry, guard) };
        }
    }

    /// Pays a writer's share of the debts, if there are any.
    pub(crate) fn pay_debts(&self, guard: &Guard) {
        if !self.debts.is_empty() {
            self.pay(SHARE, false, guard);
        }
    }

    /// As [`Table::pay_debts`], for so many writes.
    pub(crate) fn pay_debts_for(&self, writes: usize) {
        for _ in 0..writes {
            let pays = || matches!(self.pay(SHARE, false, &reclaim::pin()), Paid::Items { .. });
            if self.debts.is_empty() || !pays() {
                break;
            }
        }
    }

    /// Pays that share only where holes pile up: for who sets a mark or takes back what was written behind one, so that doing so
    /// without a write in between does not make every reader's way longer.
    pub(crate) fn pay_for_holes(&self, guard: &Guard) {
        if self.clock.now(guard).holes.len() >= MANY_HOLES {
            self.pay_debts(guard);
        }
    }

    /// As [`Debts::pay`](crate::debt::Debts::pay).
    pub(crate) fn pay(&self, items: usize, is_thorough: bool, guard: &Guard) -> Paid {
        let pay_one = |slot: EntrySlot, role: Role<'_>| {
            // SAFETY: an entry in debt is not buried (D1).
            self.trim(unsafe { slot.under(guard) }, role, guard)
        };
        self.debts.pay(
            items,
            is_thorough,
            &self.clock,
            &self.account,
            guard,
            pay_one,
        )
    }
}

/// # Safety
/// No guard that begins now can reach the entry, and it is retired once.
pub(super) unsafe fn retire(entry: EntryRef<'_>, guard: &Guard) {
    // SAFETY: by the contract.
    unsafe {
        guard.retire(
            entry.slot().as_ptr(),
            entry::destroy,
            entry::allocation(entry),
        )
    };
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use crate::memtable::Memtable;

    const TAKEN: u32 = 400;

    /// Of those that stay some lie below all that go and some among them, so that all that go are within reach of one write.
    fn stays(index: u32) -> bool {
        index < 200 || index.is_multiple_of(50) || index == TAKEN - 1
    }

    fn value(table: &Memtable) -> Option<u32> {
        let value = table.get("k")?;
        value.as_ref().try_into().ok().map(u32::from_be_bytes)
    }

    fn write(table: &Memtable, value: u32) {
        table.insert("k", value.to_be_bytes()).expect("small");
    }

    /// Takes one after each write of the key. Each comes with what the key holds then.
    fn taken<'t, T>(table: &'t Memtable, take: fn(&'t Memtable) -> T) -> Vec<(u32, T)> {
        let take = |index| {
            write(table, index);
            (index, take(table))
        };
        (0..TAKEN).map(take).collect()
    }

    fn instants(table: &Memtable) -> usize {
        table.table().clock.now(&reclaim::pin()).instants.depth()
    }

    fn marks(table: &Memtable) -> usize {
        table.table().clock.now(&reclaim::pin()).marks.depth()
    }

    /// Lets go of most, goes by them, and has what nobody needs cleared away.
    fn go_by<T>(table: &Memtable, taken: &mut Vec<(u32, T)>, depth: fn(&Memtable) -> usize) {
        write(table, TAKEN);
        taken.retain(|(index, _)| stays(*index));
        assert_eq!(depth(table), TAKEN as usize, "nobody went by them");
        write(table, TAKEN);
        assert_eq!(depth(table), taken.len());
        for _ in 0..100 {
            write(table, TAKEN);
        }
        table.compact();
    }

    #[test]
    fn snapshots_that_a_writer_went_by_are_gone_and_those_among_them_show_what_they_showed() {
        let table = Memtable::new();
        let mut taken = taken(&table, Memtable::snapshot);
        go_by(&table, &mut taken, instants);
        for (index, snapshot) in &taken {
            let shown = snapshot.get("k");
            assert_eq!(shown.as_deref(), Some(&index.to_be_bytes()[..]), "{index}");
            assert_eq!(snapshot.into_iter().count(), 1);
        }
        assert_eq!(value(&table), Some(TAKEN));
    }

    #[test]
    fn savepoints_that_a_writer_went_by_are_gone_and_those_among_them_bring_back_what_was_there() {
        let table = Memtable::new();
        let mut taken = taken(&table, Memtable::savepoint);
        go_by(&table, &mut taken, marks);
        while let Some((index, savepoint)) = taken.pop() {
            savepoint.roll_back().expect("no stage is open");
            assert_eq!(value(&table), Some(index));
        }
    }

    #[test]
    fn few_among_many_that_stay_are_gone_when_writers_went_by_as_many_as_are_made_anew() {
        const STAY: usize = 4000;
        let table = Memtable::new();
        write(&table, 0);
        let below: Vec<_> = (0..STAY).map(|_| table.snapshot()).collect();
        let mut above = taken(&table, Memtable::snapshot);
        above.retain(|(index, _)| stays(*index));
        let gone = TAKEN as usize - above.len();
        let all = STAY + TAKEN as usize;
        let mut writes = 0;
        while instants(&table) == all {
            write(&table, TAKEN);
            writes += 1;
            assert!(gone * writes <= all, "{writes} writes");
        }
        assert_eq!(instants(&table), STAY + above.len());
        assert!(
            gone * (writes + 1) * 2 > all,
            "made anew after {writes} writes"
        );
        drop(below);
    }
}
