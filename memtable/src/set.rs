//! A set of tables: one that is written, and those that were frozen and wait to be flushed.
//!
//! The list of tables is one immutable value behind one word ([`arc_swap`]). Two things change it: whoever finds the active
//! table frozen puts a new one in front, and a flush that is complete takes the oldest away.
//!
//! * T1: a table is put in front only after the one before was frozen. So no write lands in a newer table while an older one
//!   may still take one, and what is in the list behind the first is final.
//! * T2: a snapshot of the set takes the list once, and then a snapshot of the active table. A newer table that it does not know had
//!   no write when it took the list, and has none before the active one is frozen. So what it shows is what all tables held at the
//!   instant of the second snapshot or, if the table was frozen by then, at that of the freeze or of the list, whichever came later.
//! * T3: a point read takes the list once, and the newest table that has the key. A newer table that it does not know had
//!   no write when it took the list, so what it finds was the newest at some instant of the call.
//! * T4: tables leave the list from the oldest on, so a newer value is never missing where an older one is still found. Who
//!   completes a table exchanges the list even if none leaves: of two who do so at once, who comes later sees the other's flag.
//! * T5: bytes are reserved before a write, for the whole set, and given back when the table that holds them was freed.
//! * T6: a large batch is a table of its own. It is filled in private and frozen, the active table is frozen, and one exchange of
//!   the list puts in front of that the batch and an empty table. If another table came in front meanwhile, that is frozen,
//!   too: so the batch is newer than all that is behind it, older than all before it, and seen by that exchange, as a whole.
//! * T7: who lets go of a table last, a reader perhaps or the drop of a snapshot, does not free it: he leaves it in a list of the set's
//!   budget and wakes all who wait. It is freed by those who flush, when they ask for a table or complete one, and by writers who
//!   find no room, before they are refused or wait: so they do so only for bytes that are in use, though nobody flushes any more.
//!   When the set goes it frees what is in the list; who lets go of a table after that frees it on the spot.
//! * T8: where room is short there is a frozen table, or will be with the next write, unless nearly all that is reserved lies in tables
//!   that have left the list and come back when they are freed. Who finds no room and nothing frozen raises a flag, then a fence,
//!   and freezes the active table if that took its share of what is reserved. Who has written adds what he reserved to what the
//!   table took, then a fence, and looks at the flag. So one of the two sees the other, and a write that was on its way leaves its
//!   table frozen. Who takes flushed tables off the list wakes those who wait, for nothing may be frozen any more. The flag falls
//!   whenever those are woken who wait, who raise it again if need be.
//! * T9: where an engine numbers the writes, who writes raises the table's highest number to his own before he claims a stripe of it. Who
//!   knows that the table is frozen, from the list or since he was refused, has a fence between that and the list or the number, as
//!   the writer has one between his claim and his look at the view (F1). So of a table that is behind the first of a list, no version that
//!   took effect has a number above that.

mod batch;
mod budget;
mod flush;
mod limits;
mod member;
mod merge;
mod pinned;
mod read;
mod retired;
mod room;
mod snapshot;

use crate::error::Error;
use crate::item::Written;
use crate::mutant::planted;
use crate::sync::{Arc, ArcSwap};
use budget::Budget;
use std::ops::Deref;
use std::time::Instant;

pub(crate) use member::Member;
pub(crate) use merge::{Merge, Ordered};

pub use flush::Flush;
pub use limits::Limits;
pub use pinned::{PinnedSet, PinnedSetRange};
pub use room::Room;
pub use snapshot::{SetRange, SetSnapshot};

/// Tables that take turns: one takes the writes, those before it are frozen and wait to be flushed, and all are read as one.
///
/// This is what an LSM engine puts before its files. Deletions are tombstones and stay visible as such, since they hide what
/// lies in the files; nothing is removed physically, which would uncover older tables.
///
/// All methods take `&self`, from any number of threads; a clone is another handle of the same set, as of an `Arc`. Reads are
/// lock-free, but for one that lets go of a flushed table last. Writes are too, but for one that fills the active table: it freezes
/// that, which waits for the writes that are being published. Others meanwhile go on in the next table. Each rotation, and each table that
/// leaves, copies the list, some ns for each table in it: thousands that wait to be flushed are felt.
///
/// ```
/// use untorn_memtable::{Kind, Limits, MemtableSet};
/// let set = MemtableSet::new(Limits::default());
/// set.insert("a", "1")?;
/// set.delete("b")?;
/// set.rotate();
/// set.insert("a", "2")?;
/// let before = set.snapshot();
/// set.delete("a")?;
/// assert_eq!(set.get("a"), None);
/// assert_eq!(before.get("a").as_deref(), Some(&b"2"[..]));
///
/// let flush = set.next_flush().expect("one table is frozen");
/// // With the tombstones, or what they delete in older files comes back.
/// let rows: Vec<_> = flush.pin().range_all::<&str>(..).map(|item| (item.key.to_vec(), item.kind)).collect();
/// assert_eq!(rows, [(b"a".to_vec(), Kind::Value), (b"b".to_vec(), Kind::Tombstone)]);
/// flush.complete(); // the file is written: the table leaves the set
/// assert_eq!(set.frozen_tables(), 0);
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
///
/// # With a write-ahead log
///
/// Every write answers the [number of the table](SetWritten::table) that took it. A segment of the log can be deleted once it gets no
/// more writes, all of its writes have returned from the set, and every table up to the highest of their numbers is flushed: once
/// [`MemtableSet::oldest_table`] is above that. An engine that is opened again begins with the number after its newest file's
/// ([`MemtableSet::starting_at`]) and writes to the set what it finds in the log: the old segments then wait for the tables that take it.
/// Two writes of one key have to stand in the log in the order in which the set takes them: hold one lock over both.
/// A log may be larger than the limits, so flushes go on while it is replayed.
///
/// ```
/// use untorn_memtable::{Limits, MemtableSet};
/// let newest_file = 6;
/// let set = MemtableSet::starting_at(Limits::default(), newest_file + 1);
/// let replayed = [set.insert("a", "1")?, set.delete("b")?];
/// let highest = replayed.map(|written| written.table).into_iter().max();
/// assert_eq!(highest, Some(7));
/// assert_eq!(set.rotate(), highest);
/// assert!(set.oldest_table() <= 7); // the segment is needed
/// set.next_flush().expect("one table is frozen").complete();
/// assert!(set.oldest_table() > 7); // all that it holds is in files
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
#[derive(Clone)]
pub struct MemtableSet {
    shared: Arc<Shared>,
}

struct Shared {
    tables: ArcSwap<Tables>,
    budget: Arc<Budget>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.budget.close();
    }
}

/// The list at one moment.
pub(crate) struct Tables {
    /// The active table's; one more than the newest frozen one's.
    number: u64,
    active: Member,
    /// From the newest to the oldest; each came right before the one in front of it.
    frozen: Vec<Member>,
}

impl Tables {
    /// One table alone, as a list.
    pub(crate) fn alone(member: Member) -> Tables {
        Tables {
            number: 0,
            active: member,
            frozen: Vec::new(),
        }
    }

    /// All tables from the newest to the oldest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.active).chain(&self.frozen)
    }
}

impl MemtableSet {
    /// An empty set, whose first table has the number 0.
    pub fn new(limits: Limits) -> MemtableSet {
        MemtableSet::starting_at(limits, 0)
    }

    /// An empty set, whose first table has the number `first`: so an engine that is opened again numbers its tables on.
    ///
    /// Numbers have no end that an engine reaches; after `u64::MAX` comes 0.
    pub fn starting_at(limits: Limits, first: u64) -> MemtableSet {
        let budget = Arc::new(Budget::new(limits));
        let tables = ArcSwap::from_pointee(Tables {
            number: first,
            active: Member::new(budget.clone()),
            frozen: Vec::new(),
        });
        MemtableSet {
            shared: Arc::new(Shared { tables, budget }),
        }
    }

    /// Sets the key's value in the active table; rotates if that is full. Linearizable over the whole set.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::WriteTooLarge`]; [`Error::MemoryLimit`], which
    /// [`MemtableSet::wait_for_room`] may mend. Nothing is changed then.
    pub fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<SetWritten, Error> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(key.len() + value.len(), |table| table.insert(key, value))
    }

    /// Writes a tombstone, which hides what older tables and the files below hold. Otherwise as [`MemtableSet::insert`].
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::OutOfMemory`], [`Error::WriteTooLarge`], [`Error::MemoryLimit`]; nothing is changed then.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<SetWritten, Error> {
        let key = key.as_ref();
        self.write(key.len(), |table| table.delete(key))
    }

    /// Writes to the active table, which takes over the room that was reserved for it.
    pub(crate) fn write(
        &self,
        room: impl Into<Room>,
        mut write: impl FnMut(&Member) -> Result<Written, Error>,
    ) -> Result<SetWritten, Error> {
        let room = room.into();
        self.reserve(room)?;
        loop {
            let tables = self.shared.tables.load();
            match write(&tables.active) {
                Err(Error::Frozen) => self.succeed(&tables),
                Err(error) => {
                    self.shared.budget.release(room.bytes());
                    return Err(error);
                }
                Ok(written) => {
                    let held = tables.active.take_over(room);
                    if self.shared.budget.is_full(held) {
                        self.freeze(&tables);
                    } else if self.shared.budget.is_short() {
                        self.offer_active();
                    }
                    let mut table = tables.number;
                    if planted("set-number-of-a-later-list") {
                        table = self.shared.tables.load().number;
                    }
                    return Ok(SetWritten {
                        changed: written.changed,
                        table,
                    });
                }
            }
        }
    }

    /// Freezes the active table and puts an empty one in its place. Answers the number of the one that was frozen; `None` if there
    /// was nothing to freeze.
    ///
    /// All writes that returned before are in that table or in older ones. It waits for those that are being published at this moment.
    pub fn rotate(&self) -> Option<u64> {
        let tables = self.shared.tables.load();
        if tables.active.is_empty() {
            return None;
        }
        self.freeze(&tables);
        Some(tables.number)
    }

    fn freeze(&self, tables: &Tables) {
        if planted("set-front-before-freeze") {
            self.succeed(tables);
        }
        tables.active.freeze();
        self.succeed(tables);
    }

    /// Puts a new table in front of the active one of those, which is frozen; or finds that somebody else did. A flush that
    /// completes may change the list meanwhile.
    fn succeed(&self, tables: &Tables) {
        loop {
            let before = self.shared.tables.load();
            if before.active != tables.active && !planted("set-two-in-front") {
                return;
            }
            let behind: &Tables = match planted("set-front-of-an-old-list") {
                true => tables,
                false => &before,
            };
            let next = Tables {
                number: before.number.wrapping_add(1),
                active: Member::new(self.shared.budget.clone()),
                frozen: behind.iter().cloned().collect(),
            };
            if self.exchange(&before, next) {
                return;
            }
        }
    }

    /// Exchanges the list for one with more that is frozen, unless it is another one by now; answers whether it did.
    fn exchange(&self, before: &Arc<Tables>, next: Tables) -> bool {
        let found = self.shared.tables.compare_and_swap(before, Arc::new(next));
        let exchanged = Arc::ptr_eq(&found, before);
        if exchanged && !planted("set-frozen-unheard") {
            self.shared.budget.notify();
        }
        exchanged
    }

    /// The list as it is.
    pub(crate) fn tables(&self) -> impl Deref<Target = Arc<Tables>> + use<> {
        self.shared.tables.load()
    }

    /// All tables as they are at one instant. O(number of tables); see [`SetSnapshot`].
    pub fn snapshot(&self) -> SetSnapshot {
        let tables = self.shared.tables.load();
        if planted("set-of-two-lists") {
            let active = self.shared.tables.load().active.clone();
            return SetSnapshot::of(std::iter::once(active).chain(tables.frozen.iter().cloned()));
        }
        SetSnapshot::of(tables.iter().cloned())
    }

    /// Number of frozen tables that are not flushed yet, or wait for an older one that is not.
    pub fn frozen_tables(&self) -> usize {
        self.shared.tables.load().frozen.len()
    }

    /// The number of the oldest table that is not flushed, or of the active one, if all before it are: whatever was written to a table
    /// with a lower number is in files.
    pub fn oldest_table(&self) -> u64 {
        let tables = self.shared.tables.load();
        tables.number.wrapping_sub(tables.frozen.len() as u64)
    }

    /// The oldest frozen table that nobody has in hand, to be written to a file.
    ///
    /// Several may be flushed at once. See [`Flush`] for how a table leaves the set. Before it looks for one, it frees the tables that are
    /// flushed and that nobody reads any more: 20 to 50 ns an entry, which no reader and no drop of a snapshot pays.
    pub fn next_flush(&self) -> Option<Flush> {
        self.shared.budget.free_retired();
        let tables = self.shared.tables.load();
        let mut oldest_first = tables.frozen.iter().enumerate().rev();
        oldest_first.find_map(|(newer, member)| {
            let number = tables.number.wrapping_sub(1 + newer as u64);
            Flush::take(self, member.clone(), number)
        })
    }

    /// As [`MemtableSet::next_flush`], but waits for a table until `deadline`. What can be freed meanwhile it frees.
    pub fn wait_flush(&self, deadline: Instant) -> Option<Flush> {
        self.shared.budget.wait(deadline, || self.next_flush())
    }

    /// Takes away what is flushed, from the oldest on (T4), and wakes those who wait: nothing may be frozen any more (T8).
    fn drop_flushed(&self) {
        if planted("set-unchanged-list-stays") {
            let tables = self.shared.tables.load();
            if !tables.frozen.last().is_some_and(Member::is_flushed) {
                return;
            }
        }
        self.shared.tables.rcu(|tables| {
            let oldest_first = tables.frozen.iter().rev();
            let done = oldest_first.take_while(|table| table.is_flushed()).count();
            let mut frozen = tables.frozen[..tables.frozen.len() - done].to_vec();
            if planted("set-left-in-any-order") {
                frozen.retain(|table| !table.is_flushed());
            }
            Tables {
                number: tables.number,
                active: tables.active.clone(),
                frozen,
            }
        });
        if !planted("set-complete-unheard") {
            self.shared.budget.notify();
        }
    }
}

impl Default for MemtableSet {
    fn default() -> MemtableSet {
        MemtableSet::new(Limits::default())
    }
}

/// What a write to a [`MemtableSet`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetWritten {
    /// Whether anything was written: false only for a batch that is empty.
    pub changed: bool,
    /// The [number](Flush::number) of the table that took it; the active one's, if nothing was written.
    pub table: u64,
}

impl std::fmt::Debug for MemtableSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemtableSet")
            .field("frozen_tables", &self.frozen_tables())
            .field("reserved_bytes", &self.reserved_bytes())
            .finish_non_exhaustive()
    }
}
