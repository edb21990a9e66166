//! Holes: stretches of time that were rolled back, and are not cleared away yet.
//!
//! They are a part of the [`View`](crate::clock::View), in the order in which they were cut, and so in that of their ends. Two of them lie apart, or
//! the later one encloses the other: a mark that is rolled back to is older or younger than all of an earlier hole.

use crate::debt::HoleRecord;
use crate::sync::Arc;
use std::cmp::Reverse;

/// A stretch of segments that was rolled back.
#[derive(Clone)]
pub(crate) struct Hole {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) record: Arc<HoleRecord>,
}

impl Hole {
    /// The segment that began with the rollback: snapshots below do not see the hole.
    pub(crate) fn at(&self) -> u64 {
        self.last + 1
    }

    pub(crate) fn contains(&self, segment: u64) -> bool {
        self.first <= segment && segment <= self.last
    }
}

/// Those that no other one encloses, in the order of their segments.
pub(crate) fn outermost(holes: &[Hole]) -> Vec<&Hole> {
    let mut outermost: Vec<&Hole> = holes.iter().collect();
    outermost.sort_unstable_by_key(|hole| (hole.first, Reverse(hole.last)));
    outermost.dedup_by(|later, kept| kept.contains(later.first));
    outermost
}

/// So many holes at most are copied where one is added or goes.
const CHUNK: usize = 64;

/// All holes of a view, in chunks that it shares with the views before and after it.
#[derive(Clone)]
pub(crate) struct Holes(Option<Arc<Chunks>>);

struct Chunks {
    placed: Vec<Placed>,
    len: usize,
}

/// A chunk among others.
struct Placed {
    chunk: Chunk,
    /// The least `first` of its holes and of those that were cut later.
    reach: u64,
}

/// Some holes that were cut one after another, at least one.
type Chunk = Arc<Vec<Laid>>;

/// A hole among those of its chunk.
struct Laid {
    hole: Hole,
    /// The least `first` of it and of those in the chunk that were cut later.
    reach: u64,
}

impl Chunks {
    /// As [`Holes::reaching_into`], which answers without a call where there are none.
    fn reaching_into(&self, first: u64, last: u64) -> Option<&Hole> {
        let placed = &self.placed[..];
        let ends_before = |laid: &Laid| laid.hole.last < first;
        let all_before =
            placed.partition_point(|placed| placed.chunk.last().is_none_or(ends_before));
        let mut rest = placed[all_before..].iter();
        loop {
            let placed = rest.next().filter(|placed| placed.reach <= last)?;
            let later = &placed.chunk[placed.chunk.partition_point(ends_before)..];
            if later.first().is_some_and(|laid| laid.reach <= last) {
                let mut holes = later.iter().map(|laid| &laid.hole);
                return holes.find(|hole| hole.first <= last);
            }
        }
    }
}

impl Holes {
    pub(crate) const NONE: Holes = Holes(None);

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chunks| chunks.len)
    }

    fn placed(&self) -> &[Placed] {
        self.0.as_ref().map_or(&[], |chunks| &chunks.placed)
    }

    /// Bytes that go with them when others take their place: what those do not share.
    pub(crate) fn bytes_apart(&self, next: &Holes) -> usize {
        let chunks_of = |holes: &Holes| holes.0.as_ref().map(Arc::as_ptr);
        if chunks_of(self) == chunks_of(next) {
            return 0;
        }
        let began = |placed: &Placed| placed.chunk.first().map(|laid| laid.hole.at());
        let is_apart = |placed: &&Placed| {
            let others = next.placed();
            let same = others.partition_point(|other| began(other) < began(placed));
            let same = others.get(same);
            same.is_none_or(|same| !Arc::ptr_eq(&same.chunk, &placed.chunk))
        };
        let apart = self.placed().iter().filter(is_apart);
        let apart = apart.map(|placed| placed.chunk.capacity() * size_of::<Laid>());
        size_of_val(self.placed()) + apart.sum::<usize>()
    }

    /// The oldest segment that one of them begins with.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.placed().first().map(|placed| placed.reach)
    }

    /// The hole that took `segment` back first: the smallest one around it.
    #[inline]
    pub(crate) fn around(&self, segment: u64) -> Option<&Hole> {
        self.reaching_into(segment, segment)
    }

    /// Whether one of them contains a part of a stretch of segments and not all of it.
    pub(crate) fn do_part(&self, first: u64, last: u64) -> bool {
        // All later ones enclose it or lie apart from it.
        let hole = self.reaching_into(first, last);
        hole.is_some_and(|hole| !hole.contains(first) || !hole.contains(last))
    }

    /// The first that was cut of those that reach into a stretch of segments.
    #[inline]
    fn reaching_into(&self, first: u64, last: u64) -> Option<&Hole> {
        self.0.as_ref()?.reaching_into(first, last)
    }

    /// With one that is cut now.
    pub(crate) fn with(&self, hole: Hole) -> Holes {
        let mut chunks = Vec::with_capacity(self.placed().len() + 1);
        chunks.extend(self.placed().iter().map(|placed| Arc::clone(&placed.chunk)));
        add(&mut chunks, [hole].into_iter());
        Holes::of_chunks(chunks)
    }

    /// The one that has this record.
    pub(crate) fn of(&self, record: &HoleRecord) -> Option<&Hole> {
        let is_older = |laid: &Laid| laid.hole.at() < record.at;
        let placed = self.placed();
        let chunk = placed.partition_point(|placed| placed.chunk.last().is_none_or(is_older));
        let chunk = &placed.get(chunk)?.chunk;
        let hole = &chunk.get(chunk.partition_point(is_older))?.hole;
        (hole.at() == record.at).then_some(hole)
    }

    /// Without those that have these records.
    pub(crate) fn without(&self, records: &[Arc<HoleRecord>]) -> Holes {
        let mut gone: Vec<u64> = records.iter().map(|record| record.at).collect();
        gone.sort_unstable();
        let stays = |laid: &&Laid| gone.binary_search(&laid.hole.at()).is_err();
        let mut chunks = Vec::with_capacity(self.placed().len());
        for Placed { chunk, .. } in self.placed() {
            if chunk.iter().all(|laid| stays(&laid)) {
                chunks.push(Arc::clone(chunk));
            } else {
                let left = chunk.iter().filter(stays).map(|laid| laid.hole.clone());
                add(&mut chunks, left.collect::<Vec<_>>().into_iter());
            }
        }
        Holes::of_chunks(chunks)
    }

    fn of_chunks(chunks: Vec<Chunk>) -> Holes {
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut reach = u64::MAX;
        let placed = chunks.into_iter().rev().map(|chunk| {
            reach = chunk.first().map_or(reach, |laid| reach.min(laid.reach));
            Placed { chunk, reach }
        });
        let mut placed: Vec<_> = placed.collect();
        placed.reverse();
        Holes((len != 0).then(|| Arc::new(Chunks { placed, len })))
    }
}

/// Adds holes that were cut later to the last chunk where it has room for them, else as a chunk of their own.
fn add(chunks: &mut Vec<Chunk>, later: impl DoubleEndedIterator<Item = Hole> + ExactSizeIterator) {
    match chunks.last_mut() {
        _ if later.len() == 0 => {}
        Some(last) if last.len() + later.len() <= CHUNK => {
            let earlier = last.iter().map(|laid| laid.hole.clone());
            *last = chunk_of(earlier.chain(later));
        }
        _ => chunks.push(chunk_of(later)),
    }
}

fn chunk_of(holes: impl DoubleEndedIterator<Item = Hole>) -> Chunk {
    let mut reach = u64::MAX;
    let laid = holes.rev().map(|hole| {
        reach = reach.min(hole.first);
        Laid { hole, reach }
    });
    let mut laid: Vec<_> = laid.collect();
    laid.reverse();
    Arc::new(laid)
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    impl Holes {
        /// In the order in which they were cut.
        fn iter(&self) -> impl Iterator<Item = &Hole> {
            let laid = self.placed().iter().flat_map(|placed| placed.chunk.iter());
            laid.map(|laid| &laid.hole)
        }
    }

    /// Enough for several chunks.
    const CUTS: u64 = 1000;

    /// Marks are set and rolled back to at random, as stages and savepoints are.
    fn cut_at_random(random: &mut SmallRng) -> Holes {
        let mut marks = vec![1];
        let mut holes = Holes::NONE;
        for segment in 2..CUTS {
            match random.random_range(0..4) {
                0 | 1 => marks.push(segment + 1),
                2 => {
                    let kept = random.random_range(0..marks.len());
                    holes = holes.with(Hole {
                        first: marks[kept],
                        last: segment,
                        record: HoleRecord::new(segment + 1),
                    });
                    marks.truncate(kept);
                    marks.push(segment + 1);
                }
                _ => {
                    let forgotten = random.random_range(0..100);
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
        let (mut seen, mut parted) = (0, 0);
        for _ in 0..20 {
            let holes = cut_at_random(&mut random);
            for segment in 0..CUTS + 10 {
                let first = holes.iter().find(|hole| hole.contains(segment));
                let around = holes.around(segment);
                assert_eq!(
                    around.map(|hole| hole.at()),
                    first.map(|hole| hole.at()),
                    "{segment}"
                );
                seen += usize::from(around.is_some());
                let last = segment + random.random_range(0..50);
                let parts = |hole: &Hole| {
                    let inside = (segment..=last).filter(|&one| hole.contains(one)).count() as u64;
                    inside != 0 && inside != last - segment + 1
                };
                let is_parted = holes.do_part(segment, last);
                assert_eq!(is_parted, holes.iter().any(parts), "{segment} to {last}");
                parted += usize::from(is_parted);
            }
            for hole in holes.iter() {
                let found = holes.of(&hole.record).map(|found| found.at());
                assert_eq!(found, Some(hole.at()));
            }
            assert_eq!(holes.oldest(), holes.iter().map(|hole| hole.first).min());
        }
        assert!(seen > 1000 && parted > 1000, "{seen}, {parted}");
    }

    #[test]
    fn one_more_or_less_copies_a_chunk() {
        const MANY: u64 = 100 * CHUNK as u64;
        let hole = |n| Hole {
            first: 2 * n,
            last: 2 * n,
            record: HoleRecord::new(2 * n + 1),
        };
        let before = (0..MANY).fold(Holes::NONE, |holes, n| holes.with(hole(n)));
        let shared = |after: &Holes| {
            let is_shared = |placed: &&Placed| Arc::strong_count(&placed.chunk) > 1;
            after.placed().iter().filter(is_shared).count()
        };
        let more = before.with(hole(MANY));
        assert_eq!((more.len(), shared(&more)), (before.len() + 1, 100));
        let apart = before.bytes_apart(&more);
        assert!((1..8000).contains(&apart), "{apart}");
        assert_eq!(more.bytes_apart(&more.clone()), 0);
        drop(more);
        let gone = before.iter().nth(1000).map(|hole| hole.record.clone());
        let gone = gone.expect("there are more");
        let less = before.without(std::slice::from_ref(&gone));
        assert!(before.of(&gone).is_some() && less.of(&gone).is_none());
        assert_eq!((less.len(), shared(&less)), (before.len() - 1, 99));
        let apart = before.bytes_apart(&less);
        assert!((1..8000).contains(&apart), "{apart}");
        let all: Vec<_> = before.iter().map(|hole| hole.record.clone()).collect();
        assert!(before.without(&all).is_empty());
    }
}
