//! Histories written by hand, whose verdict a reader can check.
#![allow(missing_docs, clippy::unwrap_used)]

use untorn_linearizability::ordered_map::{Answer, Op, OrderedMap};
use untorn_linearizability::{Event, History};

const K: u8 = 1;

fn event(thread: usize, op: Op, called: u64, returned: Option<(Answer, u64)>) -> Event<Op, Answer> {
    Event {
        thread,
        op,
        called,
        returned,
    }
}

fn insert(thread: usize, value: u8, called: u64, returned: u64) -> Event<Op, Answer> {
    let done = Some((Answer::Done, returned));
    event(thread, Op::Insert(K, value), called, done)
}

fn get(thread: usize, value: Option<u8>, called: u64, returned: u64) -> Event<Op, Answer> {
    let answer = Some((Answer::Value(value), returned));
    event(thread, Op::Get(K), called, answer)
}

fn is_linearizable(events: impl IntoIterator<Item = Event<Op, Answer>>) -> bool {
    History::new(events).is_linearizable(&OrderedMap)
}

#[test]
fn nothing_is_linearizable() {
    assert!(is_linearizable([]));
}

#[test]
fn overlapping_writes_may_take_effect_in_either_order() {
    let writes = [insert(0, 1, 0, 10), insert(1, 2, 0, 10)];
    for last in [1, 2] {
        assert!(is_linearizable(writes.clone().into_iter().chain([get(
            2,
            Some(last),
            11,
            12
        )])));
    }
    assert!(!is_linearizable(
        writes.into_iter().chain([get(2, None, 11, 12)])
    ));
}

#[test]
fn two_readers_do_not_see_two_orders() {
    let events = [
        insert(0, 1, 0, 10),
        insert(1, 2, 0, 10),
        get(2, Some(1), 1, 2),
        get(2, Some(2), 3, 4),
        get(2, Some(1), 5, 6),
    ];
    assert!(!is_linearizable(events));
}

#[test]
fn a_value_that_was_seen_is_not_taken_back() {
    let events = |first, second| {
        [
            insert(0, 7, 0, 100),
            get(1, first, 1, 2),
            get(2, second, 3, 4),
        ]
    };
    assert!(is_linearizable(events(None, Some(7))));
    assert!(!is_linearizable(events(Some(7), None)));
}

#[test]
fn what_returned_before_is_done_before() {
    assert!(!is_linearizable([insert(0, 7, 0, 1), get(1, None, 2, 3)]));
    // One clock tick apart is after, the same tick is at the same time.
    assert!(is_linearizable([insert(0, 7, 0, 2), get(1, None, 2, 3)]));
}

#[test]
fn what_never_returned_may_be_done_late_or_never() {
    let lost = event(0, Op::Insert(K, 7), 0, None);
    for seen in [None, Some(7)] {
        assert!(is_linearizable([lost.clone(), get(1, seen, 5, 6)]));
    }
    assert!(is_linearizable([
        lost.clone(),
        get(1, None, 5, 6),
        get(1, Some(7), 7, 8)
    ]));
    assert!(!is_linearizable([
        lost.clone(),
        get(1, Some(7), 5, 6),
        get(1, None, 7, 8)
    ]));
    assert!(!is_linearizable([
        get(1, Some(7), 1, 2),
        event(0, Op::Insert(K, 7), 3, None)
    ]));
}

#[test]
fn keys_are_judged_apart_unless_an_operation_is_about_all() {
    let one_each = [
        event(0, Op::Insert(1, 1), 0, Some((Answer::Done, 10))),
        event(1, Op::Insert(2, 2), 0, Some((Answer::Done, 10))),
    ];
    let len = |seen, at| event(2, Op::Len, at, Some((Answer::Len(seen), at + 1)));
    assert!(is_linearizable(one_each.clone().into_iter().chain([
        len(0, 1),
        len(1, 3),
        len(2, 5)
    ])));
    assert!(!is_linearizable(
        one_each.into_iter().chain([len(2, 1), len(1, 3)])
    ));
}

#[test]
fn what_is_left_of_a_wrong_history_is_what_makes_it_wrong() {
    let noise = (0..20).map(|n| insert(3, n, 10 * u64::from(n), 10 * u64::from(n) + 5));
    let noise = noise.map(|event| Event {
        op: match event.op {
            Op::Insert(_, value) => Op::Insert(K + 1, value),
            op => op,
        },
        ..event
    });
    let gap = [
        insert(0, 7, 0, 1),
        insert(0, 8, 2, 9),
        get(1, None, 3, 4),
        get(1, Some(8), 20, 21),
    ];
    let history = History::<OrderedMap>::new(noise.chain(gap));
    assert!(!history.is_linearizable(&OrderedMap));
    let reduced = history.reduced(&OrderedMap);
    assert!(!reduced.is_linearizable(&OrderedMap));
    let known: Vec<_> = reduced
        .events()
        .into_iter()
        .filter(|event| event.returned.is_some())
        .collect();
    assert_eq!(known, [&insert(0, 7, 0, 1), &get(1, None, 3, 4)]);
}

#[test]
#[should_panic(expected = "overlaps")]
fn a_thread_does_one_thing_at_a_time() {
    History::<OrderedMap>::new([insert(0, 1, 0, 5), insert(0, 2, 4, 6)]);
}
