//! The table: its parts, and reading one key.

use crate::account::{Account, Stats};
use crate::cells::{Cell, Cells};
use crate::chain::{self, IN_FLIGHT, Level, Side};
use crate::clock::Clock;
use crate::debt::Debts;
use crate::entry::{self, EntryRef, EntrySlot};
use crate::held::Held;
use crate::item::{Item, Kind};
use crate::lanes::Lanes;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::run::{MAX_LEN, Run, RunRef, Slot};
use crate::sync::const_fn;
use crate::version::{State, VersionRef};
use crate::visible::{self, Current};

/// Most entries of a leaf.
const LEAF: usize = if cfg!(untorn_loom) { 2 } else { 64 };

/// The parts of a table.
pub(crate) struct Table {
    first: Cell<EntrySlot>,
    pub(crate) cells: Cells<EntrySlot>,
    pub(crate) lanes: Lanes,
    pub(crate) clock: Clock,
    pub(crate) account: Account,
    pub(crate) debts: Debts,
    pub(crate) held: Held,
    pub(crate) persistent_mask: u32,
    pub(crate) leaf_capacity: usize,
}

const_fn! {
    pub(crate) const fn new_table(persistent_mask: u32) -> Table {
        Table {
            first: Cell::empty(),
            cells: Cells::new(),
            lanes: Lanes::new(),
            clock: Clock::new(),
            account: Account::new(),
            debts: Debts::new(),
            held: Held::new(),
            persistent_mask,
            leaf_capacity: LEAF,
        }
    }
}

impl Table {
    /// For tests: small leaves split early and often.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        let capacity = capacity.clamp(2, MAX_LEN);
        self.leaf_capacity = capacity;
        self.lanes.set_capacity(capacity);
    }

    /// The first run, which leads to the others; the table has none from then on.
    pub(crate) fn take_leaves(&mut self) -> *mut Run<EntrySlot> {
        self.first.take()
    }

    /// The chain of the leaves.
    #[inline]
    pub(crate) fn leaves(&self) -> Level<'_, EntrySlot> {
        Level {
            first: &self.first,
            cells: &self.cells,
            capacity: self.leaf_capacity,
            lanes: &self.lanes,
            above: 0,
        }
    }

    /// The key's entry, if its leaf has one.
    #[inline]
    pub(crate) fn find<'g>(&self, key: &[u8], guard: &'g Guard) -> Option<EntryRef<'g>> {
        let slot = self.leaves().get(key, guard)?;
        // SAFETY: from a run that was loaded under the guard (I4).
        Some(unsafe { slot.under(guard) })
    }

    /// The entries from `key` on that begin with its first `alike` bytes, dead and absent ones included. For who wants the first few: a
    /// [`Walk`](crate::walk::Walk) asks for those ahead.
    #[inline]
    pub(crate) fn entries_alike<'g>(
        &self,
        key: &[u8],
        alike: usize,
        guard: &'g Guard,
    ) -> impl Iterator<Item = EntryRef<'g>> {
        let first = self.leaves().find(key, Side::At, guard).1.and_then(|run| {
            // A place is one in these, and may be behind them (E4).
            let slots = run.slots();
            let at = run.first_alike(slots, key, alike)?;
            let slots = match planted("place-in-a-later-tail") {
                true => run.slots(),
                false => slots,
            };
            Some((run, slots.get(at..).unwrap_or_default()))
        });
        let (mut run, slots) = first.map_or((None, &[][..]), |(run, slots)| (Some(run), slots));
        let others = std::iter::from_fn(move || {
            run = run?.next(guard);
            run
        });
        let slots = slots.iter().chain(others.flat_map(|run| run.slots()));
        slots
            // SAFETY: from a run that was loaded under the guard (I4).
            .map(|slot| unsafe { slot.under(guard) })
            .take_while(move |entry| entry.key().starts_with(&key[..alike]))
    }

    /// What the key holds now.
    pub(crate) fn read<'g>(&self, key: &[u8], guard: &'g Guard) -> Option<Item<'g>> {
        self.show(self.find(key, guard)?, guard)
    }

    /// What the entry holds now.
    fn show<'g>(&self, entry: EntryRef<'g>, guard: &'g Guard) -> Option<Item<'g>> {
        let current = Current::read(entry, &self.clock, self.persistent_mask, guard)?;
        self.item(entry, &current)
    }

    pub(crate) fn item<'g>(&self, entry: EntryRef<'g>, current: &Current<'g>) -> Option<Item<'g>> {
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
        (version.state() == State::Value).then(|| version.value())
    }

    /// The values that the keys hold, each at an instant of its own.
    pub(crate) fn values<'g, K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        guard: &'g Guard,
    ) -> impl Iterator<Item = Option<&'g [u8]>> {
        self.find_many(keys, guard).map(move |entry| {
            let version = visible::newest(entry?, &self.clock, guard)?;
            (version.state() == State::Value).then(|| version.value())
        })
    }

    /// What the keys hold, each at an instant of its own.
    pub(crate) fn read_many<'g, K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        guard: &'g Guard,
    ) -> impl Iterator<Item = Option<Item<'g>>> {
        self.find_many(keys, guard)
            .map(move |entry| self.show(entry?, guard))
    }

    /// The keys' entries, for several of them at once.
    fn find_many<'g, K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        guard: &'g Guard,
    ) -> impl Iterator<Item = Option<EntryRef<'g>>> {
        keys.chunks(IN_FLIGHT).flat_map(move |keys| {
            let mut group = [&[][..]; IN_FLIGHT];
            for (slot, key) in group.iter_mut().zip(keys) {
                *slot = key.as_ref();
            }
            let group = &group[..keys.len()];
            let leads = self.leaves().leads(group, guard);
            leads.into_iter().zip(keys).map(move |(lead, key)| {
                let slot = lead?.follow(key.as_ref()).slot()?;
                // SAFETY: from a run that was loaded under the guard (I4).
                Some(unsafe { slot.under(guard) })
            })
        })
    }

    pub(crate) fn stats(&self, guard: &Guard) -> Stats {
        self.account.stats(&self.clock, self.persistent_mask, guard)
    }
}

/// Shows a version, or the tag alone where there is none.
pub(crate) fn item<'g>(entry: EntryRef<'g>, live: Option<VersionRef<'g>>, tag: u32) -> Item<'g> {
    let (kind, value) = match live.map(|live| (live.state(), live)) {
        Some((State::Value, live)) => (Kind::Value, live.value()),
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

/// How far ahead of what is freed newest versions are asked for, and twice as far the entries that lead there.
const AHEAD: usize = 6;

/// # Safety
/// Nobody else can reach the run's entries, and they are freed once.
pub(crate) unsafe fn free_entries(run: RunRef<'_, EntrySlot>) {
    let slots = run.slots();
    slots
        .iter()
        .take(2 * AHEAD)
        .for_each(|slot| slot.prefetch());
    for (at, slot) in slots.iter().enumerate() {
        if let Some(slot) = slots.get(at + 2 * AHEAD) {
            slot.prefetch();
        }
        if let Some(slot) = slots.get(at + AHEAD) {
            // SAFETY: by the contract it is not freed yet.
            unsafe { slot.prefetch_newest() };
        }
        // SAFETY: by the contract.
        unsafe { entry::destroy(slot.as_ptr()) };
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: the table is being dropped: each entry is in one run, and nobody else can reach it.
        chain::free_runs(&mut self.first, |run| unsafe { free_entries(run) });
    }
}
