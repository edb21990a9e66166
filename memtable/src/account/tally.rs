//! The sums of a stripe, kept apart by segment as long as a rollback can part them.

use crate::clock::View;
use crate::holes::Hole;
use crate::version::{Delta, Place};
use std::ptr;

/// Older sums beyond this many are looked through for neighbours to merge.
const SUMS: usize = 8;

/// Bytes of an older sum.
pub(crate) const OLDER_SUM: usize = size_of::<OlderSum>();

/// Stands for a segment before all others. No rollback reaches it, so what lies there is not kept among the sums.
const ALWAYS: u64 = 0;

/// The sums of one stretch of segments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) len: i64,
    pub(super) size: i64,
}

/// Sums of older segments, newest first. Immutable.
pub(super) struct OlderSum {
    pub(super) sum: Sum,
    pub(super) older: *mut OlderSum,
    /// Length and size of this one and all older ones together.
    total: (i64, i64),
}

/// What a stripe adds up to.
#[derive(Clone, Copy)]
pub(super) struct Tally {
    pub(super) newest: Sum,
    pub(super) older: *mut OlderSum,
    /// The newest segment in which something was booked that counts in an older one.
    pub(super) moved: u64,
    /// Length and size of what no rollback takes away.
    pub(super) always: (i64, i64),
}

impl Sum {
    fn at(segment: u64, len: i64, size: i64) -> Sum {
        Sum {
            first: segment,
            last: segment,
            len,
            size,
        }
    }

    #[inline]
    pub(super) fn covers(&self, segment: u64) -> bool {
        self.first <= segment && segment <= self.last
    }

    /// What it adds to a total at or below `upto`; `None` if only a part of it does.
    fn counted(&self, view: &View, upto: u64) -> Option<(i64, i64)> {
        if self.first > upto {
            return Some((0, 0));
        }
        let rolled_back = |segment| view.rolled_back(segment).map(|hole| hole.at());
        let (first, last) = (rolled_back(self.first), rolled_back(self.last));
        if first != last || self.last > upto {
            return None;
        }
        Some(match first {
            Some(_) => (0, 0),
            None => (self.len, self.size),
        })
    }
}

/// What a delta adds, by segment.
pub(super) struct Parts {
    /// To the segment of the version itself.
    pub(super) here: Sum,
    /// To older ones: only where persistent bits come or go.
    pub(super) elsewhere: [Option<Sum>; 2],
}

impl Parts {
    #[inline]
    pub(super) fn of(delta: Delta, here: u64) -> Parts {
        let mut parts = Parts {
            here: Sum::at(here, 0, delta.value),
            elsewhere: [None, None],
        };
        if delta.minus != delta.plus {
            let weight = i64::from(delta.key_len);
            for (place, sign, elsewhere) in [(delta.minus, -1, 0), (delta.plus, 1, 1)] {
                let segment = match place {
                    Place::Nowhere => continue,
                    Place::Here => {
                        parts.here.len += sign;
                        parts.here.size += sign * weight;
                        continue;
                    }
                    Place::Always => ALWAYS,
                    Place::Segment(segment) => segment,
                };
                parts.elsewhere[elsewhere] = Some(Sum::at(segment, sign, sign * weight));
            }
        }
        parts
    }

    /// Those that the rollbacks of `view` leave.
    pub(super) fn standing(&self, view: &View) -> impl Iterator<Item = Sum> {
        let all = [Some(self.here), self.elsewhere[0], self.elsewhere[1]];
        let discards = |sum: &Sum| view.discards(sum.first);
        all.into_iter().flatten().filter(move |sum| !discards(sum))
    }
}

impl Tally {
    /// Adds what a version of `segment` adds, if all of it counts in the newest sum.
    #[inline]
    pub(super) fn add_here(&mut self, delta: &Delta, segment: u64) -> bool {
        match delta.here() {
            Some((len, size)) if self.newest.covers(segment) => {
                self.newest.len += len;
                self.newest.size += size;
                true
            }
            _ => false,
        }
    }

    /// Adds what a version of `segment` adds to an older one.
    pub(super) fn add_moved(
        &mut self,
        part: Sum,
        segment: u64,
        view: &View,
        replaced: &mut Vec<*mut OlderSum>,
    ) {
        self.moved = self.moved.max(segment);
        match part.first {
            ALWAYS => {
                self.always.0 += part.len;
                self.always.1 += part.size;
            }
            _ => self.add(part, view, replaced),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, part: Sum, view: &View, replaced: &mut Vec<*mut OlderSum>) {
        let newest = &mut self.newest;
        if newest.covers(part.first) {
            newest.len += part.len;
            newest.size += part.size;
        } else {
            self.add_elsewhere(part, view, replaced);
        }
    }

    #[cold]
    fn add_elsewhere(&mut self, part: Sum, view: &View, replaced: &mut Vec<*mut OlderSum>) {
        let newest = &mut self.newest;
        if newest.last < part.first {
            if newest.len != 0 || newest.size != 0 {
                self.older = cons(*newest, self.older);
                self.merge(2 * SUMS, view, replaced);
            }
            self.newest = part;
        } else {
            self.add_older(part, replaced);
        }
    }

    pub(super) fn sums(&self) -> impl Iterator<Item = *mut OlderSum> {
        let some = |sum: *mut OlderSum| (!sum.is_null()).then_some(sum);
        // SAFETY: older sums are retired only when no current slot leads to them, and the caller has a guard or the stripe.
        let older = move |&sum: &*mut OlderSum| some(unsafe { (*sum).older });
        std::iter::successors(some(self.older), older)
    }

    /// Adds to the sum of an older segment, by copying what lies above it.
    fn add_older(&mut self, part: Sum, replaced: &mut Vec<*mut OlderSum>) {
        let mut above = Vec::new();
        let mut rest = self.older;
        let mut target = part;
        // SAFETY: as in `sums`.
        while let Some(older) = unsafe { rest.as_ref() } {
            if older.sum.last < part.first {
                break;
            }
            replaced.push(rest);
            rest = older.older;
            if older.sum.first <= part.first {
                target = Sum {
                    len: older.sum.len + part.len,
                    size: older.sum.size + part.size,
                    ..older.sum
                };
                break;
            }
            above.push(older.sum);
        }
        self.older = above
            .into_iter()
            .rev()
            .fold(cons(target, rest), |older, sum| cons(sum, older));
    }

    /// Merges neighbours that nothing can part any more, among so many of the newest.
    pub(super) fn merge(&mut self, among: usize, view: &View, replaced: &mut Vec<*mut OlderSum>) {
        let nodes: Vec<_> = self.sums().take(among).collect();
        if nodes.len() < SUMS {
            return;
        }
        // SAFETY: as in `sums`.
        let sums = nodes.iter().map(|node| unsafe { (**node).sum });
        let mut merged: Vec<Sum> = Vec::new();
        for (depth, older) in sums.enumerate() {
            match merged.last_mut() {
                // The newest stay apart for the `stats()` that are under way.
                Some(newer) if depth > 3 && never_parted(&older, newer, view) => {
                    *newer = Sum {
                        first: older.first,
                        last: newer.last,
                        len: older.len + newer.len,
                        size: older.size + newer.size,
                    };
                }
                _ => merged.push(older),
            }
        }
        if merged.len() < nodes.len() {
            let rest = nodes
                .last()
                // SAFETY: as in `sums`.
                .map_or(ptr::null_mut(), |last| unsafe { (**last).older });
            self.older = merged
                .into_iter()
                .rev()
                .fold(rest, |older, sum| cons(sum, older));
            replaced.extend(nodes);
        }
    }

    /// Takes out the sums that lie in holes, which are given in their order and lie apart. False if there were none.
    pub(super) fn drop_holes(
        &mut self,
        holes: &[&Hole],
        replaced: &mut Vec<*mut OlderSum>,
    ) -> bool {
        let Some(oldest) = holes.first() else {
            return false;
        };
        let inside = |sum: &Sum| {
            let after = holes.partition_point(|hole| hole.first <= sum.first);
            let hole = after.checked_sub(1).map(|before| holes[before]);
            hole.is_some_and(|hole| hole.contains(sum.first) && hole.contains(sum.last))
        };
        // SAFETY: as in `sums`.
        let reaches = |&node: &*mut OlderSum| oldest.first <= unsafe { (*node).sum.last };
        // They lie in order, the newest first.
        let nodes: Vec<_> = self.sums().take_while(reaches).collect();
        // SAFETY: as in `sums`.
        let mut sums: Vec<_> = nodes.iter().map(|node| unsafe { (**node).sum }).collect();
        sums.retain(|sum| !inside(sum));
        if inside(&self.newest) {
            (self.newest.len, self.newest.size) = (0, 0);
        } else if sums.len() == nodes.len() {
            return false;
        }
        let rest = self.sums().nth(nodes.len()).unwrap_or(ptr::null_mut());
        self.older = sums
            .into_iter()
            .rev()
            .fold(rest, |older, sum| cons(sum, older));
        replaced.extend(nodes);
        true
    }

    /// The total at or below `upto` that is in no hole; `None` if sums were merged across `upto` or the edge of a hole, or if
    /// a write above `upto` was booked in part below.
    pub(super) fn total(&self, view: &View, upto: u64) -> Option<(i64, i64)> {
        if self.moved > upto {
            return None;
        }
        let newest = self.newest.counted(view, upto)?;
        let mut total = (self.always.0 + newest.0, self.always.1 + newest.1);
        // What lies below all holes counts as a whole.
        let settled = view.holes.oldest().unwrap_or(u64::MAX);
        for node in self.sums() {
            // SAFETY: as in `sums`.
            let OlderSum {
                sum, total: all, ..
            } = unsafe { &*node };
            let is_settled = sum.last < settled && sum.last <= upto;
            let (len, size) = match is_settled {
                true => *all,
                false => sum.counted(view, upto)?,
            };
            total = (total.0 + len, total.1 + size);
            if is_settled {
                break;
            }
        }
        Some(total)
    }

    /// Frees the older sums.
    ///
    /// # Safety
    /// Nobody else can reach them, and none was freed before.
    pub(super) unsafe fn destroy(self) {
        for sum in self.sums().collect::<Vec<_>>() {
            // SAFETY: by the contract.
            unsafe { destroy_sum(sum.cast()) };
        }
    }
}

/// Whether no rollback can take back one of two neighbouring sums without the other.
fn never_parted(older: &Sum, newer: &Sum, view: &View) -> bool {
    !view.mark_between(older.last, newer.first) && !view.holes.do_part(older.first, newer.last)
}

fn cons(sum: Sum, older: *mut OlderSum) -> *mut OlderSum {
    // SAFETY: as in `sums`.
    let (len, size) = unsafe { older.as_ref() }.map_or((0, 0), |older| older.total);
    let total = (len + sum.len, size + sum.size);
    Box::into_raw(Box::new(OlderSum { sum, older, total }))
}

/// # Safety
/// `object` is a boxed [`OlderSum`] that nobody can reach any more, and it was not freed before.
pub(super) unsafe fn destroy_sum(object: *mut u8) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(object.cast::<OlderSum>()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holes::Holes;
    use crate::instants::Instants;
    use crate::marks::Marks;

    /// An insert of segment 3 and a removal of segment 4 add up to nothing, but not at the end of segment 3.
    #[test]
    fn a_merged_stretch_that_adds_up_to_nothing_has_no_total_inside_of_it() {
        let merged = Sum {
            first: 3,
            last: 4,
            ..Sum::default()
        };
        let tally = Tally {
            newest: Sum::at(6, 1, 10),
            older: cons(merged, ptr::null_mut()),
            moved: 0,
            always: (0, 0),
        };
        let view = View {
            segment: 7,
            turns: 0,
            marks: Marks::NONE,
            instants: Instants::NONE,
            holes: Holes::NONE,
            frozen: false,
        };
        let totals = [2, 3, 4, 5, 6].map(|upto| tally.total(&view, upto));
        // SAFETY: made above and shared with nobody.
        unsafe { tally.destroy() };
        let nothing = Some((0, 0));
        assert_eq!(totals, [nothing, None, nothing, nothing, Some((1, 10))]);
    }

    #[test]
    fn holes_that_are_dropped_together_take_the_sums_that_lie_in_any_of_them() {
        let hole = |first, last| Hole {
            first,
            last,
            record: crate::debt::HoleRecord::new(last + 1),
        };
        // In the order in which they may be cut: some lie in later ones.
        let holes = [(2, 2), (5, 6), (4, 9), (12, 12), (12, 14), (15, 15)];
        let holes = holes.map(|(first, last)| hole(first, last));
        let holes = crate::holes::outermost(&holes);
        let mut tally = Tally {
            newest: Sum::at(17, 1, 1),
            older: (1..17).fold(ptr::null_mut(), |older, segment| {
                cons(Sum::at(segment, 1, 1), older)
            }),
            moved: 0,
            always: (0, 0),
        };
        let mut replaced = Vec::new();
        assert!(tally.drop_holes(&holes, &mut replaced));
        // SAFETY: all were made above.
        let left = tally.sums().map(|node| unsafe { (*node).sum.first });
        let left: Vec<u64> = left.collect();
        assert_eq!(left, [16, 11, 10, 3, 1]);
        assert_eq!((tally.newest.len, replaced.len()), (1, 15));
        assert!(!tally.drop_holes(&holes, &mut replaced));
        // SAFETY: made above and shared with nobody.
        unsafe {
            tally.destroy();
            replaced.into_iter().for_each(|sum| destroy_sum(sum.cast()));
        }
    }
}
