//! What was written behind a mark: the lists of its entries, by the mark that names them already.
//!
//! An entry that is written over content from behind a mark further out is named there as well, and needs its name inside only as long as
//! what is inside can be taken back alone. So such names are handed outward no further than to below that mark, and paid when the next
//! step would bring them there. It may have left the stack by then: what it named is named by one that began earlier.

use super::list::{DebtorList, Debtors};
use crate::entry::EntrySlot;
use crate::marks::{Marks, Order};
use crate::mutant::planted;
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

/// Those that a mark further out names.
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
        let is_of = |again: &&Again| {
            // Relaxed: nothing is read by way of it but under the list, which is taken by an exchange.
            let known = match again.named_since.load(Ordering::Relaxed) {
                0 => again.named_since.compare_exchange(
                    0,
                    since,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ),
                known => Err(known),
            };
            known.is_ok() || known == Err(since)
        };
        let again = self.again.iter().find(is_of);
        again.map_or(&self.fresh, |again| &again.entries)
    }

    /// All lists.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &Debtors> {
        let again = self.again.iter().map(|again| &again.entries);
        std::iter::once(&self.fresh).chain(again)
    }

    /// Takes the lists; later pushes are refused.
    pub(crate) fn close(&self) -> Taken {
        Taken {
            fresh: self.fresh.close(),
            again: std::array::from_fn(|at| {
                let entries = self.again[at].entries.close();
                (self.again[at].named_since.load(Ordering::Relaxed), entries)
            }),
        }
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
