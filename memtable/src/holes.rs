//! Holes: stretches of time that were rolled back, and are not cleared away yet.
//!
//! They are a part of the [`View`](crate::clock::View), in the order in which they were cut, and so in that of their ends. Two of them lie apart, or
//! the later one encloses the other: a mark that is rolled back to is older or younger than all of an earlier hole.

use crate::debt::HoleRecord;
use crate::sync::Arc;

/// A stretch of segments that was rolled back.
#[derive(Clone)]
pub(crate) struct Hole {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The segment that began with the rollback: snapshots below do not see the hole.
    pub(crate) at: u64,
    pub(crate) record: Arc<HoleRecord>,
}

impl Hole {
    pub(crate) fn contains(&self, segment: u64) -> bool {
        self.first <= segment && segment <= self.last
    }
}

/// All holes of a view.
#[derive(Clone)]
pub(crate) struct Holes(Option<Arc<Vec<Laid>>>);

/// A hole among others.
struct Laid {
    hole: Hole,
    /// The least `first` of it and of those that were cut later.
    reach: u64,
}

impl Holes {
    pub(crate) const NONE: Holes = Holes(None);

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.laid().len()
    }

    fn laid(&self) -> &[Laid] {
        self.0.as_ref().map_or(&[], |holes| holes)
    }

    /// Bytes that go with them, if no other view has the same.
    pub(crate) fn own_bytes(&self) -> usize {
        match &self.0 {
            Some(holes) if Arc::strong_count(holes) == 1 => holes.capacity() * size_of::<Laid>(),
            _ => 0,
        }
    }

    /// In the order in which they were cut.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Hole> {
        self.laid().iter().map(|laid| &laid.hole)
    }

    /// The oldest segment that one of them begins with.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.laid().first().map(|laid| laid.reach)
    }

    /// The hole that took `segment` back first: the smallest one around it.
    #[inline]
    pub(crate) fn around(&self, segment: u64) -> Option<&Hole> {
        let laid = &self.0.as_ref()?[..];
        let ended_before = laid.partition_point(|laid| laid.hole.last < segment);
        let rest = &laid[ended_before..];
        if segment < rest.first()?.reach {
            return None;
        }
        let mut holes = rest.iter().map(|laid| &laid.hole);
        holes.find(|hole| hole.first <= segment)
    }

    /// With one that is cut now.
    pub(crate) fn with(&self, hole: Hole) -> Holes {
        let mut laid = Vec::with_capacity(self.laid().len() + 1);
        laid.extend(self.laid().iter().map(|older| Laid {
            hole: older.hole.clone(),
            reach: older.reach.min(hole.first),
        }));
        let reach = hole.first;
        laid.push(Laid { hole, reach });
        Holes(Some(Arc::new(laid)))
    }

    /// The one that has this record.
    pub(crate) fn of(&self, record: &Arc<HoleRecord>) -> Option<&Hole> {
        self.iter().find(|hole| Arc::ptr_eq(&hole.record, record))
    }

    /// Without those that have these records.
    pub(crate) fn without(&self, records: &[Arc<HoleRecord>]) -> Holes {
        let mut gone: Vec<*const HoleRecord> =
            records.iter().map(|gone| &raw const **gone).collect();
        gone.sort_unstable();
        let others = self
            .iter()
            .filter(|hole| gone.binary_search(&(&raw const *hole.record)).is_err());
        Holes::laid_out(others.cloned().collect())
    }

    fn laid_out(holes: Vec<Hole>) -> Holes {
        let mut reach = u64::MAX;
        let laid = holes.into_iter().rev().map(|hole| {
            reach = reach.min(hole.first);
            Laid { hole, reach }
        });
        let mut laid: Vec<_> = laid.collect();
        laid.reverse();
        Holes((!laid.is_empty()).then(|| Arc::new(laid)))
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    /// Marks are set and rolled back to at random, as stages and savepoints are.
    fn cut_at_random(random: &mut SmallRng) -> Holes {
        let mut marks = vec![1];
        let mut holes = Holes::NONE;
        for segment in 2..200 {
            match random.random_range(0..4) {
                0 | 1 => marks.push(segment + 1),
                2 => {
                    let kept = random.random_range(0..marks.len());
                    holes = holes.with(Hole {
                        first: marks[kept],
                        last: segment,
                        at: segment + 1,
                        record: HoleRecord::new(),
                    });
                    marks.truncate(kept);
                    marks.push(segment + 1);
                }
                _ => {
                    let forgotten = random.random_range(0..10);
                    let record = holes.iter().nth(forgotten).map(|hole| hole.record.clone());
                    if let Some(record) = record {
                        holes = holes.without(&[record]);
                    }
                }
            }
        }
        holes
    }

    #[test]
    fn the_first_that_took_a_segment_back_is_the_first_of_all_that_contain_it() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut seen = 0;
        for _ in 0..200 {
            let holes = cut_at_random(&mut random);
            for segment in 0..210 {
                let first = holes.iter().find(|hole| hole.contains(segment));
                let around = holes.around(segment);
                assert_eq!(
                    around.map(|hole| hole.at),
                    first.map(|hole| hole.at),
                    "{segment}"
                );
                seen += usize::from(around.is_some());
            }
            assert_eq!(holes.oldest(), holes.iter().map(|hole| hole.first).min());
        }
        assert!(seen > 1000, "{seen}");
    }
}
