//! What a write does on its way out: name the entry in its stage, trim its chain, tidy its leaf, pay a share of the debts.

use crate::chain::Offspring;
use crate::debt::{DebtorList, Paid, Payment, SHARE};
use crate::entry::{self, EntryRef, EntrySlot};
use crate::marks::Order;
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::stamp::Stamp;
use crate::table::Table;
use crate::trim::{Role, Trimmed, Trimmer};

/// So many holes are left to later writes.
const MANY_HOLES: usize = if cfg!(untorn_loom) { 0 } else { 4 };

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
        let trimmer = Trimmer {
            clock: &self.clock,
            held: &self.held,
            persistent_mask: self.persistent_mask,
        };
        match trimmer.trim(entry, role, guard) {
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
