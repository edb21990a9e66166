//! Cursors: a place in the table that is moved at will and keeps nothing pinned.

use crate::item::Entry;
use crate::memtable::Memtable;
use crate::reclaim;
use crate::snapshot::Snapshot;
use crate::visible::Current;
use crate::walk::{Direction, Walk};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::{Bound, Deref};

/// A place in a table or in a snapshot, to be moved in both directions and to any key, as often as one likes.
///
/// It owns the entry at which it stands and holds no guard: nothing is kept from being freed between two steps, the entry may be
/// removed meanwhile, and the cursor may be sent to another thread. Every live key is shown, tombstones and those with a tag
/// alone too; see [`Entry::kind`].
///
/// Over a table each step reads the table as it is at that moment, O(log n) and a step for each key that it passes since it is removed or
/// rolled back and not cleared away yet. Over a [`Snapshot`] all is of one instant,
/// and steps in one direction read up to 64 entries ahead, so that one costs O(1) on average.
///
/// ```
/// use std::sync::Arc;
/// use untorn_memtable::{Cursor, Memtable};
/// let table = Arc::new(Memtable::new());
/// for key in ["a", "c", "e"] {
///     table.insert(key, "v")?;
/// }
/// let mut cursor = Cursor::new(table.clone());
/// assert_eq!(cursor.seek("b").map(|entry| &entry.key[..]), Some(&b"c"[..]));
/// table.remove("c")?;
/// table.insert("d", "v")?;
/// assert_eq!(cursor.entry().map(|entry| &entry.key[..]), Some(&b"c"[..]));
/// assert_eq!(cursor.next().map(|entry| &entry.key[..]), Some(&b"d"[..]));
/// assert_eq!(cursor.seek_for_prev("b").map(|entry| &entry.key[..]), Some(&b"a"[..]));
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
pub struct Cursor<T: Deref<Target = Memtable>> {
    source: Source<T>,
    position: Position,
    /// What follows the position in the direction of the last step.
    ahead: VecDeque<Entry>,
    direction: Direction,
    fetch: usize,
}

enum Source<T: Deref<Target = Memtable>> {
    Live(T),
    Snapshot(Snapshot<T>),
}

enum Position {
    /// Before the first entry.
    Start,
    At(Entry),
    /// Behind the last one.
    End,
}

/// Most entries that are read ahead in a snapshot.
const MAX_FETCH: usize = 64;

impl<T: Deref<Target = Memtable>> Cursor<T> {
    /// A cursor over the table as it is at each step, before the first entry.
    pub fn new(table: T) -> Self {
        Cursor::over(Source::Live(table))
    }

    /// A cursor over a snapshot, before the first entry.
    pub fn at(snapshot: Snapshot<T>) -> Self {
        Cursor::over(Source::Snapshot(snapshot))
    }

    fn over(source: Source<T>) -> Self {
        Cursor {
            source,
            position: Position::Start,
            ahead: VecDeque::new(),
            direction: Direction::Forward,
            fetch: 1,
        }
    }

    /// The entry at which the cursor stands, as it was when the cursor came there; `None` before the first and behind the last.
    pub fn entry(&self) -> Option<&Entry> {
        match &self.position {
            Position::At(entry) => Some(entry),
            Position::Start | Position::End => None,
        }
    }

    /// Goes to the first entry at or after `key`, and behind the last if there is none.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Option<&Entry> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.jump(Direction::Forward, Bound::Included(key))
    }

    /// Goes to the last entry at or before `key`, and before the first if there is none.
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Option<&Entry> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.jump(Direction::Backward, Bound::Included(key))
    }

    /// Goes to the first entry.
    pub fn seek_to_first(&mut self) -> Option<&Entry> {
        self.jump(Direction::Forward, Bound::Unbounded)
    }

    /// Goes to the last entry.
    pub fn seek_to_last(&mut self) -> Option<&Entry> {
        self.jump(Direction::Backward, Bound::Unbounded)
    }

    /// Goes to the next entry; from before the first to the first.
    #[allow(clippy::should_implement_trait)] // An iterator could not lend its entry, nor turn round.
    pub fn next(&mut self) -> Option<&Entry> {
        self.step(Direction::Forward)
    }

    /// Goes to the entry before; from behind the last to the last.
    pub fn prev(&mut self) -> Option<&Entry> {
        self.step(Direction::Backward)
    }

    fn jump(&mut self, direction: Direction, from: Bound<Bytes>) -> Option<&Entry> {
        self.turn(direction);
        self.read(from);
        self.take()
    }

    fn step(&mut self, direction: Direction) -> Option<&Entry> {
        if self.direction != direction {
            self.turn(direction);
        }
        if self.ahead.is_empty() {
            let from = match (&self.position, direction) {
                (Position::At(entry), _) => Bound::Excluded(entry.key.clone()),
                (Position::Start, Direction::Forward) | (Position::End, Direction::Backward) => {
                    Bound::Unbounded
                }
                (Position::Start, Direction::Backward) | (Position::End, Direction::Forward) => {
                    return None;
                }
            };
            self.read(from);
        }
        self.take()
    }

    fn turn(&mut self, direction: Direction) {
        self.direction = direction;
        self.ahead.clear();
        self.fetch = 1;
    }

    fn take(&mut self) -> Option<&Entry> {
        self.position = match (self.ahead.pop_front(), self.direction) {
            (Some(entry), _) => Position::At(entry),
            (None, Direction::Forward) => Position::End,
            (None, Direction::Backward) => Position::Start,
        };
        self.entry()
    }

    fn read(&mut self, from: Bound<Bytes>) {
        let (lower, upper) = match self.direction {
            Direction::Forward => (from, Bound::Unbounded),
            Direction::Backward => (Bound::Unbounded, from),
        };
        match &self.source {
            Source::Live(table) => {
                self.ahead
                    .extend(next_live(table, lower, upper, self.direction))
            }
            Source::Snapshot(snapshot) => {
                snapshot.read(&lower, &upper, self.direction, self.fetch, &mut self.ahead);
                self.fetch = (self.fetch * 2).min(MAX_FETCH);
            }
        }
    }
}

/// The entry of that range that comes first in that direction, as it is now.
fn next_live(
    table: &Memtable,
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    direction: Direction,
) -> Option<Entry> {
    let guard = reclaim::pin();
    let table = table.table();
    let mask = table.persistent_mask;
    let mut walk = Walk::between(table, lower, upper, &guard);
    loop {
        let entry = walk.step(direction)?;
        let shown = Current::read(entry, &table.clock, mask, &guard)
            .and_then(|current| table.item(entry, &current));
        if let Some(item) = shown {
            return Some(item.to_entry());
        }
    }
}

impl<T: Deref<Target = Memtable>> std::fmt::Debug for Cursor<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor")
            .field("entry", &self.entry())
            .finish_non_exhaustive()
    }
}
