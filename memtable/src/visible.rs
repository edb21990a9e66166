//! Which version of a key a reader sees.
//!
//! The newest reader takes the newest version that is neither void nor rolled back, whatever its stamp; it reads the view
//! *after* the head, so it has an instant at which just that was the newest. A snapshot takes the newest version that is
//! stamped at or below it and was not rolled back before it was taken.

use crate::clock::{Clock, View, ViewRef};
use crate::entry::{EntryRef, Head};
use crate::marks::{Order, UNORDERED};
use crate::reclaim::Guard;
use crate::stamp::Stamp;
use crate::version::{State, VersionRef};

/// The newest version of a chain that is in effect under `view`, a removal included.
#[inline]
pub(crate) fn in_effect<'g>(head: VersionRef<'g>, view: &View) -> Option<VersionRef<'g>> {
    let mut next = Some(head);
    while let Some(version) = next {
        if let Some(segment) = version.stamp_word().segment()
            && !view.discards(segment)
        {
            return Some(version);
        }
        next = version.previous();
    }
    None
}

/// The newest version that happened at all: its tag has the persistent bits, even if it was rolled back.
pub(crate) fn top(head: VersionRef<'_>) -> Option<VersionRef<'_>> {
    std::iter::successors(Some(head), VersionRef::previous)
        .find(|version| matches!(version.stamp(), Stamp::At(_) | Stamp::Discarded))
}

/// What a key holds at one instant.
pub(crate) struct Current<'g> {
    /// The newest version that is decided.
    pub(crate) newest: VersionRef<'g>,
    pub(crate) view: ViewRef<'g>,
    /// The version in effect; `None` if there is none or it is a removal.
    pub(crate) live: Option<VersionRef<'g>>,
    /// The bits that no rollback takes back.
    pub(crate) persistent: u32,
}

impl<'g> Current<'g> {
    /// Reads the key; `None` if its entry is dead, or holds nothing but what an open batch put there.
    pub(crate) fn read(
        entry: EntryRef<'g>,
        clock: &Clock,
        persistent_mask: u32,
        guard: &'g Guard,
    ) -> Option<Current<'g>> {
        let Head::Live(head) = entry.head() else {
            return None;
        };
        let decided = clock.decided(head, guard)?;
        Some(Current::from(decided, clock, persistent_mask, guard))
    }

    /// Reads the key from a version on that is decided.
    pub(crate) fn from(
        decided: VersionRef<'g>,
        clock: &Clock,
        persistent_mask: u32,
        guard: &'g Guard,
    ) -> Current<'g> {
        let view = clock.now(guard);
        let live = in_effect(decided, &view).filter(|version| version.state() != State::Gone);
        let persistent = match persistent_mask {
            0 => 0,
            mask => top(decided).map_or(0, |top| top.tag() & mask),
        };
        Current {
            newest: decided,
            view,
            live,
            persistent,
        }
    }

    /// The whole tag: the persistent bits and those of the version in effect.
    pub(crate) fn tag(&self, persistent_mask: u32) -> u32 {
        self.persistent | self.live.map_or(0, |live| live.tag() & !persistent_mask)
    }

    /// What the version in effect holds.
    pub(crate) fn content(&self) -> Option<(State, &'g [u8])> {
        self.live.map(|live| (live.state(), live.value()))
    }

    /// The order of what is written over it; if that `keeps` the content, that content's order.
    pub(crate) fn next_order(&self, keeps: bool) -> Order {
        let below = self.live.map(|live| (live, live.stamp()));
        match (keeps, below) {
            (false, _) => self.view.marks.next_order(),
            (true, Some((live, Stamp::At(segment)))) => {
                self.view.marks.order_of(segment, live.order())
            }
            (true, _) => UNORDERED,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.live.is_none() && self.persistent == 0
    }
}

/// The newest version of a key, if that is plainly in effect: stamped, and nothing was rolled back since.
#[inline(always)]
pub(crate) fn plainly_newest<'g>(
    entry: EntryRef<'g>,
    clock: &Clock,
    guard: &'g Guard,
) -> Option<VersionRef<'g>> {
    match entry.head() {
        Head::Live(head) => match head.stamp() {
            Stamp::At(segment) if !clock.discards(segment, guard) => Some(head),
            _ => None,
        },
        Head::Dead => None,
    }
}

/// The newest live version of a key, for reads that need no tag.
#[inline]
pub(crate) fn newest<'g>(
    entry: EntryRef<'g>,
    clock: &Clock,
    guard: &'g Guard,
) -> Option<VersionRef<'g>> {
    plainly_newest(entry, clock, guard)
        .or_else(|| newest_in_effect(entry, clock, guard))
        .filter(|version| version.state() != State::Gone)
}

/// The newest version that is in effect, wherever in the chain.
#[cold]
fn newest_in_effect<'g>(
    entry: EntryRef<'g>,
    clock: &Clock,
    guard: &'g Guard,
) -> Option<VersionRef<'g>> {
    let Head::Live(head) = entry.head() else {
        return None;
    };
    let decided = clock.decided(head, guard)?;
    in_effect(decided, &clock.now(guard))
}

/// The version of a key that a registered snapshot sees.
pub(crate) fn at<'g>(
    entry: EntryRef<'g>,
    snapshot: u64,
    clock: &Clock,
    guard: &'g Guard,
) -> Option<VersionRef<'g>> {
    let Head::Live(head) = entry.head() else {
        return None;
    };
    let decided = clock.decided(head, guard)?;
    let view = clock.now(guard);
    std::iter::successors(Some(decided), VersionRef::previous)
        .find(|version| match version.stamp() {
            Stamp::At(segment) => view.shows(segment, snapshot),
            _ => false,
        })
        .filter(|version| version.state() != State::Gone)
}
