//! A stack that is never changed but made anew, where what lies below is shared.
//!
//! Its items begin or end segments, and the segments do not rise from the top down. Each node leads to the next one and to one far below, so
//! that the way from the top to any item is found by its segment in a logarithm of steps (Myers, "An applicative random-access stack",
//! 1983).

use crate::sync::{self, Arc};

/// What a [`Stack`] is made of.
pub(crate) trait Staked {
    fn segment(&self) -> u64;
}

pub(crate) struct Stack<T> {
    top: Option<Arc<Node<T>>>,
}

struct Node<T> {
    item: T,
    below: Option<Arc<Node<T>>>,
    far: Option<Arc<Node<T>>>,
    depth: usize,
}

fn depth_of<T>(node: Option<&Arc<Node<T>>>) -> usize {
    node.map_or(0, |node| node.depth)
}

/// Where the node above `below` leads to: two stretches of the same length below become one.
fn far_for<T>(below: &Arc<Node<T>>) -> Option<Arc<Node<T>>> {
    let far = below.far.as_ref();
    let further = far.and_then(|far| far.far.as_ref());
    let stretch = below.depth - depth_of(far);
    match stretch == depth_of(far) - depth_of(further) {
        true => further.cloned(),
        false => Some(below.clone()),
    }
}

impl<T> Drop for Node<T> {
    fn drop(&mut self) {
        // The last way to a node is that by `below`, and a loop goes down there, since a stack has no limit but the call stack has.
        self.far = None;
        let mut below = self.below.take();
        while let Some(node) = below {
            below = sync::into_inner(node).and_then(|mut node| {
                node.far = None;
                node.below.take()
            });
        }
    }
}

impl<T> Clone for Stack<T> {
    fn clone(&self) -> Self {
        Stack {
            top: self.top.clone(),
        }
    }
}

impl<T> Stack<T> {
    pub(crate) const EMPTY: Stack<T> = Stack { top: None };

    pub(crate) fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    pub(crate) fn depth(&self) -> usize {
        depth_of(self.top.as_ref())
    }

    fn nodes(&self) -> impl Iterator<Item = &Arc<Node<T>>> {
        std::iter::successors(self.top.as_ref(), |node| node.below.as_ref())
    }

    /// From the top down.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.nodes().map(|node| &node.item)
    }

    /// With another item on top.
    pub(crate) fn with(self, item: T) -> Stack<T> {
        let node = Node {
            item,
            far: self.top.as_ref().and_then(far_for),
            depth: self.depth() + 1,
            below: self.top,
        };
        Stack {
            top: Some(Arc::new(node)),
        }
    }

    /// What lies below the topmost item of which that is so; nothing, if there is none.
    pub(crate) fn below_first(&self, is_so: impl Fn(&T) -> bool) -> Stack<T> {
        let first = self.nodes().find(|node| is_so(&node.item));
        Stack {
            top: first.and_then(|node| node.below.clone()),
        }
    }

    /// What lies below so many items.
    pub(crate) fn below(&self, items: usize) -> Stack<T> {
        Stack {
            top: self.nodes().nth(items).cloned(),
        }
    }
}

impl<T: Staked> Stack<T> {
    /// The items whose segments are not above `segment`, from the top down.
    #[inline]
    pub(crate) fn from(&self, segment: u64) -> impl Iterator<Item = &T> {
        self.descent().from(segment)
    }

    /// For questions about ever lower segments, each of which goes on where the one before ended.
    pub(crate) fn descent(&self) -> Descent<'_, T> {
        Descent {
            node: self.top.as_ref(),
        }
    }
}

/// A way down a stack.
pub(crate) struct Descent<'s, T> {
    node: Option<&'s Arc<Node<T>>>,
}

impl<'s, T: Staked> Descent<'s, T> {
    /// The items whose segments are not above `segment`, which is not above that of an earlier call.
    #[inline]
    pub(crate) fn from(&mut self, segment: u64) -> impl Iterator<Item = &'s T> + use<'s, T> {
        if let Some(node) = self.node
            && segment < node.item.segment()
        {
            let last_above = way_above(node, segment).last();
            self.node = last_above.and_then(|node| node.below.as_ref());
        }
        std::iter::successors(self.node, |node| node.below.as_ref()).map(|node| &node.item)
    }
}

/// A way down over nodes above `segment`, to the lowest of them.
fn way_above<T: Staked>(top: &Arc<Node<T>>, segment: u64) -> impl Iterator<Item = &Arc<Node<T>>> {
    let is_above = move |node: &&Arc<Node<T>>| segment < node.item.segment();
    std::iter::successors(Some(top).filter(is_above), move |node| {
        let far = node.far.as_ref().filter(is_above);
        far.or(node.below.as_ref().filter(is_above))
    })
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    impl Staked for u64 {
        fn segment(&self) -> u64 {
            *self
        }
    }

    fn stack(segments: impl IntoIterator<Item = u64>) -> Stack<u64> {
        segments.into_iter().fold(Stack::EMPTY, Stack::with)
    }

    #[test]
    fn what_is_found_from_a_segment_on_is_what_is_not_above_it() {
        for size in [0, 1, 2, 3, 10, 100] {
            // Some segments twice, some not at all.
            let stack = stack((0..size).map(|n| n * 2 / 3 * 2));
            assert_eq!(stack.depth() as u64, size);
            for segment in 0..size * 2 {
                let not_above = stack.iter().filter(|&&item| item <= segment);
                assert!(stack.from(segment).eq(not_above), "{segment} of {size}");
            }
            let mut descent = stack.descent();
            for segment in (0..size * 2).rev().step_by(3) {
                assert!(
                    descent.from(segment).eq(stack.from(segment)),
                    "{segment} of {size}"
                );
            }
        }
    }

    #[test]
    fn what_lies_below_is_shared_and_stays() {
        let low = stack(0..10);
        let high = low.clone().with(10).with(11);
        let branch = high.below(5).with(70);
        assert!(low.iter().copied().eq((0..10).rev()));
        assert!(high.iter().copied().eq((0..12).rev()));
        assert!(branch.iter().copied().eq([70, 6, 5, 4, 3, 2, 1, 0]));
        assert!(high.below(12).is_empty() && high.below(13).is_empty());
    }

    #[test]
    fn each_of_a_million_is_a_logarithm_of_steps_away() {
        const COUNT: u64 = 1_000_000;
        let stack = stack(0..COUNT);
        let top = stack.top.as_ref().expect("it is not empty");
        for segment in [0, 1, 999, 499_999, 524_288, COUNT - 2] {
            let steps = way_above(top, segment).count() as u32;
            assert!(steps <= 3 * COUNT.ilog2(), "{steps} steps to {segment}");
            assert_eq!(stack.from(segment).next(), Some(&segment));
        }
    }
}
