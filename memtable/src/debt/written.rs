//! What was written behind a mark: the lists of its entries, by the mark that names them already.
//!
//! An entry that is written over content from behind a mark further out is named there as well, and needs its name inside only as long as
//! what is inside can be taken back alone. So such names are handed outward no further than to below that mark, and paid when the next
//! step would bring them there. It may have left the stack by then: what it named is named by one that began earlier.

use super::list::{DebtorList, Debtors};
use crate::entry::EntrySlot;
use crate::marks::{Marks, Order};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stamp::Stamp;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Of so many marks further out names are kept apart; those of others go all the way.
const APART: usize = 3;

/// The entries that were written since one mark.
pub(crate) struct Written {
    /// Named by no mark further out that is told apart.
    fresh: Debtors,
    again: [Again; APART],
}

/// Stands for no segment: the list was taken before anybody used it.
const TAKEN: u64 = u64::MAX;

/// Those that a mark further out names. They are used in their order.
struct Again {
    /// The segment that it began; 0 until it is known.
    named_since: AtomicU64,
    entries: Debtors,
}

/// What was taken out of [`Written`].
pub(crate) struct Taken {
    fresh: DebtorList,
    again: [(u64, DebtorList); APART],
}

impl Written {
    pub(crate) fn new() -> Written {
        Written {
            fresh: Debtors::new(),
            again: std::array::from_fn(|_| Again {
                named_since: AtomicU64::new(0),
                entries: Debtors::new(),
            }),
        }
    }

    /// Names an entry that the caller owes, which was written over content with the stamp `below`, whose writer has named it where that
    /// belongs among `marks`. Gives the name back if the lists were taken.
    pub(crate) fn push(
        &self,
        entry: EntrySlot,
        order: Order,
        below: Option<Stamp>,
        marks: &Marks,
    ) -> Result<(), DebtorList> {
        let named_since = match below {
            Some(Stamp::At(below)) => marks.mark_of(below).map(|mark| mark.first),
            _ if planted("named-inside-alone") => marks.iter().nth(1).map(|mark| mark.first),
            _ => None,
        };
        self.list_of(named_since).push(entry, order)
    }

    fn list_of(&self, named_since: Option<u64>) -> &Debtors {
        let Some(since) = named_since else {
            return &self.fresh;
        };
        for again in &self.again {
            match again.claim(since) {
                known if known == since => return &again.entries,
                // All were: the fresh list refuses.
                TAKEN => break,
                _ => {}
            }
        }
        &self.fresh
    }

    /// The entries that are named now, as [`Debtors::named`]. `None` if the lists were taken.
    pub(crate) fn named(&self, guard: &Guard) -> Option<Vec<(EntrySlot, Order)>> {
        let mut named = Vec::new();
        for list in self.lists() {
            named.extend(list.named(guard)?);
        }
        Some(named)
    }

    /// How many items the lists have.
    pub(crate) fn count(&self, guard: &Guard) -> usize {
        self.lists().map(|list| list.count(guard)).sum()
    }

    /// The fresh one first, which is taken before the others.
    fn lists(&self) -> impl Iterator<Item = &Debtors> {
        let again = self.again.iter().map(|again| &again.entries);
        std::iter::once(&self.fresh).chain(again)
    }

    /// Takes the lists; later pushes are refused.
    pub(crate) fn close(&self) -> Taken {
        let mut taken = Taken {
            fresh: self.fresh.close(),
            again: Default::default(),
        };
        for (again, left) in self.again.iter().zip(&mut taken.again) {
            match again.claim(TAKEN) {
                // Nobody gets to those behind it any more.
                TAKEN => break,
                since => *left = (since, again.entries.close()),
            }
        }
        taken
    }
}

impl Again {
    /// Sets what is not set yet, and answers what it is. Relaxed: what is pushed is seen by who takes the list.
    fn claim(&self, since: u64) -> u64 {
        let known = self.named_since.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let order = Ordering::Relaxed;
        let claimed = self.named_since.compare_exchange(0, since, order, order);
        claimed.err().unwrap_or(since)
    }
}

impl Taken {
    /// Hands the names to a mark further out, which began with a segment, but for those that it has itself: these are given back, to be
    /// paid. An error if its lists were taken: what was not handed over is still here.
    pub(crate) fn hand_to(&mut self, outer: &Written, began: u64) -> Result<DebtorList, ()> {
        for (since, entries) in &mut self.again {
            if *since < began && !entries.is_empty() {
                hand(entries, outer.list_of(Some(*since)))?;
            }
        }
        hand(&mut self.fresh, &outer.fresh)?;
        let again = self.again.iter_mut();
        Ok(again.fold(DebtorList::default(), |mut paid, (_, entries)| {
            paid.absorb(std::mem::take(entries));
            paid
        }))
    }

    /// All of it.
    pub(crate) fn all(self) -> DebtorList {
        let again = self.again.into_iter();
        again.fold(self.fresh, |mut all, (_, entries)| {
            all.absorb(entries);
            all
        })
    }
}

fn hand(entries: &mut DebtorList, to: &Debtors) -> Result<(), ()> {
    to.push_list(std::mem::take(entries))
        .map_err(|refused| *entries = refused)
}
