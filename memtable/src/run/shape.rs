//! What is special about a run: bits of which most runs have none, so that one look tells that nothing is.

use super::heads::Width;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Shape(u8);

impl Shape {
    /// As many slots as there is room for, narrow heads, and the prefix of its range.
    pub(super) const PLAIN: Shape = Shape(0);
    /// It may get more slots ([`tail`](super::tail)).
    pub(super) const GROWING: Shape = Shape(1);
    /// Final: the leaf is being merged into its left neighbour, and the cell gets no other run.
    pub(super) const DEAD: Shape = Shape(2);
    /// The prefix is that of the run's own keys: others of its range may begin otherwise.
    pub(super) const OWN_PREFIX: Shape = Shape(4);
    /// The heads are wide.
    pub(super) const WIDE: Shape = Shape(8);

    /// A search among its heads is not that of a plain run, unless the key begins with the prefix.
    pub(super) const UNLIKE_PLAIN: Shape = Shape::OWN_PREFIX.with(Shape::WIDE);

    pub(super) fn of(width: Width, grows: bool) -> Shape {
        let width = match width {
            Width::Narrow => Shape::PLAIN,
            Width::Wide => Shape::WIDE,
        };
        match grows {
            true => width.with(Shape::GROWING),
            false => width,
        }
    }

    /// Whether it has one of these.
    #[inline]
    pub(super) fn has(self, bits: Shape) -> bool {
        self.0 & bits.0 != 0
    }

    pub(super) const fn with(self, bit: Shape) -> Shape {
        Shape(self.0 | bit.0)
    }

    pub(super) fn without(self, bit: Shape) -> Shape {
        Shape(self.0 & !bit.0)
    }

    #[inline]
    pub(super) fn width(self) -> Width {
        match self.has(Shape::WIDE) {
            true => Width::Wide,
            false => Width::Narrow,
        }
    }
}
