//! The search for an order (Wing and Gong, "Testing and verifying concurrent objects", 1993), with a memory of what led nowhere
//! (Lowe, "Testing for linearizability", 2017).
//!
//! Since the operations of a lane follow each other, what is done is one number for each lane. Next may come the first
//! operation that is left in any lane, if it was called before any that is left had returned; of those that are left in a lane the
//! first returns first. What never returned limits nobody, and may be left over in the end.

use crate::{Event, History, Specification};
use std::collections::{BTreeSet, HashSet};

/// Whether it was shown, with so many dead ends at most, that there is no such order.
pub(crate) fn is_refuted<S: Specification>(
    specification: &S,
    history: &History<S>,
    effort: usize,
) -> bool {
    let events = || history.lanes().iter().flatten();
    let parts: Option<BTreeSet<u64>> = events()
        .map(|event| specification.part(&event.op))
        .collect();
    match parts {
        Some(parts) => parts.into_iter().any(|part| {
            let of_part = |event: &&Event<_, _>| specification.part(&event.op) == Some(part);
            Search::of(specification, history, effort, of_part).fails()
        }),
        None => Search::of(specification, history, effort, |_| true).fails(),
    }
}

type Lane<'h, S> = Vec<&'h Event<<S as Specification>::Op, <S as Specification>::Answer>>;

struct Search<'h, S: Specification> {
    specification: &'h S,
    lanes: Vec<Lane<'h, S>>,
    /// What led nowhere: how many were done in each lane, and the state.
    dead_ends: HashSet<(Vec<usize>, S::State)>,
    effort: usize,
}

impl<'h, S: Specification> Search<'h, S> {
    fn of(
        specification: &'h S,
        history: &'h History<S>,
        effort: usize,
        among: impl Fn(&&Event<S::Op, S::Answer>) -> bool,
    ) -> Self {
        let lanes = history.lanes().iter();
        Search {
            specification,
            lanes: lanes
                .map(|lane| lane.iter().filter(&among).collect())
                .collect(),
            dead_ends: HashSet::new(),
            effort,
        }
    }

    fn fails(mut self) -> bool {
        let mut done = vec![0; self.lanes.len()];
        !self.may_go_on(&mut done, self.specification.initial())
    }

    /// Whether what is left can be done, or the effort does not suffice to tell.
    fn may_go_on(&mut self, done: &mut Vec<usize>, state: S::State) -> bool {
        let returns = self.lanes.iter().zip(&*done).filter_map(|(lane, &done)| {
            let (_, returned) = lane.get(done)?.returned.as_ref()?;
            Some(*returned)
        });
        let Some(first_return) = returns.min() else {
            return true;
        };
        if self.dead_ends.len() >= self.effort {
            return true;
        }
        let here = (done.clone(), state);
        if self.dead_ends.contains(&here) {
            return false;
        }
        for lane in 0..done.len() {
            let Some(event) = self.lanes[lane].get(done[lane]) else {
                continue;
            };
            if event.called > first_return {
                continue;
            }
            let answer = event.returned.as_ref().map(|(answer, _)| answer);
            let Some(next) = self.specification.next(&here.1, &event.op, answer) else {
                continue;
            };
            done[lane] += 1;
            if self.may_go_on(done, next) {
                return true;
            }
            done[lane] -= 1;
        }
        self.dead_ends.insert(here);
        false
    }
}
