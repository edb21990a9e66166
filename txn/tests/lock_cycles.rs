//! What makes a cycle of waiting calls, and which of the victim's calls are on it.

mod lock_harness;

use lock_harness::*;
use std::time::Duration;
use untorn_txn::lock::{LockError, LockTable, LockTableOptions, WaitEdge};

/// A table whose search would not come before an hour has passed.
fn searching_in_an_hour() -> LockTable {
    let options = LockTableOptions::default();
    LockTable::with_options(options.deadlock_delay(Duration::from_secs(3600)))
}

fn until_broken(call: &mut Task) {
    assert!(matches!(
        call.woken(),
        Some(Err(LockError::Deadlock { .. }))
    ));
}

#[test]
fn who_stands_between_two_calls_of_an_owner_for_one_key_makes_no_deadlock() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut first = Task::waiting(&table, 9, "k", Shared);
    let mut between = Task::waiting(&table, 5, "k", Exclusive);
    let mut second = Task::waiting(&table, 9, "k", Exclusive);
    until_searched(&table);
    table.release(1, b"k", 0);
    first.granted();
    second.granted();
    between.still_waits();
    table.release_all(9, [key("k")]);
    between.granted();
}

#[test]
fn a_deadlock_that_the_grant_of_one_of_two_calls_for_a_key_makes_is_found() {
    let table = LockTable::new();
    take(&table, 2, "k", Exclusive);
    take(&table, 5, "m", Shared);
    let mut first = Task::waiting(&table, 1, "k", Shared);
    let mut other = Task::waiting(&table, 5, "k", Shared);
    let _on_cycle = Task::waiting(&table, 1, "m", Exclusive);
    let mut second = Task::waiting(&table, 1, "k", Exclusive);
    until_searched(&table);
    // The upgrade passes the shared call, which waited for 2 alone before.
    table.release(2, b"k", 0);
    first.granted();
    second.granted();
    until_broken(&mut other);
}

#[test]
fn a_deadlock_that_stands_when_one_of_two_calls_for_a_key_fails_is_found() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    take(&table, 9, "m", Exclusive);
    let first = Task::waiting(&table, 9, "k", Shared);
    let mut between = Task::waiting(&table, 5, "k", Exclusive);
    let mut on_cycle = Task::waiting(&table, 5, "m", Exclusive);
    let mut second = Task::waiting(&table, 9, "k", Exclusive);
    until_searched(&table);
    assert!(first.canceller().cancel());
    until_broken(&mut second);
    between.still_waits();
    on_cycle.still_waits();
}

#[test]
fn two_upgrades_of_one_key_are_a_deadlock_at_once_and_the_younger_fails() {
    let cycle = |victim, other| {
        let edge = |waiter, holder| WaitEdge {
            waiter,
            holder,
            key: key("k"),
        };
        vec![edge(victim, other), edge(other, victim)]
    };
    // The younger comes second, then first.
    let table = searching_in_an_hour();
    take(&table, 1, "k", Shared);
    take(&table, 2, "k", Shared);
    let mut old = Task::waiting(&table, 1, "k", Exclusive);
    let Err(error) = table.acquire_blocking(2, &key("k"), Exclusive, &forever(0)) else {
        panic!()
    };
    assert!(
        matches!(&error, LockError::Deadlock { cycle: told, .. } if *told == cycle(2, 1)),
        "{error}"
    );
    old.still_waits();
    table.release(2, b"k", 0);
    old.granted();

    let table = searching_in_an_hour();
    take(&table, 1, "k", Shared);
    take(&table, 2, "k", Shared);
    let mut young = Task::waiting(&table, 2, "k", Exclusive);
    let mut old = Task::waiting(&table, 1, "k", Exclusive);
    assert_eq!(young.wakes(), 1);
    let error = young.poll();
    assert!(
        matches!(&error, Some(Err(LockError::Deadlock { cycle: told, .. })) if *told == cycle(2, 1)),
        "{error:?}"
    );
    table.release(2, b"k", 0);
    old.granted();
}

#[test]
fn an_upgrade_that_must_not_wait_is_refused_and_is_no_deadlock() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    take(&table, 2, "k", Shared);
    let mut upgrade = Task::waiting(&table, 2, "k", Exclusive);
    let refused = table.try_acquire(1, &key("k"), Exclusive, 0);
    assert_eq!(
        refused,
        Err(LockError::NotAvailable {
            key: key("k"),
            holders: vec![2]
        })
    );
    upgrade.still_waits();
}

#[test]
fn only_the_victims_call_on_the_cycle_fails() {
    let table = LockTable::new();
    take(&table, 1, "a", Exclusive);
    take(&table, 9, "b", Exclusive);
    take(&table, 5, "c", Exclusive);
    let mut beside = Task::waiting(&table, 9, "c", Exclusive);
    let mut on_cycle = Task::waiting(&table, 9, "a", Exclusive);
    let mut other = Task::new(table.acquire(1, &key("b"), Exclusive, &forever(0)));
    assert_eq!(other.poll(), None);
    let Some(Err(LockError::Deadlock { cycle, .. })) = on_cycle.woken() else {
        panic!()
    };
    check_shape(&cycle, 9);
    beside.still_waits();
    table.release(9, b"b", 0);
    other.granted();
    table.release(5, b"c", 0);
    beside.granted();
}

#[test]
fn a_victim_in_two_cycles_loses_both_calls() {
    let table = LockTable::new();
    take(&table, 1, "a", Exclusive);
    take(&table, 1, "b", Exclusive);
    take(&table, 9, "c", Exclusive);
    let mut calls = [
        Task::waiting(&table, 9, "a", Exclusive),
        Task::waiting(&table, 9, "b", Exclusive),
    ];
    let mut other = Task::new(table.acquire(1, &key("c"), Exclusive, &forever(0)));
    assert_eq!(other.poll(), None);
    calls.iter_mut().for_each(until_broken);
    table.release(9, b"c", 0);
    other.granted();
}

#[test]
fn a_cycle_through_a_place_in_the_queue_is_found() {
    // 3 waits shared for "a" only since 2 stands ahead of it exclusively.
    let table = LockTable::new();
    take(&table, 1, "a", Shared);
    take(&table, 3, "b", Exclusive);
    let mut two = Task::waiting(&table, 2, "a", Exclusive);
    let mut three = Task::waiting(&table, 3, "a", Shared);
    let mut one = Task::new(table.acquire(1, &key("b"), Exclusive, &forever(0)));
    assert_eq!(one.poll(), None);
    let edge = |waiter, holder, name| WaitEdge {
        waiter,
        holder,
        key: key(name),
    };
    let expected = vec![edge(3, 2, "a"), edge(2, 1, "a"), edge(1, 3, "b")];
    let result = three.woken();
    assert!(
        matches!(&result, Some(Err(LockError::Deadlock { cycle, .. })) if *cycle == expected),
        "{result:?}"
    );
    two.still_waits();
    table.release(3, b"b", 0);
    one.granted();
}

#[test]
fn a_cycle_through_a_sibling_call_ahead_in_the_queue_is_found() {
    // 4 stands ahead of 2 for "a" and waits for "b" with another call; nobody who holds "a" waits for anything.
    let table = LockTable::new();
    take(&table, 1, "a", Exclusive);
    take(&table, 2, "b", Exclusive);
    let mut ahead = Task::waiting(&table, 4, "a", Exclusive);
    let mut two = Task::waiting(&table, 2, "a", Exclusive);
    let mut sibling = Task::new(table.acquire(4, &key("b"), Exclusive, &forever(0)));
    let edge = |waiter, holder, name| WaitEdge {
        waiter,
        holder,
        key: key(name),
    };
    let expected = vec![edge(4, 2, "b"), edge(2, 4, "a")];
    let result = sibling.poll();
    assert!(
        matches!(&result, Some(Err(LockError::Deadlock { cycle, .. })) if *cycle == expected),
        "{result:?}"
    );
    ahead.still_waits();
    two.still_waits();
}

/// The call that closes a ring looks near by, itself: whoever is to fail knows it when that call begins to wait.
#[test]
fn a_deadlock_of_few_is_found_at_once() {
    for owners in [2, 3, 10] {
        let table = searching_in_an_hour();
        for at in 0..owners {
            take(&table, at as u64 + 1, &at.to_string(), Exclusive);
        }
        let ask = |at: usize| {
            let (owner, wanted) = (at as u64 + 1, ((at + 1) % owners).to_string());
            Task::new(table.acquire(owner, &key(&wanted), Exclusive, &forever(0)))
        };
        let mut open: Vec<Task> = (0..owners).rev().map(ask).collect();
        let (youngest, others) = open.split_first_mut().expect("calls");
        let Some(Err(LockError::Deadlock { cycle, .. })) = youngest.poll() else {
            panic!("{owners} owners")
        };
        assert_eq!(cycle.len(), owners);
        others.iter_mut().for_each(Task::still_waits);
    }
}

#[test]
fn depth_is_no_deadlock_and_a_deep_cycle_is_one() {
    let table = LockTable::new();
    let n = 300;
    for at in 0..n {
        assert!(
            table
                .try_acquire(at as u64 + 1, &ring_key(at), Exclusive, 0)
                .is_ok()
        );
    }
    let ask = |at: usize| {
        Task::new(table.acquire(
            at as u64 + 1,
            &ring_key((at + 1) % n),
            Exclusive,
            &forever(0),
        ))
    };
    let mut chain: Vec<Task> = (0..n - 1).map(ask).collect();
    until_searched(&table);
    chain.iter_mut().for_each(Task::still_waits);
    // The last one closes it.
    let closing = block_on(table.acquire(n as u64, &ring_key(0), Exclusive, &forever(0)));
    let Err(LockError::Deadlock { cycle, .. }) = closing else {
        panic!()
    };
    check_shape(&cycle, n as u64);
    assert_eq!(cycle.len(), n);
}
