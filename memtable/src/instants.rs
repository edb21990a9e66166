//! Instants: what live snapshots show.
//!
//! Each live snapshot shows the table as it was at the end of a segment. These instants are one stack, the newest on top, immutable and a part
//! of the [`View`], as [`marks`](crate::marks) are: a snapshot is taken by one step of the clock, which also ends its segment.
//!
//! * R1: who trims reads the view, and finds there every snapshot that was taken and is not let go, or it was taken later: then its instant
//!   is not below the segment of that view, in which whatever hides what is taken away was stamped at the latest. One of *before the
//!   stages* shows less; but for it a stage was open all the time, for whose rollback the same is kept.
//!
//! One that was let go is only flagged at first; it is taken out when it is on top of a new one, when it is one of a [few](FEW_SNAPSHOTS) such on
//! top of all, or when every second one is such: a constant share for each, in whatever order they are let go. A writer who went by many
//! counts these once more, so that they are gone before those who overwrite one key have gone by as many as it costs to make all anew.

use crate::clock::{Clock, FEW_SNAPSHOTS, View};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::stack::{self, Stack, Staked};
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

impl Staked for Arc<Instant> {
    fn segment(&self) -> u64 {
        self.segment
    }
}

/// The stack of instants.
#[derive(Clone)]
pub(crate) struct Instants(Stack<Arc<Instant>>);

impl Instants {
    pub(crate) const NONE: Instants = Instants(Stack::EMPTY);

    pub(crate) fn depth(&self) -> usize {
        self.0.depth()
    }

    /// Whether a live snapshot shows one of the segments from `from` to before `to` as its newest.
    #[inline]
    pub(crate) fn any_within(&self, from: u64, to: u64) -> bool {
        self.descent().any_within(from, to)
    }

    /// For questions about ever older segments.
    pub(crate) fn descent(&self) -> Descent<'_> {
        Descent {
            way: self.0.descent(),
            dead: 0,
        }
    }

    /// With another one, below those that are newer, and without those above it that were let go.
    fn with(&self, instant: &Arc<Instant>) -> Instants {
        let is_above = |above: &&Arc<Instant>| !above.is_live() || above.segment > instant.segment;
        let above: Vec<_> = self.0.iter().take_while(is_above).cloned().collect();
        let stack = self.0.below(above.len()).with(instant.clone());
        let live = above.into_iter().rev().filter(|above| above.is_live());
        Instants(live.fold(stack, Stack::with))
    }

    /// Those that were let go and lie on top of all.
    fn dead_on_top(&self) -> impl Iterator<Item = &Arc<Instant>> {
        self.0.iter().take_while(|instant| !instant.is_live())
    }

    /// Without those.
    fn below_dead(&self) -> Instants {
        Instants(self.0.below(self.dead_on_top().count()))
    }

    /// Those that are live. Makes anew what lies above the lowest that is not.
    fn live(&self) -> Instants {
        let all = self.0.iter().map(|instant| (instant, instant.is_live()));
        let all: Vec<_> = all.collect();
        let lowest = all.iter().rposition(|(_, is_live)| !is_live);
        let above = lowest.map_or(0, |lowest| lowest + 1);
        let moved = all[..above].iter().rev().filter(|(_, is_live)| *is_live);
        let moved = moved.map(|(instant, _)| Arc::clone(instant));
        Instants(moved.fold(self.0.below(above), Stack::with))
    }
}

/// A way down the stack.
pub(crate) struct Descent<'i> {
    way: stack::Descent<'i, Arc<Instant>>,
    dead: usize,
}

impl Descent<'_> {
    /// As [`Instants::any_within`]; `to` is not above that of an earlier call.
    #[inline]
    pub(crate) fn any_within(&mut self, from: u64, to: u64) -> bool {
        let Some(newest) = to.checked_sub(1) else {
            return false;
        };
        let shown = self.way.from(newest);
        let mut shown = shown.take_while(|instant| from <= instant.segment);
        let is_live = |instant: &Arc<Instant>| {
            let is_live = instant.is_live();
            self.dead += usize::from(!is_live);
            is_live
        };
        shown.any(is_live) && !planted("snapshots-ignored")
    }

    /// How many it went by that were let go.
    pub(crate) fn passed(&self) -> usize {
        self.dead
    }
}

/// Takes a snapshot of now, or, if `before_stages`, of the instant before the outermost open stage began.
pub(crate) fn take(clock: &Clock, before_stages: bool, guard: &Guard) -> Arc<Instant> {
    let instant = clock.change(guard, |view| {
        let outermost = view.marks.outermost_stage().filter(|_| before_stages);
        let (instant, segment) = match outermost {
            Some(stage) => (Instant::at(stage - 1), view.segment),
            None => (Instant::at(view.segment), view.segment + 1),
        };
        let next = View {
            segment,
            instants: view.instants.with(&instant),
            ..view.clone()
        };
        (next, instant)
    });
    if !planted("snapshot-without-fence") {
        sync::fence_after_rmw();
    }
    instant
}

/// Nobody looks at the instant any more.
pub(crate) fn let_go(instant: &Instant, clock: &Clock, guard: &Guard) {
    instant.let_go.store(true, Ordering::Release);
    let instants = &clock.now(guard).instants;
    let fewer = if clock.count_snapshot_let_go(instants.depth()) {
        Instants::live
    } else if instants.dead_on_top().nth(FEW_SNAPSHOTS).is_some() {
        Instants::below_dead
    } else {
        return;
    };
    clock.change(guard, |view| {
        let next = View {
            instants: fewer(&view.instants),
            ..view.clone()
        };
        (next, ())
    });
}

/// A writer went by so many that were let go: all such are taken out, if that is worth it. Tried once: where the clock moves faster than
/// the stack is made anew he would never be done.
pub(crate) fn forget_passed(passed: usize, clock: &Clock, guard: &Guard) {
    let view = clock.now(guard);
    if clock.count_snapshots_passed(passed, view.instants.depth()) {
        let next = View {
            instants: match planted("live-snapshots-forgotten") {
                true => Instants::NONE,
                false => view.instants.live(),
            },
            ..View::clone(&view)
        };
        clock.step(view, next, guard);
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
        stack.0.iter().map(|instant| instant.segment).collect()
    }

    #[test]
    fn what_any_within_says_is_what_a_look_at_all_of_them_says() {
        let mut random = SmallRng::seed_from_u64(1);
        for size in [0, 1, 2, 7, 100] {
            let stack = stack((0..size).map(|_| random.random_range(0..300)));
            for instant in stack.0.iter() {
                instant.let_go.store(random.random(), Ordering::Relaxed);
            }
            for _ in 0..2000 {
                let (from, to) = (random.random_range(0..310), random.random_range(0..310));
                let shows = |instant: &Arc<Instant>| {
                    instant.is_live() && (from..to).contains(&instant.segment)
                };
                assert_eq!(
                    stack.any_within(from, to),
                    stack.0.iter().any(shows),
                    "{from} to {to}"
                );
            }
        }
    }

    #[test]
    fn one_is_put_where_it_belongs_and_those_that_were_let_go_above_it_are_gone() {
        let stack = stack([2, 4, 6, 8]);
        assert_eq!(segments(&stack), [8, 6, 4, 2]);
        for instant in stack
            .0
            .iter()
            .filter(|instant| [2, 6].contains(&instant.segment))
        {
            instant.let_go.store(true, Ordering::Relaxed);
        }
        assert_eq!(segments(&stack.with(&Instant::at(3))), [8, 4, 3]);
        assert_eq!(segments(&stack.with(&Instant::at(9))), [9, 8, 6, 4, 2]);
        assert_eq!(segments(&stack.live()), [8, 4]);
        assert_eq!(segments(&stack.below_dead()), [8, 6, 4, 2]);
    }

    #[test]
    fn of_those_that_are_let_go_newest_first_few_stay_on_top() {
        let clock = Clock::new();
        let guard = crate::reclaim::pin();
        let mut taken: Vec<_> = (0..1000).map(|_| take(&clock, false, &guard)).collect();
        while let Some(newest) = taken.pop() {
            let_go(&newest, &clock, &guard);
            let instants = &clock.now(&guard).instants;
            assert!(instants.dead_on_top().count() <= FEW_SNAPSHOTS);
            assert!(instants.depth() <= taken.len() + FEW_SNAPSHOTS);
        }
    }
}
