//! Lists of entries in debt: in private hands, or shared by those who write behind one mark.

use crate::entry::EntrySlot;
use crate::marks::{Order, UNORDERED};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::{self, Checked};
use std::ptr;

/// One item of a list.
struct Debtor {
    item: Item,
    next: *mut Debtor,
    checked: Checked,
}

impl Debtor {
    fn boxed(item: Item) -> *mut Debtor {
        Box::into_raw(Box::new(Debtor {
            item,
            next: ptr::null_mut(),
            checked: Checked::new(),
        }))
    }
}

/// Bytes of an item.
pub(crate) const DEBTOR: usize = size_of::<Debtor>();

#[derive(Clone, Copy)]
enum Item {
    /// And the order of its first content, if the entry was made by the write that named it here.
    Entry(EntrySlot, Order),
    /// The list of a mark inside that was taken away.
    List(*mut Debtor),
}

/// # Safety
/// `object` is a boxed [`Debtor`] that nobody can reach any more, and it was not freed before.
unsafe fn destroy(object: *mut u8) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(object.cast::<Debtor>()) });
}

/// Debtors in private hands: lists to be worked off from the last to the first.
#[derive(Default)]
pub(crate) struct DebtorList(Vec<*mut Debtor>);

impl DebtorList {
    pub(crate) fn single(entry: EntrySlot) -> DebtorList {
        let mut list = DebtorList::default();
        list.push(entry);
        list
    }

    /// Takes over the debtors of another list.
    pub(crate) fn absorb(&mut self, mut other: DebtorList) {
        match self.is_empty() {
            true => *self = other,
            false => self.0.append(&mut other.0),
        }
    }

    pub(super) fn push(&mut self, entry: EntrySlot) {
        self.0.push(Debtor::boxed(Item::Entry(entry, UNORDERED)));
    }

    /// Takes the next entry out. Who looks at what was written in a stage may stand on its item still.
    pub(super) fn pop(&mut self, guard: &Guard) -> Option<EntrySlot> {
        // SAFETY: taken out of the only list that led to it.
        let gone = |debtor: *mut Debtor| unsafe {
            match planted("debtor-freed-at-once") {
                true => destroy(debtor.cast()),
                false => guard.retire(debtor.cast(), destroy, DEBTOR),
            }
        };
        self.pop_and(gone)
    }

    /// As `pop`, and leaves to `gone` what becomes of the items.
    fn pop_and(&mut self, mut gone: impl FnMut(*mut Debtor)) -> Option<EntrySlot> {
        while let Some(list) = self.0.pop() {
            // SAFETY: the lists are ours, and an item is given to `gone` after it was read.
            let (item, next) = unsafe { ((*list).item, (*list).next) };
            gone(list);
            if !next.is_null() {
                self.0.push(next);
            }
            match item {
                Item::Entry(entry, _) => return Some(entry),
                Item::List(inner) => self.0.push(inner),
            }
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many items there are, and bytes of what leads to them.
    pub(super) fn size(&self) -> (usize, usize) {
        // SAFETY: the lists are ours, all the way down.
        let count = unsafe { items(self.0.clone()) }.count();
        (count, self.0.capacity() * size_of::<*mut Debtor>())
    }
}

/// All items of some lists, in no order.
///
/// # Safety
/// What the lists lead to is not freed meanwhile, and each is null or a boxed [`Debtor`].
unsafe fn items(mut lists: Vec<*mut Debtor>) -> impl Iterator<Item = Item> {
    std::iter::from_fn(move || {
        loop {
            // SAFETY: by the contract.
            let Some(debtor) = (unsafe { lists.pop()?.as_ref() }) else {
                continue;
            };
            debtor.checked.read();
            lists.push(debtor.next);
            if let Item::List(inner) = debtor.item {
                lists.push(inner);
            }
            return Some(debtor.item);
        }
    })
}

impl Drop for DebtorList {
    fn drop(&mut self) {
        let free = |debtor: *mut Debtor| {
            // SAFETY: a list that still has items goes with its table, or was never published.
            unsafe { destroy(debtor.cast()) }
        };
        while self.pop_and(free).is_some() {}
    }
}

/// The entries that were written since one mark: pushed by writers while it is there, taken once by who takes it away.
pub(crate) struct Debtors {
    newest: AtomicPtr<Debtor>,
}

fn closed() -> *mut Debtor {
    ptr::without_provenance_mut(align_of::<Debtor>())
}

impl Debtors {
    pub(crate) fn new() -> Debtors {
        Debtors {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Names an entry that the caller owes; gives the name back if the list was taken.
    pub(crate) fn push(&self, entry: EntrySlot, order: Order) -> Result<(), DebtorList> {
        self.push_item(Item::Entry(entry, order))
    }

    /// The entries that are named now, some more than once, with the orders that were given with them. `None` if the list was taken.
    pub(crate) fn named(&self, guard: &Guard) -> Option<Vec<(EntrySlot, Order)>> {
        let named = self.items(guard)?.filter_map(|item| match item {
            Item::Entry(entry, order) => Some((entry, order)),
            Item::List(_) => None,
        });
        Some(named.collect())
    }

    /// How many items there are; none, if the list was taken.
    pub(crate) fn count(&self, guard: &Guard) -> usize {
        self.items(guard).map_or(0, Iterator::count)
    }

    fn items(&self, _guard: &Guard) -> Option<impl Iterator<Item = Item>> {
        let newest = self.newest.load(Ordering::Acquire);
        // SAFETY: loaded from an open list under the guard, whose items are retired, not freed, once it was taken; what is
        // published in a list does not change.
        (newest != closed()).then(|| unsafe { items(vec![newest]) })
    }

    /// Takes over another list.
    pub(crate) fn push_list(&self, mut list: DebtorList) -> Result<(), DebtorList> {
        while let Some(inner) = list.0.pop() {
            if let Err(mut refused) = self.push_item(Item::List(inner)) {
                list.0.append(&mut refused.0);
                return Err(list);
            }
        }
        Ok(())
    }

    fn push_item(&self, item: Item) -> Result<(), DebtorList> {
        // Acquire, here and below: whoever finds the list closed sees the clock's step that came before, so that he does
        // not look for the same stage again.
        let seen = match planted("list-relaxed") {
            true => Ordering::Relaxed,
            false => Ordering::Acquire,
        };
        let mut newest = self.newest.load(seen);
        let node = Debtor::boxed(item);
        loop {
            if newest == closed() {
                // SAFETY: not published; a refused attempt may have left a stale `next`.
                unsafe { (*node).next = ptr::null_mut() };
                return Err(DebtorList(vec![node]));
            }
            // SAFETY: not published yet.
            unsafe { (*node).next = newest };
            // Release: who takes the list sees the node.
            match self
                .newest
                .compare_exchange(newest, node, Ordering::Release, seen)
            {
                Ok(_) => return Ok(()),
                Err(now) => newest = now,
            }
        }
    }

    /// Takes the list; later pushes are refused.
    pub(crate) fn close(&self) -> DebtorList {
        taken(self.newest.swap(closed(), Ordering::AcqRel))
    }
}

fn taken(list: *mut Debtor) -> DebtorList {
    match list == closed() || list.is_null() {
        true => DebtorList::default(),
        false => DebtorList(vec![list]),
    }
}

impl Drop for Debtors {
    fn drop(&mut self) {
        drop(taken(sync::exclusive(&mut self.newest)));
    }
}
