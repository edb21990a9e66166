//! The checker beside a public one, `todc-utils`, on the same histories: they agree on each.
#![allow(missing_docs, clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as TheirHistory};
use untorn_linearizability::ordered_map::{Answer, Op, OrderedMap, State};
use untorn_linearizability::{Event, History, Specification};

/// The same specification in the words of the other checker: an operation is valid with its answer or not.
struct Theirs;

impl todc_utils::specifications::Specification for Theirs {
    type State = State;
    type Operation = (Op, Option<Answer>);

    fn init() -> State {
        State::new()
    }

    fn apply((op, answer): &Self::Operation, state: &State) -> (bool, State) {
        let mut next = state.clone();
        let specified = OrderedMap.apply(&mut next, op);
        (*answer == Some(specified), next)
    }
}

fn theirs(events: &[Event<Op, Answer>]) -> bool {
    let mut actions = Vec::new();
    for event in events {
        let (answer, returned) = event.returned.clone().unwrap();
        let call = Action::Call((event.op, None));
        let response = Action::Response((event.op, Some(answer)));
        // A call at the instant of a return counts as before it, here as there.
        actions.push((event.called, 0, event.thread, call));
        actions.push((returned, 1, event.thread, response));
    }
    actions.sort_by_key(|&(at, kind, ..)| (at, kind));
    let actions = actions
        .into_iter()
        .map(|(_, _, thread, action)| (thread, action));
    WGLChecker::<Theirs>::is_linearizable(TheirHistory::from_actions(actions.collect()))
}

/// A history that comes about by taking effect at random instants, some of whose answers are then changed or whose events
/// are moved, so that some are linearizable and some are not.
fn events(random: &mut StdRng) -> Vec<Event<Op, Answer>> {
    let mut planned = Vec::new();
    for thread in 0..3 {
        let mut now = random.random_range(0..10);
        for _ in 0..random.random_range(1..6) {
            let effect = now + random.random_range(1..10);
            let returned = effect + random.random_range(1..10);
            let key = random.random_range(0..2);
            let op = match random.random_range(0..8) {
                0..2 => Op::Insert(key, random.random_range(0..3)),
                2 => Op::Remove(key),
                3..5 => Op::Get(key),
                5 => Op::CompareAndSet(key, random.random_range(0..3), random.random_range(0..3)),
                6 => Op::Len,
                _ => Op::Snapshot,
            };
            planned.push((effect, thread, op, now, returned));
            now = returned + random.random_range(1..5);
        }
    }
    planned.sort_by_key(|&(effect, ..)| effect);
    let mut state = State::new();
    let mut events: Vec<_> = planned
        .into_iter()
        .map(|(_, thread, op, called, returned)| Event {
            thread,
            op,
            called,
            returned: Some((OrderedMap.apply(&mut state, &op), returned)),
        })
        .collect();
    if random.random_bool(0.7) {
        let at = random.random_range(0..events.len());
        let (answer, _) = events[at].returned.as_mut().unwrap();
        *answer = match answer {
            Answer::Value(Some(_)) => Answer::Value(None),
            Answer::Value(None) => Answer::Value(Some(random.random_range(0..3))),
            Answer::Len(len) => Answer::Len(*len ^ 1),
            Answer::All(all) => Answer::All(all.iter().skip(1).copied().collect()),
            Answer::Done => Answer::Done,
        };
    }
    events
}

#[test]
fn two_checkers_agree() {
    const HISTORIES: usize = 20_000;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut linearizable = 0;
    for at in 0..HISTORIES {
        let events = events(&mut random);
        let history = History::<OrderedMap>::new(events.iter().cloned());
        let ours = history.is_linearizable(&OrderedMap);
        assert_eq!(ours, theirs(&events), "history {at}:\n{history:?}");
        linearizable += usize::from(ours);
    }
    println!("{linearizable} of {HISTORIES} histories are linearizable, say both");
    let wrong = HISTORIES - linearizable;
    assert!(linearizable > HISTORIES / 10 && wrong > HISTORIES / 10);
}
