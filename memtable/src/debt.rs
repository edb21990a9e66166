//! Debts: entries that hold versions which somebody will have to clear away later.
//!
//! What a rollback takes back is gone for every reader at one instant, but its memory is not: the closer of a stage only hands
//! the list of the entries that were written in it to the table. From then on every write pays two items: it trims the entry's
//! chain and buries the entry if nothing is left. An item that a snapshot blocks waits until some snapshot is let go; one of a
//! rollback is blocked by what was taken back with it alone.
//!
//! * D1: an entry that a list names (`hold`, see [`entry`](crate::entry)) is not buried, so the names in a list stay valid. A
//!   staged write owes before it publishes; who takes the item pays under the trim flag.
//!   What a mark names that a mark further out names as well is not handed to that with the rest, but paid ([`Written`]).
//!   Of batches that wait without a hole one names it: a payer that meets it blocked in another one settles that debt.
//! * D2: who pays is decided by a flag that is tried, never awaited.
//! * D3: a hole is forgotten in this order: it was cut; a payer took its batch; all guards of that time are gone (late stampers
//!   among them); its items are paid, so no version carries a stamp in it; the account has dropped its sums; again all guards are
//!   gone (readers that read a stamp before it was changed); then it leaves the view. Waiting for guards is begun by who pays,
//!   not by who cuts: he may never come again, and what he retired would stay with his thread.

mod list;
#[cfg(all(test, not(untorn_loom)))]
mod tests;
mod written;

use crate::account::Account;
use crate::clock::{Clock, View};
use crate::entry::EntrySlot;
use crate::holes::Hole;
use crate::reclaim::{self, Guard};
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use crate::sync::{self, Arc, const_fn};
use crate::trim::Role;
use std::cell::UnsafeCell;
use std::collections::{HashSet, VecDeque};
use std::ptr;

pub(crate) use list::{DEBTOR, DebtorList};
pub(crate) use written::Written;

/// How many items a write pays.
pub(crate) const SHARE: usize = 2;

/// What is known about the clearing away of one hole.
pub(crate) struct HoleRecord {
    /// The segment that began with the rollback.
    pub(crate) at: u64,
    /// Batches that are not paid yet.
    unpaid: AtomicUsize,
    /// The guards of the time when the first payer took its batch are gone, so those of the rollback too.
    cut_settled: AtomicBool,
    /// The guards of the time when the last item was paid are gone.
    paid_settled: AtomicBool,
}

impl HoleRecord {
    pub(crate) fn new(at: u64) -> Arc<HoleRecord> {
        Arc::new(HoleRecord {
            at,
            unpaid: AtomicUsize::new(0),
            cut_settled: AtomicBool::new(false),
            paid_settled: AtomicBool::new(false),
        })
    }

    /// Another batch belongs to the hole; before its guard ends, so before the hole can be forgotten.
    pub(crate) fn expect_batch(&self) {
        self.unpaid.fetch_add(1, Ordering::Relaxed);
    }
}

/// As [`reclaim::after_grace`], and soon: every reader looks through the holes, so a hole must not wait until this thread has
/// retired a batch.
fn after_grace(record: &Arc<HoleRecord>, flag: fn(&HoleRecord) -> &AtomicBool, guard: &Guard) {
    reclaim::after_grace(record, flag, guard);
    guard.flush();
}

/// Items that belong together.
struct Batch {
    list: DebtorList,
    hole: Option<Arc<HoleRecord>>,
    /// Its entries are among those that are `named`: it has no hole, and was tried before.
    is_named: bool,
    next: *mut Batch,
}

/// What is private to the one who pays.
#[derive(Default)]
struct Payer {
    current: Option<Batch>,
    /// Items of the current batch that a snapshot blocks.
    blocked: DebtorList,
    /// The blocked entries of all batches without a hole.
    named: HashSet<EntrySlot>,
    /// Batches to be tried: the last `attempts` of them now, the rest when a snapshot was let go.
    waiting: VecDeque<Batch>,
    attempts: usize,
    /// How many snapshots had been let go when `attempts` was set.
    released: usize,
    /// Holes whose items are paid, and those whose sums are dropped too.
    paid: Vec<Arc<HoleRecord>>,
    settling: Vec<Arc<HoleRecord>>,
    /// How often anything was paid since these were looked through.
    not_looked: usize,
}

/// A queue of so few batches keeps the room that it once needed.
const MANY_WAITING: usize = 64;

/// So many holes are looked through each time that anything is paid. More of them, which a guard holds back, as seldom as they are many.
const FEW_HOLES: usize = 8;

/// What paying one item came to.
pub(crate) enum Payment {
    Paid,
    /// A snapshot needs what is to be cleared away: the entry stays in debt.
    Blocked,
    /// Somebody else holds the entry's trim flag: the entry stays in debt.
    Busy,
}

/// What paying a number of items came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paid {
    /// All of them; there may be more. So many batches were begun for it.
    Items { batches: usize },
    /// Fewer: no more can be paid for now.
    All,
    /// Somebody else is paying.
    Busy,
}

/// All debts of a table.
pub(crate) struct Debts {
    incoming: AtomicPtr<Batch>,
    /// Batches and holes that are not done with.
    outstanding: AtomicUsize,
    paying: AtomicBool,
    payer: UnsafeCell<Option<Box<Payer>>>,
}

// SAFETY: `payer` is reached only by the holder of `paying`; the entries that lists name are shared anyway (D1, D2).
unsafe impl Send for Debts {}
// SAFETY: as above.
unsafe impl Sync for Debts {}

impl Debts {
    const_fn! {
        pub(crate) const fn new() -> Debts {
            Debts {
                incoming: AtomicPtr::new(ptr::null_mut()),
                outstanding: AtomicUsize::new(0),
                paying: AtomicBool::new(false),
                payer: UnsafeCell::new(None),
            }
        }
    }

    /// Takes over a list of entries in debt.
    pub(crate) fn add(&self, list: DebtorList, hole: Option<Arc<HoleRecord>>) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        let batch = Box::into_raw(Box::new(Batch {
            list,
            hole,
            is_named: false,
            next: ptr::null_mut(),
        }));
        let mut newest = self.incoming.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet.
            unsafe { (*batch).next = newest };
            match self.incoming.compare_exchange(
                newest,
                batch,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// Takes over the list of a stage that was rolled back.
    pub(crate) fn add_hole(&self, list: DebtorList, hole: Arc<HoleRecord>) {
        hole.expect_batch();
        self.add(list, Some(hole));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding() == 0
    }

    /// Batches and holes that are not done with.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Pays so many items, if nobody else is paying; looks through all holes, however many, if that `is_thorough`. `pay_one` trims an
    /// entry, in the role that is given.
    pub(crate) fn pay(
        &self,
        items: usize,
        is_thorough: bool,
        clock: &Clock,
        account: &Account,
        guard: &Guard,
        mut pay_one: impl FnMut(EntrySlot, Role<'_>) -> Payment,
    ) -> Paid {
        if !self.try_payer() {
            return Paid::Busy;
        }
        // SAFETY: the flag was won, so nobody else is here (D2).
        let payer = unsafe { &mut *self.payer.get() }.get_or_insert_default();
        let (mut left, mut batches) = (items, 0);
        while left > 0 {
            if payer.current.is_none() {
                if !self.next_batch(payer, clock, guard) {
                    break;
                }
                batches += 1;
            }
            self.pay_item(payer, &mut pay_one, guard);
            left -= 1;
        }
        payer.not_looked += 1;
        let holes = payer.paid.len() + payer.settling.len();
        if is_thorough || payer.not_looked * FEW_HOLES >= holes {
            payer.not_looked = 0;
            self.forget_holes(payer, clock, account, guard);
        }
        // Release: the next payer sees what this one left.
        self.paying.store(false, Ordering::Release);
        match left {
            0 => Paid::Items { batches },
            _ => Paid::All,
        }
    }

    /// Wins the flag; the winner gives it back.
    fn try_payer(&self) -> bool {
        !self.paying.load(Ordering::Relaxed)
            && self
                .paying
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// How many names there are in all batches, and bytes of what keeps the batches. Waits for one who is paying.
    pub(crate) fn noted(&self) -> (usize, usize) {
        while !self.try_payer() {
            sync::spin();
        }
        // SAFETY: the flag was won, so nobody else is here (D2), and what was coming in stays.
        let (newest, payer) = unsafe {
            let newest = self.incoming.load(Ordering::Acquire).as_ref();
            (newest, (*self.payer.get()).as_deref())
        };
        // SAFETY: as above.
        let incoming = std::iter::successors(newest, |batch| unsafe { batch.next.as_ref() });
        let mut noted = (0, incoming.clone().count() * size_of::<Batch>());
        let mut add = |list: &DebtorList| {
            let (names, bytes) = list.size();
            noted = (noted.0 + names, noted.1 + bytes);
        };
        incoming.for_each(|batch| add(&batch.list));
        if let Some(payer) = payer {
            let batches = payer.current.iter().chain(&payer.waiting);
            batches.for_each(|batch| add(&batch.list));
            add(&payer.blocked);
            noted.1 += size_of::<Payer>()
                + payer.waiting.capacity() * size_of::<Batch>()
                + payer.named.capacity() * (size_of::<EntrySlot>() + 1);
        }
        self.paying.store(false, Ordering::Release);
        noted
    }

    fn next_batch(&self, payer: &mut Payer, clock: &Clock, guard: &Guard) -> bool {
        let mut batch = self.incoming.swap(ptr::null_mut(), Ordering::Acquire);
        while !batch.is_null() {
            // SAFETY: taken from the stack, so ours; boxed in `add`.
            let current = unsafe { Box::from_raw(batch) };
            batch = current.next;
            if let Some(hole) = &current.hole {
                after_grace(hole, |record| &record.cut_settled, guard);
            }
            payer.waiting.push_back(*current);
            payer.attempts += 1;
        }
        let released = clock.snapshots_let_go();
        if payer.released != released {
            payer.released = released;
            payer.attempts = payer.waiting.len();
        }
        if payer.attempts == 0 {
            return false;
        }
        payer.attempts -= 1;
        payer.current = payer.waiting.pop_back();
        let waiting = &mut payer.waiting;
        if waiting.len() + MANY_WAITING < waiting.capacity() / 4 {
            waiting.shrink_to(2 * waiting.len());
        }
        let named = &mut payer.named;
        if named.len() + MANY_WAITING < named.capacity() / 4 {
            named.shrink_to(2 * named.len());
        }
        payer.current.is_some()
    }

    fn pay_item(
        &self,
        payer: &mut Payer,
        pay_one: &mut impl FnMut(EntrySlot, Role<'_>) -> Payment,
        guard: &Guard,
    ) {
        let Some(batch) = &mut payer.current else {
            return;
        };
        let role = match &batch.hole {
            Some(hole) => Role::Clearer(hole),
            None => Role::Payer,
        };
        let has_hole = batch.hole.is_some();
        if let Some(entry) = batch.list.pop(guard) {
            if batch.is_named {
                payer.named.remove(&entry);
            }
            match pay_one(entry, role) {
                Payment::Paid => {}
                Payment::Blocked if !has_hole && !payer.named.insert(entry) => {
                    // SAFETY: in debt, so not buried (D1).
                    unsafe { entry.under(guard) }.settle_debt();
                }
                Payment::Blocked => payer.blocked.push(entry),
                Payment::Busy => {
                    if !has_hole {
                        payer.named.insert(entry);
                    }
                    payer.blocked.push(entry);
                    payer.attempts = payer.waiting.len() + 1;
                }
            }
            if !batch.list.is_empty() {
                return;
            }
        }
        let Some(mut batch) = payer.current.take() else {
            return;
        };
        match payer.blocked.is_empty() {
            false => {
                batch.list = std::mem::take(&mut payer.blocked);
                batch.is_named = !has_hole;
                // At the front, so that every batch has its turn.
                payer.waiting.push_front(batch);
            }
            true => {
                self.outstanding.fetch_sub(1, Ordering::Relaxed);
                if let Some(hole) = batch.hole
                    && hole.unpaid.fetch_sub(1, Ordering::Relaxed) == 1
                {
                    self.outstanding.fetch_add(1, Ordering::Relaxed);
                    payer.paid.push(hole);
                }
            }
        }
    }

    fn forget_holes(&self, payer: &mut Payer, clock: &Clock, account: &Account, guard: &Guard) {
        let view = clock.now(guard);
        let is_ready = |record: &mut Arc<HoleRecord>| {
            record.cut_settled.load(Ordering::Acquire) && record.unpaid.load(Ordering::Relaxed) == 0
        };
        let mut ready = Vec::new();
        for record in payer.paid.extract_if(.., is_ready) {
            match view.holes.of(&record) {
                Some(hole) => ready.push(hole.clone()),
                // Paid twice, since a late batch came, and forgotten already.
                None => {
                    self.outstanding.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        let are_dropped = ready.is_empty() || account.drop_holes(&ready, guard);
        for Hole { record, .. } in ready {
            if are_dropped {
                after_grace(&record, |record| &record.paid_settled, guard);
                payer.settling.push(record);
            } else {
                payer.paid.push(record);
            }
        }
        let is_settled = |record: &mut Arc<HoleRecord>| record.paid_settled.load(Ordering::Acquire);
        let settled: Vec<_> = payer.settling.extract_if(.., is_settled).collect();
        if !settled.is_empty() {
            clock.change(guard, |view| {
                let holes = view.holes.without(&settled);
                let next = View {
                    holes,
                    ..view.clone()
                };
                (next, ())
            });
            self.outstanding.fetch_sub(settled.len(), Ordering::Relaxed);
        }
    }
}

impl Drop for Debts {
    fn drop(&mut self) {
        let mut batch = sync::exclusive(&mut self.incoming);
        while !batch.is_null() {
            // SAFETY: boxed in `add`; nobody else can reach it.
            let current = unsafe { Box::from_raw(batch) };
            batch = current.next;
        }
    }
}
