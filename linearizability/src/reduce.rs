//! What matters of a history that is not linearizable.
//!
//! A write may not simply be left out: then the reads of its value would be wrong, and that would prove nothing of the history.
//! But what an operation answered, and when, may be *forgotten*: it may have taken effect then at any instant since its call,
//! or never. That allows more than before, so a history that is wrong even so was wrong before. A forgotten operation
//! that nobody can have seen is left out: one that only reads, and one that was called after all that is known. And
//! once nothing is left that is about the whole object, one wrong part is enough.

use crate::{Event, History, Specification, search};
use std::collections::BTreeSet;

/// Forgotten operations make a search long. Where it ends before it found an answer, nothing is forgotten.
const EFFORT: usize = 10_000;

type Events<S> = Vec<Event<<S as Specification>::Op, <S as Specification>::Answer>>;

pub(crate) fn reduced<S: Specification>(specification: &S, history: &History<S>) -> History<S> {
    let events = history.events().into_iter().cloned().collect();
    let about_all = |op: &S::Op| specification.part(op).is_none();
    let events = forget(specification, events, about_all);
    let events = one_wrong_part(specification, events);
    History::new(forget(specification, events, |_| true))
}

fn is_wrong<S: Specification>(specification: &S, events: &Events<S>) -> bool {
    search::is_refuted(specification, &History::new(events.iter().cloned()), EFFORT)
}

/// Forgets what can be forgotten of these operations, the last first, so that what is left is the first that went wrong.
fn forget<S: Specification>(
    specification: &S,
    mut events: Events<S>,
    which: impl Fn(&S::Op) -> bool,
) -> Events<S> {
    for at in (0..events.len()).rev() {
        let mut fewer = events.clone();
        match fewer.get_mut(at) {
            Some(event) if which(&event.op) => event.returned = None,
            _ => continue,
        }
        let returned = fewer.iter().filter_map(|event| event.returned.as_ref());
        let last = returned.map(|(_, at)| *at).max();
        fewer.retain(|event| {
            let could_be_seen = !specification.only_reads(&event.op) && Some(event.called) <= last;
            event.returned.is_some() || could_be_seen
        });
        if is_wrong(specification, &fewer) {
            events = fewer;
        }
    }
    events
}

fn one_wrong_part<S: Specification>(specification: &S, events: Events<S>) -> Events<S> {
    let parts: BTreeSet<_> = events
        .iter()
        .map(|event| specification.part(&event.op))
        .collect();
    if parts.contains(&None) {
        return events;
    }
    let of_part = |part| {
        let events = events.iter().cloned();
        events
            .filter(|event| specification.part(&event.op) == part)
            .collect()
    };
    let wrong = |events: &Events<S>| is_wrong(specification, events);
    parts.into_iter().map(of_part).find(wrong).unwrap_or(events)
}
