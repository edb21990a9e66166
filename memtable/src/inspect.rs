//! Looking at what may be taken back: the versions of a key, and what was written in a stage.

use crate::entry::EntryRef;
use crate::item::Entry;
use crate::marks::{Mark, Order, UNORDERED};
use crate::memtable::Memtable;
use crate::reclaim::{self, Guard};
use crate::stage::StageId;
use crate::stamp::Stamp;
use crate::sync::Arc;
use crate::table::{Table, item};
use crate::version::{State, VersionRef};
use crate::visible::Current;
use std::collections::HashMap;

impl Memtable {
    /// The versions of a key that the table can return to, newest first: what it holds now, and for each open stage and live savepoint
    /// what a rollback would bring back, if that is another version. A tag alone makes a version too; absence is none.
    ///
    /// Linearizable. One lookup, and a walk over the key's versions and the open stages and savepoints.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// table.insert("k", "settled")?;
    /// let stage = table.open_stage();
    /// table.insert("k", "staged")?;
    /// table.insert("k", "newest")?;
    /// let values: Vec<_> = table.history("k").into_iter().map(|entry| entry.value).collect();
    /// assert_eq!(values, ["newest", "settled"]);
    /// table.cleanup_stage(stage).expect("it is the innermost one");
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn history(&self, key: impl AsRef<[u8]>) -> Vec<Entry> {
        let guard = reclaim::pin();
        let table = self.table();
        let found = table.find(key.as_ref(), &guard);
        found.map_or_else(Vec::new, |entry| table.history(entry, &guard))
    }

    /// What was written in a stage that is open: of each key the newest content, values and tombstones, the newest write first. What
    /// was written in stages that were released into it is there too, what was taken back is not, nor are writes of a tag alone;
    /// a key that was written before and only tagged since is not there.
    ///
    /// `None` if the stage is not an open one of this table. Each key is read at an instant of its own: beside writers, a write
    /// that returned before the call is there, or a newer one of its key, once that returned which was the key's first in the stage;
    /// beside stages inside that are being closed, what was written in those may be missing. Of two writes that overlapped either may
    /// come first. Costs as much as reading the entries that were written in the stage, and sorting them.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// let stage = table.open_stage();
    /// for key in ["a", "b", "a"] {
    ///     table.insert(key, "v")?;
    /// }
    /// let keys = table.stage_writes(&stage).map(|all| all.into_iter().map(|entry| entry.key).collect());
    /// assert_eq!(keys, Some(vec!["a".into(), "b".into()]));
    /// table.cleanup_stage(stage).expect("it is the innermost one");
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn stage_writes(&self, stage: &StageId) -> Option<Vec<Entry>> {
        let guard = reclaim::pin();
        self.table().stage_writes(&stage.mark, &guard)
    }
}

impl Table {
    fn history(&self, entry: EntryRef<'_>, guard: &Guard) -> Vec<Entry> {
        let Some(current) = Current::read(entry, &self.clock, self.persistent_mask, guard) else {
            return Vec::new();
        };
        let marks = current.view.marks.iter();
        let marks = marks.filter(|mark| !mark.has_lapsed());
        let mut versions = std::iter::successors(Some(current.newest), VersionRef::previous)
            .filter_map(|version| match version.stamp() {
                Stamp::At(segment) if !current.view.discards(segment) => Some((segment, version)),
                _ => None,
            })
            .peekable();
        let mut shown: Vec<VersionRef<'_>> = Vec::new();
        for end in std::iter::once(u64::MAX).chain(marks.map(|mark| mark.first)) {
            while versions.next_if(|&(segment, _)| segment >= end).is_some() {}
            if let Some(&(_, version)) = versions.peek()
                && shown.last() != Some(&version)
            {
                shown.push(version);
            }
        }
        shown.retain(|version| version.state() != State::Gone);
        let tag =
            |version: VersionRef<'_>| current.persistent | version.tag() & !self.persistent_mask;
        let entry = |version| item(entry, Some(version), tag(version)).to_entry();
        shown.into_iter().map(entry).collect()
    }

    fn stage_writes(&self, stage: &Arc<Mark>, guard: &Guard) -> Option<Vec<Entry>> {
        let named = self.named_since(stage, guard)?;
        let mut found: Vec<_> = named
            .into_iter()
            .filter_map(|(entry, first)| self.written_since(stage, entry, first, guard))
            .collect();
        found.sort_unstable_by_key(|&(order, _)| std::cmp::Reverse(order));
        Some(found.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The entries that were written since the stage began, each with the order of its first content, if that was since.
    fn named_since<'g>(
        &self,
        stage: &Arc<Mark>,
        guard: &'g Guard,
    ) -> Option<Vec<(EntryRef<'g>, Order)>> {
        'again: loop {
            let view = self.clock.now(guard);
            if !view.marks.iter().any(|mark| Arc::ptr_eq(mark, stage)) {
                return None;
            }
            let mut all: Vec<(EntryRef<'g>, Order)> = Vec::new();
            let mut places = HashMap::new();
            // From the inside to the outside, as the lists go that are handed on meanwhile.
            for mark in view.marks.within(stage) {
                let Some(named) = mark.written.named(guard) else {
                    continue 'again;
                };
                for (slot, order) in named {
                    // SAFETY: an entry that an open list names is not buried (D1), and the list was read under the guard.
                    let entry = unsafe { slot.under(guard) };
                    let place = *places.entry(slot.as_ptr()).or_insert(all.len());
                    match all.get_mut(place) {
                        Some(known) => known.1 = known.1.max(order),
                        None => all.push((entry, order)),
                    }
                }
            }
            return Some(all);
        }
    }

    /// The content that the entry holds and its order, if it was written since the stage began.
    fn written_since(
        &self,
        stage: &Mark,
        entry: EntryRef<'_>,
        first: Order,
        guard: &Guard,
    ) -> Option<(Order, Entry)> {
        let (current, live, segment) = loop {
            let current = Current::read(entry, &self.clock, self.persistent_mask, guard)?;
            let live = current.live.filter(|live| live.state() != State::TagOnly)?;
            // Else an inner stage was cleaned up and the version discarded under our eyes: what lies below is in effect.
            if let Stamp::At(segment) = live.stamp() {
                break (current, live, segment);
            }
        };
        // Without an order of its own the content lies in the entry, or is older than all marks, as the entry is then.
        let order = match live.order() {
            UNORDERED => first,
            order => order,
        };
        let in_stage = stage.first <= segment && stage.is_before(order);
        let tag = current.tag(self.persistent_mask);
        in_stage.then(|| (order, item(entry, Some(live), tag).to_entry()))
    }
}
