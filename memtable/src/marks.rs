//! Marks: the instants to which the table can return.
//!
//! Each open stage and each live savepoint is a mark, and together they are one stack, innermost on top. The stack is immutable and a
//! part of the [`View`](crate::clock::View), so that it changes with the clock, in one step. Older views share what lies below.
//!
//! A mark begins a segment, its `first`: what is stamped below was there before, and is kept while the mark is in the stack, since
//! a rollback would bring it back. A savepoint is told from all others by its *anchor*, not by its mark: after a rollback to it
//! another mark, with a younger `first` and a list of its own, stands in its place (M1).
//!
//! When the last handle of a savepoint is dropped its mark has *lapsed*: nobody returns to it any more, and what lies below is not kept for it. But
//! somebody may have returned to it before, and who holds the view of before that still takes for hidden what came back. So a mark that was
//! returned to never lapses (M2): it says so before the rollback is over, and the handle by which it was done is dropped afterwards.
//!
//! Writes behind marks are numbered, so that those of a stage can be shown in their [`Order`]. The numbers begin anew with the first mark of
//! an empty stack; what was written before that has none that counts.
//!
//! A savepoint that was let go may lie under marks that are needed, and to take it out is to make all marks above it anew. So it
//! is only flagged at first, which is enough for who asks what has to be kept, and is taken out when it is on top or when every
//! second mark is one of these: a constant share for each that was let go, in whatever order. A writer who went by many counts these
//! once more, as with [`instants`](crate::instants).

use crate::debt::Written;
use crate::mutant::planted;
use crate::stack::{self, Stack, Staked};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::num::NonZeroU64;

/// An instant to which the table can return.
pub(crate) struct Mark {
    /// The segment that it began.
    pub(crate) first: u64,
    /// The entries that were written since, and before the mark inside of it.
    pub(crate) written: Written,
    kind: Kind,
    orders: Arc<Orders>,
    /// The newest order that was given out before it.
    before: Order,
}

/// The place of a write among those behind marks: the newer, the greater. Of two writes of one key the order is that in which they took
/// effect, and so it is of two of which one returned before the other began.
pub(crate) type Order = NonZeroU64;

/// Of a write that has no place.
pub(crate) const UNORDERED: Order = NonZeroU64::MIN;

/// Gives out orders, from the first mark of a stack on.
struct Orders {
    began: u64,
    newest: AtomicU64,
}

impl Orders {
    fn newest(&self) -> Order {
        Order::new(self.newest.load(Ordering::Relaxed)).unwrap_or(UNORDERED)
    }
}

enum Kind {
    Stage,
    Savepoint {
        anchor: Arc<Anchor>,
        /// The table has returned to it: another mark stands in its place.
        returned_to: AtomicBool,
    },
}

/// What the handles of a savepoint and its mark have in common.
pub(crate) struct Anchor {
    /// No handle is left.
    let_go: AtomicBool,
}

impl Anchor {
    pub(crate) fn new() -> Arc<Anchor> {
        Arc::new(Anchor {
            let_go: AtomicBool::new(false),
        })
    }

    /// Once, by the last of the handles.
    pub(crate) fn let_go(&self) {
        self.let_go.store(true, Ordering::Release);
    }
}

impl Mark {
    /// Bytes of one in a stack, about.
    pub(crate) const ALLOCATED: usize =
        size_of::<Mark>() + size_of::<Laid>() + 6 * size_of::<usize>();

    /// A stage that begins inside of `outside`.
    pub(crate) fn stage(first: u64, outside: &Marks) -> Arc<Mark> {
        Mark::new(first, outside, Kind::Stage)
    }

    /// A savepoint that begins inside of `outside`.
    pub(crate) fn savepoint(first: u64, outside: &Marks, anchor: &Arc<Anchor>) -> Arc<Mark> {
        let kind = Kind::Savepoint {
            anchor: anchor.clone(),
            returned_to: AtomicBool::new(false),
        };
        Mark::new(first, outside, kind)
    }

    fn new(first: u64, outside: &Marks, kind: Kind) -> Arc<Mark> {
        let orders = match outside.iter().next() {
            Some(outer) => outer.orders.clone(),
            None => Arc::new(Orders {
                began: first,
                newest: AtomicU64::new(UNORDERED.get()),
            }),
        };
        Arc::new(Mark {
            first,
            written: Written::new(),
            kind,
            before: orders.newest(),
            orders,
        })
    }

    /// Whether content of that order was written since.
    pub(crate) fn is_before(&self, order: Order) -> bool {
        self.before < order
    }

    pub(crate) fn is_stage(&self) -> bool {
        matches!(self.kind, Kind::Stage)
    }

    pub(crate) fn is_anchored_by(&self, anchor: &Arc<Anchor>) -> bool {
        matches!(&self.kind, Kind::Savepoint { anchor: own, .. } if Arc::ptr_eq(own, anchor))
    }

    /// The table has returned to it. By a handle of the savepoint, so before that is let go.
    pub(crate) fn note_return(&self) {
        if let Kind::Savepoint { returned_to, .. } = &self.kind {
            // Relaxed: it is made visible by letting go.
            returned_to.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nobody has returned to it, and nobody can any more. Once true, for ever.
    pub(crate) fn has_lapsed(&self) -> bool {
        match &self.kind {
            Kind::Stage => false,
            Kind::Savepoint {
                anchor,
                returned_to,
            } => {
                let let_go = anchor.let_go.load(Ordering::Acquire);
                let returned_to =
                    returned_to.load(Ordering::Relaxed) && !planted("return-forgotten");
                let_go && !returned_to || planted("savepoint-not-kept")
            }
        }
    }
}

/// The stack of marks.
#[derive(Clone)]
pub(crate) struct Marks(Stack<Laid>);

/// A mark in a stack.
struct Laid {
    mark: Arc<Mark>,
    /// The segment that the outermost stage from here on began.
    outermost_stage: Option<u64>,
}

impl Staked for Laid {
    fn segment(&self) -> u64 {
        self.mark.first
    }
}

impl Marks {
    pub(crate) const NONE: Marks = Marks(Stack::EMPTY);

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn depth(&self) -> usize {
        self.0.depth()
    }

    /// From the innermost to the outermost.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Mark>> {
        self.0.iter().map(|laid| &laid.mark)
    }

    pub(crate) fn innermost_stage(&self) -> Option<&Arc<Mark>> {
        self.iter().find(|mark| mark.is_stage())
    }

    /// The segment that it began.
    pub(crate) fn outermost_stage(&self) -> Option<u64> {
        self.0.iter().next()?.outermost_stage
    }

    /// The innermost mark that `segment` does not lie before.
    pub(crate) fn mark_of(&self, segment: u64) -> Option<&Arc<Mark>> {
        self.0.from(segment).next().map(|laid| &laid.mark)
    }

    /// For questions about ever older segments.
    pub(crate) fn descent(&self) -> Descent<'_> {
        Descent {
            way: self.0.descent(),
            lapsed: 0,
        }
    }

    /// The next order, for new content; `UNORDERED` if there is no mark.
    pub(crate) fn next_order(&self) -> Order {
        let next = self.iter().next().map(|mark| {
            // Relaxed: all additions to one word have an order, and what happens before keeps it.
            mark.orders.newest.fetch_add(1, Ordering::Relaxed) + 1
        });
        next.and_then(Order::new).unwrap_or(UNORDERED)
    }

    /// The order of content that was stamped with `segment` and given `order` then.
    pub(crate) fn order_of(&self, segment: u64, order: Order) -> Order {
        match self.iter().next() {
            Some(mark) if mark.orders.began <= segment => order,
            _ => UNORDERED,
        }
    }

    /// With another mark on top.
    pub(crate) fn with(&self, mark: Arc<Mark>) -> Marks {
        let own = mark.is_stage().then_some(mark.first);
        let outermost_stage = self.outermost_stage().or(own);
        let laid = Laid {
            mark,
            outermost_stage,
        };
        Marks(self.0.clone().with(laid))
    }

    /// `mark` and those inside of it.
    pub(crate) fn within<'m>(&'m self, mark: &'m Arc<Mark>) -> impl Iterator<Item = &'m Arc<Mark>> {
        let outside = self.outside_of(mark).depth();
        self.iter().take(self.depth() - outside)
    }

    /// Those outside of `mark`.
    pub(crate) fn outside_of(&self, mark: &Arc<Mark>) -> Marks {
        Marks(self.0.below_first(|laid| Arc::ptr_eq(&laid.mark, mark)))
    }

    /// Without `mark`. Makes anew what lies above it.
    pub(crate) fn without(&self, mark: &Arc<Mark>) -> Marks {
        let above = self.iter().take_while(|other| !Arc::ptr_eq(other, mark));
        let above: Vec<_> = above.cloned().collect();
        let moved = above.into_iter().rev();
        moved.fold(self.outside_of(mark), |marks, mark| marks.with(mark))
    }

    /// Without the marks that are `gone`, and those. Makes anew what lies above the outermost of them.
    pub(crate) fn part(&self, gone: impl Fn(&Arc<Mark>) -> bool) -> (Marks, Vec<Arc<Mark>>) {
        let mut parted = Vec::new();
        let mut above = Vec::new();
        // So many of those above stay where all below is, and so many lie there with what is gone.
        let (mut moved, mut top) = (0, 0);
        for (index, mark) in self.iter().enumerate() {
            if gone(mark) {
                parted.push(mark.clone());
                (moved, top) = (above.len(), index + 1);
            } else {
                above.push(mark.clone());
            }
        }
        above.truncate(moved);
        let rest = Marks(self.0.below(top));
        let left = above
            .into_iter()
            .rev()
            .fold(rest, |marks, mark| marks.with(mark));
        (left, parted)
    }

    /// Without those on top that have lapsed, and these.
    pub(crate) fn part_top(&self) -> (Marks, Vec<Arc<Mark>>) {
        let lapsed = self.iter().take_while(|mark| mark.has_lapsed());
        let lapsed: Vec<_> = lapsed.cloned().collect();
        (Marks(self.0.below(lapsed.len())), lapsed)
    }
}

/// A way down the stack.
pub(crate) struct Descent<'m> {
    way: stack::Descent<'m, Laid>,
    lapsed: usize,
}

impl Descent<'_> {
    /// Whether a rollback may part the two segments: the table can return to an instant after `older` and not after `newer`, which is
    /// not above that of an earlier call.
    pub(crate) fn parts(&mut self, older: u64, newer: u64) -> bool {
        let marks = self.way.from(newer).map(|laid| &laid.mark);
        marks.take_while(|mark| older < mark.first).any(|mark| {
            let has_lapsed = mark.has_lapsed();
            self.lapsed += usize::from(has_lapsed);
            !has_lapsed
        })
    }

    /// How many it went by that have lapsed.
    pub(crate) fn passed(&self) -> usize {
        self.lapsed
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    fn firsts(marks: &Marks) -> Vec<u64> {
        marks.iter().map(|mark| mark.first).collect()
    }

    fn three() -> (Marks, Vec<Arc<Anchor>>) {
        let anchors: Vec<_> = (0..3).map(|_| Anchor::new()).collect();
        let marks = (1..)
            .zip(&anchors)
            .fold(Marks::NONE, |marks, (first, anchor)| {
                marks.with(Mark::savepoint(first, &marks, anchor))
            });
        (marks, anchors)
    }

    #[test]
    fn parting_keeps_the_order_and_the_depth_of_the_rest() {
        let (marks, _) = three();
        for (gone, left) in [(1, [3, 2]), (2, [3, 1]), (3, [2, 1])] {
            let (rest, parted) = marks.part(|mark| mark.first == gone);
            assert_eq!(firsts(&rest), left);
            assert_eq!(rest.depth(), 2);
            assert_eq!(parted.len(), 1);
        }
        let (rest, parted) = marks.part(|_| false);
        assert_eq!((firsts(&rest), parted.len()), (vec![3, 2, 1], 0));
        let (rest, parted) = marks.part(|_| true);
        assert_eq!((rest.depth(), parted.len()), (0, 3));
    }

    #[test]
    fn only_what_lapsed_on_top_is_parted_from_the_top() {
        let (marks, anchors) = three();
        anchors[0].let_go();
        assert_eq!(marks.part_top().1.len(), 0);
        anchors[2].let_go();
        let (rest, parted) = marks.part_top();
        assert_eq!((firsts(&rest), parted.len()), (vec![2, 1], 1));
    }

    #[test]
    fn a_deep_stack_is_dropped_without_recursion() {
        let marks = (1..=1_000_000).fold(Marks::NONE, |marks, first| {
            marks.with(Mark::stage(first, &marks))
        });
        assert_eq!(marks.depth(), 1_000_000);
    }
}
