//! The table's leaves as shards: key ranges for parallel work, and how much lies between two keys.

use crate::chain::{Level, Side};
use crate::lanes::LaneSlot;
use crate::memtable::Memtable;
use crate::reclaim::{self, Guard};
use crate::run::{RunRef, Slot};
use crate::walk::{after, before, owned};
use bytes::Bytes;
use std::ops::{Bound, RangeBounds};

/// A stretch of the table's keys, from [`Memtable::shards`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its keys. Fits [`Pinned::range_all`](crate::Pinned::range_all) and [`Snapshot::range`](crate::Snapshot::range), which show
    /// tombstones, as a flush needs them, and [`Pinned::range`](crate::Pinned::range) and [`Memtable::scan`], which do not.
    pub range: (Bound<Bytes>, Bound<Bytes>),
    /// So many keys lie there, those that were deleted or removed a moment ago included.
    pub entries: usize,
}

/// So many runs are looked at, at each level, before what lies behind is inferred.
const SAMPLES: usize = 8;

impl Memtable {
    /// At most `at_most` stretches, but one at least, that together are all of the table, each with about as many entries as the next: for scans and
    /// flushes by several threads, each of which takes some of them.
    ///
    /// The bounds do not depend on what is written meanwhile, so the stretches stay disjoint and complete; `entries` is of
    /// now. O(n / 64): one cache miss a leaf.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// for n in 0..1000u32 {
    ///     table.insert(n.to_be_bytes(), "v")?;
    /// }
    /// let shards = table.shards(4);
    /// let counted = std::thread::scope(|scope| {
    ///     let counts = shards.iter().map(|shard| scope.spawn(|| table.pin().range(shard.range.clone()).count()));
    ///     let counts: Vec<_> = counts.collect();
    ///     counts.into_iter().map(|count| count.join().unwrap()).sum::<usize>()
    /// });
    /// assert_eq!(counted, 1000);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn shards(&self, at_most: usize) -> Vec<Shard> {
        let guard = reclaim::pin();
        let leaves: Vec<_> = self.table().leaves().runs(&[], &guard).collect();
        let total: usize = leaves.iter().map(RunRef::len).sum();
        let mut shards = Vec::new();
        let mut lower = Bound::Unbounded;
        let (mut entries, mut seen) = (0, 0);
        for leaf in leaves {
            let here = leaf.len();
            (entries, seen) = (entries + here, seen + here);
            // The shard ends where its share of the whole is reached; the last one at the end.
            let Some(high) = leaf.high() else { break };
            if entries > 0
                && seen.saturating_mul(at_most) >= total * (shards.len() + 1)
                && seen < total
            {
                let fence = Bytes::copy_from_slice(high);
                let upper = Bound::Excluded(fence.clone());
                shards.push(Shard {
                    range: (std::mem::replace(&mut lower, Bound::Included(fence)), upper),
                    entries: std::mem::take(&mut entries),
                });
            }
        }
        shards.push(Shard {
            range: (lower, Bound::Unbounded),
            entries,
        });
        shards
    }

    /// About how many keys lie in the bounds, for planners. O(log n).
    ///
    /// Up to some 200 entries are counted; of what lies behind only the other end is looked at, and what is between is inferred from
    /// how full the first leaves and lanes are. Keys that were deleted or removed a moment ago count.
    pub fn range_count_estimate<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> usize {
        let guard = reclaim::pin();
        let leaves = self.table().leaves();
        let (lower, upper) = (owned(bounds.start_bound()), owned(bounds.end_bound()));
        let first = match &lower {
            Bound::Included(key) | Bound::Excluded(key) => key.as_ref(),
            Bound::Unbounded => &[],
        };
        let (last, side) = match &upper {
            Bound::Included(key) | Bound::Excluded(key) => (key.as_ref(), Side::At),
            Bound::Unbounded => (&[][..], Side::Last),
        };
        if side == Side::At && last < first {
            return 0;
        }
        let ends = Ends { first, last, side };
        leaves.distance(
            ends,
            &|run| after(&lower, run),
            &|run| before(&upper, run),
            &guard,
        )
    }
}

/// The keys at the two ends of a range.
#[derive(Clone, Copy)]
struct Ends<'k> {
    first: &'k [u8],
    last: &'k [u8],
    /// [`Side::Last`]: the range has no end.
    side: Side,
}

impl<S: Slot> Level<'_, S> {
    /// About how many slots lie from place `from` of the run of the first key to place `to` of that of the last.
    fn distance<'g>(
        &self,
        ends: Ends<'_>,
        from: &dyn Fn(RunRef<'g, S>) -> usize,
        to: &dyn Fn(RunRef<'g, S>) -> usize,
        guard: &'g Guard,
    ) -> usize {
        let (_, Some(right)) = self.find(ends.last, ends.side, guard) else {
            return 0;
        };
        let lane = self.lanes.above(self.above);
        let lane = lane.filter(|lane| lane.first.load(guard).is_some());
        let (mut slots, mut runs, mut skipped) = (0, 0, 0);
        for run in self.runs(ends.first, guard) {
            let start = if runs == 0 { from(run) } else { 0 };
            if run
                .high()
                .is_none_or(|high| ends.side == Side::At && ends.last < high)
            {
                return (slots + to(run)).saturating_sub(start + skipped);
            }
            slots += run.len();
            skipped += start;
            runs += 1;
            if lane.is_some() && runs == SAMPLES {
                break;
            }
        }
        let Some(lane) = lane else { return slots };
        let place = |run: RunRef<'g, LaneSlot>, key: &[u8], side| match (side, run.search(key)) {
            (Side::Last, _) => run.len(),
            (_, Ok(at)) => at + 1,
            (_, Err(at)) => at,
        };
        let apart = lane.distance(
            ends,
            &|run| place(run, ends.first, Side::At),
            &|run| place(run, ends.last, ends.side),
            guard,
        );
        // Whole runs, those that were seen and those that were not, and the beginning of the last one.
        (apart.max(runs) * slots / runs + to(right)).saturating_sub(skipped)
    }
}
