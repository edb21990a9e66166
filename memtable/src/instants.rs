//! Instants: what live snapshots show.
//!
//! Each live snapshot shows the table as it was at the end of a segment. These instants are one stack, the newest on top, immutable and a part
//! of the [`View`], as [`marks`](crate::marks) are: a snapshot is taken by one step of the clock, which also ends its segment.
//!
//! * R1: who trims reads the view, and finds there every snapshot that was taken and is not let go, or it was taken later: then its instant
//!   is not below the segment of that view, in which whatever hides what is taken away was stamped at the latest. One of *before the
//!   stages* shows less; but for it a stage was open all the time, for whose rollback the same is kept.
//!
//! Each instant leads to the next older one and to one far below, so that the way from the top to any of them has a logarithm of steps
//! (Myers, "An applicative random-access stack", 1983). One that was let go is only flagged at first; it is taken out when it is on top of
//! a new one, or when every second one is such: a constant share for each, in whatever order they are let go.

use crate::clock::{Clock, View};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{self, Arc};

/// What one snapshot shows.
#[derive(Debug)]
pub(crate) struct Instant {
    /// The newest segment that is shown.
    pub(crate) segment: u64,
    let_go: AtomicBool,
}

impl Instant {
    fn at(segment: u64) -> Arc<Instant> {
        Arc::new(Instant {
            segment,
            let_go: AtomicBool::new(false),
        })
    }

    fn is_live(&self) -> bool {
        !self.let_go.load(Ordering::Acquire)
    }
}

/// The stack of instants.
#[derive(Clone)]
pub(crate) struct Instants {
    newest: Option<Arc<Node>>,
}

struct Node {
    instant: Arc<Instant>,
    older: Option<Arc<Node>>,
    /// As far below as the ways from there on allow.
    far: Option<Arc<Node>>,
    depth: usize,
}

fn depth_of(node: Option<&Arc<Node>>) -> usize {
    node.map_or(0, |node| node.depth)
}

impl Node {
    /// Two stretches of the same length below become one.
    fn far_for(older: &Arc<Node>) -> Option<Arc<Node>> {
        let far = older.far.as_ref();
        let further = far.and_then(|far| far.far.as_ref());
        let stretches = (
            older.depth - depth_of(far),
            depth_of(far) - depth_of(further),
        );
        match stretches.0 == stretches.1 {
            true => further.cloned(),
            false => Some(older.clone()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The last way to a node is that by `older`, and all of them are followed in a loop: the call stack has a limit.
        self.far = None;
        let mut older = self.older.take();
        while let Some(node) = older {
            older = sync::into_inner(node).and_then(|mut node| {
                node.far = None;
                node.older.take()
            });
        }
    }
}

impl Instants {
    pub(crate) const NONE: Instants = Instants { newest: None };

    fn depth(&self) -> usize {
        depth_of(self.newest.as_ref())
    }

    fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        std::iter::successors(self.newest.as_ref(), |node| node.older.as_ref())
    }

    /// Whether a live snapshot shows one of the segments from `from` to before `to` as its newest.
    #[inline]
    pub(crate) fn any_within(&self, from: u64, to: u64) -> bool {
        match &self.newest {
            Some(newest) if from <= newest.instant.segment => {
                any_within(newest, from, to) && !planted("snapshots-ignored")
            }
            _ => false,
        }
    }

    fn pushed(self, instant: Arc<Instant>) -> Instants {
        let newest = Node {
            instant,
            far: self.newest.as_ref().and_then(Node::far_for),
            depth: self.depth() + 1,
            older: self.newest,
        };
        Instants {
            newest: Some(Arc::new(newest)),
        }
    }

    /// With another one, below those that are newer, and without those above it that were let go.
    fn with(&self, instant: &Arc<Instant>) -> Instants {
        let is_newer =
            |node: &&Arc<Node>| !node.instant.is_live() || node.instant.segment > instant.segment;
        let newer = self.nodes().take_while(is_newer);
        let newer: Vec<_> = newer.map(|node| node.instant.clone()).collect();
        let older = Instants {
            newest: self.nodes().nth(newer.len()).cloned(),
        };
        let live = newer.into_iter().rev().filter(|newer| newer.is_live());
        live.fold(older.pushed(instant.clone()), Instants::pushed)
    }

    /// Those that are live. Makes anew what lies above the oldest one that is not.
    fn live(&self) -> Instants {
        let live = self.nodes().filter(|node| node.instant.is_live());
        let live: Vec<_> = live.map(|node| node.instant.clone()).collect();
        let live = live.into_iter().rev();
        live.fold(Instants::NONE, Instants::pushed)
    }
}

fn any_within(newest: &Arc<Node>, from: u64, to: u64) -> bool {
    let below = match way_below(newest, to).last() {
        Some(node) => node.older.as_ref(),
        None => Some(newest),
    };
    std::iter::successors(below, |node| node.older.as_ref())
        .take_while(|node| from <= node.instant.segment)
        .any(|node| node.instant.is_live())
}

/// The way down from a node to the newest one below `segment`, without that.
fn way_below(from: &Arc<Node>, segment: u64) -> impl Iterator<Item = &Arc<Node>> {
    let not_below = move |node: &&Arc<Node>| segment <= node.instant.segment;
    std::iter::successors(Some(from).filter(not_below), move |node| {
        let far = node.far.as_ref().filter(not_below);
        far.or(node.older.as_ref().filter(not_below))
    })
}

/// Takes a snapshot of now, or, if `before_stages`, of the instant before the outermost open stage began.
pub(crate) fn take(clock: &Clock, before_stages: bool, guard: &Guard) -> Arc<Instant> {
    let instant = loop {
        let view = clock.now(guard);
        let outermost = view.marks.outermost_stage().filter(|_| before_stages);
        let (instant, segment) = match outermost {
            Some(stage) => (Instant::at(stage - 1), view.segment),
            None => (Instant::at(view.segment), view.segment + 1),
        };
        let next = View {
            segment,
            instants: view.instants.with(&instant),
            ..View::clone(&view)
        };
        if clock.step(view, next, guard) {
            break instant;
        }
        sync::spin();
    };
    if !planted("snapshot-without-fence") {
        sync::fence_after_rmw();
    }
    instant
}

/// Nobody looks at the instant any more.
pub(crate) fn let_go(instant: &Instant, clock: &Clock, guard: &Guard) {
    instant.let_go.store(true, Ordering::Release);
    let all = clock.now(guard).instants.depth();
    if !clock.count_snapshot_let_go(all) {
        return;
    }
    loop {
        let view = clock.now(guard);
        let next = View {
            instants: view.instants.live(),
            ..View::clone(&view)
        };
        if clock.step(view, next, guard) {
            return;
        }
        sync::spin();
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn stack(segments: impl IntoIterator<Item = u64>) -> Instants {
        let instants = segments.into_iter().map(Instant::at);
        instants.fold(Instants::NONE, |stack, instant| stack.with(&instant))
    }

    fn segments(stack: &Instants) -> Vec<u64> {
        stack.nodes().map(|node| node.instant.segment).collect()
    }

    #[test]
    fn what_any_within_says_is_what_a_look_at_all_of_them_says() {
        let mut random = SmallRng::seed_from_u64(1);
        for size in [0, 1, 2, 7, 100] {
            let stack = stack((0..size).map(|_| random.random_range(0..300)));
            for node in stack.nodes() {
                node.instant
                    .let_go
                    .store(random.random(), Ordering::Relaxed);
            }
            for _ in 0..2000 {
                let (from, to) = (random.random_range(0..310), random.random_range(0..310));
                let shows = |node: &Arc<Node>| {
                    node.instant.is_live() && (from..to).contains(&node.instant.segment)
                };
                assert_eq!(
                    stack.any_within(from, to),
                    stack.nodes().any(shows),
                    "{from} to {to}"
                );
            }
        }
    }

    #[test]
    fn one_is_put_where_it_belongs_and_those_that_were_let_go_above_it_are_gone() {
        let stack = stack([2, 4, 6, 8]);
        assert_eq!(segments(&stack), [8, 6, 4, 2]);
        for node in stack
            .nodes()
            .filter(|node| [2, 6].contains(&node.instant.segment))
        {
            node.instant.let_go.store(true, Ordering::Relaxed);
        }
        assert_eq!(segments(&stack.with(&Instant::at(3))), [8, 4, 3]);
        assert_eq!(segments(&stack.with(&Instant::at(9))), [9, 8, 6, 4, 2]);
        assert_eq!(segments(&stack.live()), [8, 4]);
    }

    #[test]
    fn every_one_of_a_million_is_a_logarithm_of_steps_away() {
        const COUNT: u64 = 1_000_000;
        let stack = stack(0..COUNT);
        for to in [1, 2, 1000, 499_999, 524_288, 999_999] {
            let way = stack.newest.iter().flat_map(|newest| way_below(newest, to));
            let steps = way.count() as u32;
            assert!(steps <= 3 * COUNT.ilog2(), "{steps} steps to {to}");
        }
    }
}
