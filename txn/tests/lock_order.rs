//! Who is granted a lock, and in which order.

mod lock_harness;

use lock_harness::*;
use untorn_txn::lock::{LockError, LockRequest, LockTable};

#[test]
fn a_free_key_is_granted_at_once_and_told_again_to_its_owner() {
    let table = LockTable::new();
    let first = take(&table, 7, "k", Exclusive);
    assert!(!first.already_held);
    assert!(first.waited.is_zero());
    assert!(take(&table, 7, "k", Exclusive).already_held);
    assert!(take(&table, 7, "k", Shared).already_held);
    assert_eq!(table.mode_of(7, b"k"), Some(Exclusive));
    assert_eq!(table.mode_of(8, b"k"), None);
    assert!(table.release(7, b"k", 0));
    assert!(table.is_empty());
    assert!(!table.release(7, b"k", 0));
}

#[test]
fn exclusive_calls_are_granted_one_by_one_in_the_order_of_their_arrival() {
    let table = LockTable::new();
    take(&table, 100, "k", Exclusive);
    // The order is that of arrival, not of owners.
    let owners = [5, 3, 9, 1];
    let mut tasks = owners.map(|owner| Task::waiting(&table, owner, "k", Exclusive));
    let mut holder = 100;
    for at in 0..owners.len() {
        assert!(table.release(holder, b"k", 0));
        assert_eq!(tasks[at].granted().waiters, owners.len() - at - 1);
        for waiting in &mut tasks[at + 1..] {
            waiting.still_waits();
        }
        holder = owners[at];
        assert_eq!(table.mode_of(holder, b"k"), Some(Exclusive));
    }
    assert!(table.release(holder, b"k", 0));
    assert!(table.is_empty());
}

#[test]
fn the_place_in_the_queue_is_taken_by_the_call_and_not_by_its_first_poll() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut unpolled = Task::new(table.acquire(2, &key("k"), Exclusive, &forever(0)));
    let mut polled = Task::waiting(&table, 3, "k", Exclusive);
    table.release(1, b"k", 0);
    polled.still_waits();
    assert!(matches!(unpolled.poll(), Some(Ok(_))));
}

#[test]
fn shared_owners_hold_together_and_an_exclusive_one_waits_for_the_last() {
    let table = LockTable::new();
    for owner in [3, 1, 2] {
        take(&table, owner, "k", Shared);
    }
    let mut writer = Task::waiting(&table, 9, "k", Exclusive);
    for owner in [1, 2] {
        table.release(owner, b"k", 0);
        writer.still_waits();
    }
    table.release(3, b"k", 0);
    writer.granted();
}

#[test]
fn a_shared_call_queues_behind_a_waiting_exclusive_one() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    let mut writer = Task::waiting(&table, 2, "k", Exclusive);
    let mut reader = Task::waiting(&table, 3, "k", Shared);
    let refused = table.try_acquire(4, &key("k"), Shared, 0);
    assert_eq!(
        refused,
        Err(LockError::NotAvailable {
            key: key("k"),
            holders: vec![2]
        })
    );
    table.release(1, b"k", 0);
    writer.granted();
    reader.still_waits();
    table.release(2, b"k", 0);
    reader.granted();
}

#[test]
fn shared_calls_next_to_each_other_are_granted_together_up_to_the_next_exclusive_one() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut near = [2, 3, 4].map(|owner| Task::waiting(&table, owner, "k", Shared));
    let mut writer = Task::waiting(&table, 5, "k", Exclusive);
    let mut far = Task::waiting(&table, 6, "k", Shared);
    table.release(1, b"k", 0);
    for task in &mut near {
        task.granted();
    }
    writer.still_waits();
    far.still_waits();
    assert_eq!(
        table
            .holders(b"k")
            .iter()
            .map(|holder| holder.owner)
            .collect::<Vec<_>>(),
        [2, 3, 4]
    );
}

#[test]
fn a_withdrawn_exclusive_call_lets_the_shared_ones_behind_it_through() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    let writer = Task::waiting(&table, 2, "k", Exclusive);
    let mut readers = [3, 4].map(|owner| Task::waiting(&table, owner, "k", Shared));
    drop(writer);
    for task in &mut readers {
        task.granted();
    }
}

#[test]
fn a_sole_shared_holder_is_upgraded_at_once_even_before_a_queue() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    let mut writer = Task::waiting(&table, 2, "k", Exclusive);
    let upgraded = table.try_acquire(1, &key("k"), Exclusive, 1);
    assert!(upgraded.is_ok_and(|granted| !granted.already_held && granted.waiters == 1));
    // Giving back the upgrade leaves the shared lock.
    table.release(1, b"k", 1);
    assert_eq!(table.mode_of(1, b"k"), Some(Shared));
    writer.still_waits();
    table.release(1, b"k", 0);
    writer.granted();
}

#[test]
fn an_upgrade_goes_ahead_of_the_queue_and_waits_for_the_other_holders() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    take(&table, 2, "k", Shared);
    let mut writer = Task::waiting(&table, 3, "k", Exclusive);
    let mut upgrade = Task::waiting(&table, 1, "k", Exclusive);
    table.release(2, b"k", 0);
    upgrade.granted();
    writer.still_waits();
    assert_eq!(table.mode_of(1, b"k"), Some(Exclusive));
    table.release_all(1, [b"k"]);
    writer.granted();
}

#[test]
fn an_upgrade_whose_owner_lets_go_of_its_shared_lock_waits_on_at_the_head() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    take(&table, 2, "k", Shared);
    let mut writer = Task::waiting(&table, 3, "k", Exclusive);
    let mut upgrade = Task::new(table.acquire(1, &key("k"), Exclusive, &forever(1)));
    assert_eq!(upgrade.poll(), None);
    assert!(table.release(1, b"k", 0));
    upgrade.still_waits();
    table.release(2, b"k", 0);
    upgrade.granted();
    writer.still_waits();
}

#[test]
fn a_grant_serves_every_call_of_its_owner_that_it_covers() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut first = Task::new(table.acquire(2, &key("k"), Exclusive, &forever(1)));
    let mut other = Task::waiting(&table, 3, "k", Exclusive);
    let mut second = Task::new(table.acquire(2, &key("k"), Shared, &forever(2)));
    let mut third = Task::new(table.acquire(2, &key("k"), Exclusive, &forever(3)));
    for task in [&mut first, &mut second, &mut third] {
        assert_eq!(task.poll(), None);
    }
    table.release(1, b"k", 0);
    assert!(!first.granted().already_held);
    assert!(second.granted().already_held);
    assert!(third.granted().already_held);
    other.still_waits();
    assert_eq!(table.holders(b"k")[0].attempts, [1, 2, 3]);
    // Each attempt is undone by its own number.
    assert!(table.release(2, b"k", 1));
    assert!(table.release(2, b"k", 3));
    assert_eq!(table.mode_of(2, b"k"), Some(Shared));
    other.still_waits();
    assert!(table.release(2, b"k", 2));
    other.granted();
}

#[test]
fn a_shared_grant_turns_the_exclusive_call_of_its_owner_into_an_upgrade() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut early = Task::waiting(&table, 5, "k", Shared);
    let mut shared = Task::waiting(&table, 2, "k", Shared);
    let mut reader = Task::waiting(&table, 3, "k", Shared);
    let mut writer = Task::waiting(&table, 4, "k", Exclusive);
    let mut exclusive = Task::waiting(&table, 2, "k", Exclusive);
    table.release(1, b"k", 0);
    early.granted();
    shared.granted();
    // The upgrade waits for the other holder alone, and goes ahead of those that came before it.
    for task in [&mut exclusive, &mut reader, &mut writer] {
        task.still_waits();
    }
    table.release(5, b"k", 0);
    exclusive.granted();
    reader.still_waits();
    table.release_all(2, [b"k"]);
    reader.granted();
    writer.still_waits();
}

#[test]
fn a_no_wait_grant_serves_a_sibling_in_the_queue() {
    let table = LockTable::new();
    take(&table, 1, "k", Shared);
    let mut sibling = Task::waiting(&table, 2, "k", Exclusive);
    assert!(table.try_acquire(2, &key("k"), Exclusive, 1).is_err());
    table.release(1, b"k", 0);
    sibling.granted();
    assert!(
        table
            .try_acquire(2, &key("k"), Exclusive, 1)
            .is_ok_and(|granted| granted.already_held)
    );
}

#[test]
fn a_late_release_of_a_failed_attempt_leaves_what_a_retry_took() {
    // R29, S24.
    let table = LockTable::new();
    assert!(table.try_acquire(1, &key("k"), Exclusive, 1).is_ok());
    assert!(table.try_acquire(1, &key("k"), Exclusive, 2).is_ok());
    assert!(table.release(1, b"k", 1));
    assert_eq!(table.mode_of(1, b"k"), Some(Exclusive));
    assert!(
        !table.release(1, b"k", 1),
        "a repeated release finds nothing"
    );
    assert_eq!(table.holders(b"k")[0].attempts, [2]);
}

#[test]
fn a_request_that_comes_twice_is_undone_by_one_release() {
    let table = LockTable::new();
    assert!(table.try_acquire(1, &key("k"), Exclusive, 5).is_ok());
    assert!(table.try_acquire(1, &key("k"), Exclusive, 5).is_ok());
    assert!(table.release(1, b"k", 5));
    assert!(table.is_empty());
}

#[test]
fn release_all_lets_go_of_the_named_keys_and_of_no_other_owners() {
    let table = LockTable::new();
    for name in ["a", "b", "c"] {
        take(&table, 1, name, Shared);
    }
    take(&table, 2, "a", Shared);
    assert!(table.try_acquire(1, &key("a"), Shared, 9).is_ok());
    assert_eq!(table.release_all(1, ["a", "b", "x"]), 2);
    assert_eq!(table.mode_of(2, b"a"), Some(Shared));
    assert_eq!(table.mode_of(1, b"a"), None);
    assert_eq!(table.mode_of(1, b"c"), Some(Shared));
    assert_eq!(table.len(), 2);
}

#[test]
fn no_wait_names_the_key_and_its_holders() {
    let table = LockTable::new();
    take(&table, 1, "k\n", Shared);
    take(&table, 2, "k\n", Shared);
    let refused = table.acquire_blocking(3, &key("k\n"), Exclusive, &LockRequest::no_wait(0));
    let Err(error) = refused else {
        panic!("granted")
    };
    assert_eq!(
        error,
        LockError::NotAvailable {
            key: key("k\n"),
            holders: vec![1, 2]
        }
    );
    assert_eq!(
        error.to_string(),
        r#"lock on "k\n" not available, held by [1, 2]"#
    );
    assert_eq!(error.key(), Some(&key("k\n")));
    let zero = table.acquire_blocking(3, &key("k\n"), Exclusive, &within(0, 0));
    assert_eq!(zero, Err(error));
    assert_eq!(table.stats().not_available, 2);
    assert_eq!(table.stats().waits, 0);
}

/// Else of n calls that give up each would name n.
#[test]
fn of_many_in_the_way_the_next_64_are_named() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let queued = 2..102;
    let calls: Vec<_> = queued
        .map(|owner| table.acquire(owner, &key("k"), Exclusive, &forever(0)))
        .collect();
    let next: Vec<_> = std::iter::once(1).chain((39..102).rev()).collect();
    let refused = table.try_acquire(200, &key("k"), Exclusive, 0);
    let named = |error| match error {
        LockError::NotAvailable { holders, .. } | LockError::Timeout { holders, .. } => holders,
        other => panic!("{other}"),
    };
    assert_eq!(refused.map_err(named), Err(next.clone()));
    let timed_out = table.acquire_blocking(200, &key("k"), Exclusive, &within(5, 0));
    assert_eq!(timed_out.map_err(named), Err(next));
    let told = table.waiting();
    assert!(told.iter().all(|call| call.blockers.len() <= 64));
    drop(calls);
    // Holders come first, and as many of them.
    let table = LockTable::new();
    for owner in 1..=100 {
        take(&table, owner, "k", Shared);
    }
    let refused = table.try_acquire(200, &key("k"), Exclusive, 0);
    assert_eq!(refused.map_err(named), Err((1..=64).collect()));
}

#[test]
fn held_and_waiting_tell_who_blocks_whom() {
    let table = LockTable::new();
    take(&table, 1, "a", Shared);
    take(&table, 2, "a", Shared);
    take(&table, 3, "b", Exclusive);
    let _upgrade = Task::waiting(&table, 2, "a", Exclusive);
    let _writer = Task::waiting(&table, 4, "a", Exclusive);
    let _reader = Task::waiting(&table, 5, "b", Shared);

    let mut held = table.held();
    held.sort_by(|a, b| a.key.cmp(&b.key));
    let told: Vec<_> = held
        .iter()
        .map(|lock| (&lock.key[..], lock.holders.len(), lock.waiters))
        .collect();
    assert_eq!(told, [(&b"a"[..], 2, 2), (b"b", 1, 1)]);

    let told: Vec<_> = table
        .waiting()
        .into_iter()
        .map(|call| (call.owner, call.blockers))
        .collect();
    assert_eq!(told, [(2, vec![1]), (4, vec![1, 2]), (5, vec![3])]);
}

#[test]
fn counters_add_up() {
    let table = LockTable::new();
    take(&table, 1, "k", Exclusive);
    let mut granted = Task::waiting(&table, 2, "k", Exclusive);
    drop(Task::waiting(&table, 3, "k", Exclusive));
    assert!(
        table
            .acquire_blocking(4, &key("k"), Exclusive, &within(1, 0))
            .is_err()
    );
    table.release(1, b"k", 0);
    granted.granted();
    let stats = table.stats();
    assert_eq!((stats.grants, stats.waits), (2, 3));
    assert_eq!(
        (stats.timeouts, stats.cancelled, stats.deadlocks),
        (1, 1, 0)
    );
    assert_eq!(stats.wait_time.iter().sum::<u64>(), 3);
}
