//! The table that holds a buffer's content.

use arc_swap::{ArcSwap, Guard};
use std::ops::Deref;
use std::sync::Arc;
use untorn_memtable::Memtable;

/// The table of one buffer.
pub(super) enum Table {
    /// Of a buffer that cannot be reset: finding it costs nothing.
    Fixed(Arc<Memtable>),
    /// A reset puts a fresh one here, with the gate shut.
    Replaceable(ArcSwap<Memtable>),
}

impl Table {
    pub(super) fn new(table: Memtable, is_fixed: bool) -> Self {
        let table = Arc::new(table);
        match is_fixed {
            true => Table::Fixed(table),
            false => Table::Replaceable(ArcSwap::new(table)),
        }
    }

    /// The one that is there now.
    #[inline]
    pub(super) fn load(&self) -> Loaded<'_> {
        match self {
            Table::Fixed(table) => Loaded::Fixed(table),
            Table::Replaceable(table) => Loaded::Replaceable(table.load()),
        }
    }

    /// A share of the one that is there now.
    pub(super) fn load_full(&self) -> Arc<Memtable> {
        Arc::clone(&self.load())
    }

    /// Puts another one in place of it, which is given back; none in a buffer that cannot be reset.
    pub(super) fn replace(&self, by: Memtable) -> Option<Arc<Memtable>> {
        match self {
            Table::Fixed(_) => None,
            Table::Replaceable(table) => Some(table.swap(Arc::new(by))),
        }
    }
}

/// A table that was there when it was asked for.
pub(super) enum Loaded<'t> {
    Fixed(&'t Arc<Memtable>),
    Replaceable(Guard<Arc<Memtable>>),
}

impl Deref for Loaded<'_> {
    type Target = Arc<Memtable>;

    #[inline]
    fn deref(&self) -> &Arc<Memtable> {
        match self {
            Loaded::Fixed(table) => table,
            Loaded::Replaceable(table) => table,
        }
    }
}
