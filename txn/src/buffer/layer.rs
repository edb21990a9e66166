//! One step over an ordered layer: what ranges and unions are made of.
//!
//! A cursor owns the bounds of what it has not yielded, and nothing else: each step asks the layer
//! anew for the first (or last) key within them. So it pins nothing between steps, may be held for
//! as long as one likes, and on a live buffer each item is the newest one at the instant of the
//! step that yields it.

use super::tag::Tag;
use super::{BufferSnapshot, Entry, MemBuffer};
use crate::flags::KeyFlags;
use bytes::Bytes;
use std::ops::{Bound, RangeBounds};
use untorn_memtable::{Item, Kind};

/// Which end of the bounds a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The smallest key.
    Front,
    /// The greatest key.
    Back,
}

/// One live key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub(super) key: Bytes,
    /// `None`: flags only.
    pub(super) entry: Option<Entry>,
    pub(super) flags: KeyFlags,
}

/// Bounds that borrow.
pub type Between<'b> = (Bound<&'b [u8]>, Bound<&'b [u8]>);

/// Something ordered that can be gone through within bounds.
pub trait Layer: Clone {
    /// Shows the live keys of `between` one after another, from `end` on, until `visit` has found what it looks for. Each is as
    /// it is when it is shown, flags-only keys too. The layer is pinned meanwhile.
    fn walk<T>(
        &self,
        between: Between<'_>,
        end: End,
        visit: impl FnMut(Item<'_>) -> Option<T>,
    ) -> Option<T>;

    /// The first live key at `end` of `between`, as it is now; flags-only keys only if asked for.
    fn step(&self, between: Between<'_>, end: End, flags_only: bool) -> Option<Step> {
        self.walk(between, end, |item| {
            let is_shown = item.kind != Kind::TagOnly || flags_only;
            is_shown.then(|| Step {
                key: Bytes::copy_from_slice(item.key),
                entry: Entry::of(item.kind, Bytes::copy_from_slice(item.value)),
                flags: Tag(item.tag).flags(),
            })
        })
    }
}

impl Layer for MemBuffer {
    fn walk<T>(
        &self,
        between: Between<'_>,
        end: End,
        visit: impl FnMut(Item<'_>) -> Option<T>,
    ) -> Option<T> {
        let table = self.made()?.table.load();
        let pinned = table.pin();
        find(pinned.range_all::<&[u8]>(between), end, visit)
    }
}

impl Layer for BufferSnapshot {
    fn walk<T>(
        &self,
        between: Between<'_>,
        end: End,
        visit: impl FnMut(Item<'_>) -> Option<T>,
    ) -> Option<T> {
        let pinned = self.view()?.pin();
        find(pinned.range_all::<&[u8]>(between), end, visit)
    }
}

fn find<'g, T>(
    mut items: impl DoubleEndedIterator<Item = Item<'g>>,
    end: End,
    visit: impl FnMut(Item<'g>) -> Option<T>,
) -> Option<T> {
    match end {
        End::Front => items.find_map(visit),
        End::Back => items.rev().find_map(visit),
    }
}

/// The bounds of what is still to come.
#[derive(Debug, Clone)]
pub struct Cursor<L> {
    /// `None`: it has nothing, and the cursor began at its end.
    layer: Option<L>,
    low: Bound<Bytes>,
    high: Bound<Bytes>,
    flags_only: bool,
    done: bool,
}

impl<L: Layer> Cursor<L> {
    /// Copies the bounds.
    pub(super) fn new<K: AsRef<[u8]>>(
        layer: L,
        bounds: impl RangeBounds<K>,
        flags_only: bool,
    ) -> Self {
        let own = |bound: Bound<&K>| bound.map(|key| Bytes::copy_from_slice(key.as_ref()));
        Cursor {
            layer: Some(layer),
            low: own(bounds.start_bound()),
            high: own(bounds.end_bound()),
            flags_only,
            done: false,
        }
    }

    /// Over nothing, at no cost.
    pub(super) fn ended() -> Self {
        Cursor {
            layer: None,
            low: Bound::Unbounded,
            high: Bound::Unbounded,
            flags_only: false,
            done: true,
        }
    }

    /// What lies at `end` now, and not beyond a key within the bounds, if one is given; does not move.
    pub(super) fn look(&self, end: End, until: Option<&[u8]>) -> Option<Step> {
        if self.is_empty() {
            return None;
        }
        let mut between = (
            self.low.as_ref().map(|key| &key[..]),
            self.high.as_ref().map(|key| &key[..]),
        );
        match (until, end) {
            (Some(key), End::Front) => between.1 = Bound::Included(key),
            (Some(key), End::Back) => between.0 = Bound::Included(key),
            (None, _) => {}
        }
        self.layer.as_ref()?.step(between, end, self.flags_only)
    }

    /// What lies at `end` now, and moves behind it. `None` is final, for both ends.
    pub(super) fn take(&mut self, end: End) -> Option<Step> {
        if self.done {
            return None;
        }
        self.done = true;
        let step = self.look(end, None)?;
        self.done = false;
        self.pass(end, step.key.clone());
        Some(step)
    }

    /// Moves `end` behind `key`.
    pub(super) fn pass(&mut self, end: End, key: Bytes) {
        match end {
            End::Front => self.low = Bound::Excluded(key),
            End::Back => self.high = Bound::Excluded(key),
        }
    }

    /// Whether `key` is still to come.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let above = match &self.low {
            Bound::Included(low) => key >= &low[..],
            Bound::Excluded(low) => key > &low[..],
            Bound::Unbounded => true,
        };
        let below = match &self.high {
            Bound::Included(high) => key <= &high[..],
            Bound::Excluded(high) => key < &high[..],
            Bound::Unbounded => true,
        };
        above && below
    }

    /// Nothing can lie between the bounds, inverted ones included.
    fn is_empty(&self) -> bool {
        match (&self.low, &self.high) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (
                Bound::Included(low) | Bound::Excluded(low),
                Bound::Included(high) | Bound::Excluded(high),
            ) => low >= high,
        }
    }
}
