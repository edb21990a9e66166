//! Lists of entries in debt: in private hands, or shared by those who write behind one mark.

use crate::entry::EntrySlot;
use crate::mutant::planted;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::ptr;

/// One item of a list.
struct Debtor {
    item: Item,
    next: *mut Debtor,
}

#[derive(Clone, Copy)]
enum Item {
    Entry(EntrySlot),
    /// The list of a stage that was released into this one.
    List(*mut Debtor),
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
        self.0.append(&mut other.0);
    }

    pub(super) fn push(&mut self, entry: EntrySlot) {
        let item = Item::Entry(entry);
        let next = ptr::null_mut();
        self.0.push(Box::into_raw(Box::new(Debtor { item, next })));
    }

    pub(super) fn pop(&mut self) -> Option<EntrySlot> {
        while let Some(list) = self.0.pop() {
            // SAFETY: the lists are ours; their nodes were boxed and are unboxed once, here.
            let debtor = unsafe { Box::from_raw(list) };
            if !debtor.next.is_null() {
                self.0.push(debtor.next);
            }
            match debtor.item {
                Item::Entry(entry) => return Some(entry),
                Item::List(inner) => self.0.push(inner),
            }
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for DebtorList {
    fn drop(&mut self) {
        while self.pop().is_some() {}
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
    pub(crate) fn push(&self, entry: EntrySlot) -> Result<(), DebtorList> {
        self.push_item(Item::Entry(entry))
    }

    /// Takes over the list of a stage that was released into this one.
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
        let node = Box::into_raw(Box::new(Debtor {
            item,
            next: ptr::null_mut(),
        }));
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
        let list = self.newest.swap(closed(), Ordering::AcqRel);
        match list == closed() || list.is_null() {
            true => DebtorList::default(),
            false => DebtorList(vec![list]),
        }
    }
}

impl Drop for Debtors {
    fn drop(&mut self) {
        drop(self.close());
    }
}
