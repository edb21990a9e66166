//! The hand-over of a frozen table to who writes it to a file.

use super::view::SequencedView;
use crate::account::Stats;
use crate::set::{Flush, Tables};
use crate::sync::Arc;
use std::ops::Deref;

/// A frozen table of a [`SequencedSet`](crate::SequencedSet) in the hands of the one who writes it to a file.
///
/// It dereferences to a [`SequencedView`] of that table alone: [`pin`](SequencedView::pin) and
/// [`versions`](super::PinnedSequencedView::versions) yield what a file needs, in its order. Otherwise as [`Flush`].
#[must_use = "the table stays in the set until the flush is complete"]
pub struct SequencedFlush {
    view: SequencedView,
    flush: Flush,
}

impl SequencedFlush {
    pub(super) fn new(flush: Flush) -> SequencedFlush {
        let table = Tables::alone(flush.member().clone());
        SequencedFlush {
            view: SequencedView::new(Arc::new(table)),
            flush,
        }
    }

    /// The table's number, one more than that of the table before. See [`SetWritten::table`](crate::SetWritten::table).
    pub fn number(&self) -> u64 {
        self.flush.number()
    }

    /// Number of versions, and the bytes of their keys as they are stored and of their values.
    pub fn stats(&self) -> Stats {
        self.flush.stats()
    }

    /// No version has a higher sequence number than this, so that a read that found this or more need not look into the file. It may
    /// be that of a write that was refused.
    pub fn largest(&self) -> u64 {
        self.flush.member().largest()
    }

    /// The table is in a file that can be read. Frees it, if it leaves the set and nobody reads it any more.
    pub fn complete(self) {
        drop(self.view);
        self.flush.complete();
    }
}

impl Deref for SequencedFlush {
    type Target = SequencedView;

    fn deref(&self) -> &SequencedView {
        &self.view
    }
}

impl std::fmt::Debug for SequencedFlush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedFlush")
            .field("number", &self.number())
            .field("stats", &self.stats())
            .field("largest", &self.largest())
            .finish_non_exhaustive()
    }
}
