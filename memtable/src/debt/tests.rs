//! What is named, and how often.

use super::*;
use crate::Memtable;

const ROUNDS: usize = 10_000;

/// How many entries are named behind the mark that was set last.
fn named(table: &Memtable) -> usize {
    let guard = reclaim::pin();
    let view = table.table().clock.now(&guard);
    let mark = view.marks.iter().next().expect("one is open");
    mark.written.count(&guard)
}

#[test]
fn a_stage_names_a_key_once_also_where_it_is_removed_or_written_by_batches() {
    let table = Memtable::new();
    let stage = table.open_stage();
    for _ in 0..ROUNDS {
        table.insert("k", "v").expect("small");
        table.remove("k").expect("small");
    }
    assert!(named(&table) < ROUNDS / 10, "{}", named(&table));
    for _ in 0..ROUNDS {
        let mut batch = crate::WriteBatch::new();
        batch.put("a", "v").put("b", "v");
        table.apply(&batch).expect("small");
    }
    assert!(named(&table) < ROUNDS / 10, "{}", named(&table));
    table.cleanup_stage(stage).expect("it is the innermost one");
    assert!(table.is_empty());
}

#[test]
fn a_stage_names_a_key_once_that_is_written_in_each_of_many_stages_inside() {
    let table = Memtable::new();
    let outer = table.open_stage();
    let outside = table.savepoint();
    for round in 0..ROUNDS {
        let stage = table.open_stage();
        let inner = table.open_stage();
        let innermost = (round % 3 == 0).then(|| table.open_stage());
        table.insert("k", round.to_be_bytes()).expect("small");
        for stage in innermost.into_iter().chain([inner, stage]) {
            table.release_stage(stage).expect("it is the innermost one");
        }
    }
    assert!(named(&table) < ROUNDS / 10, "{}", named(&table));
    // As a savepoint that is made again and again, and the one before let go.
    let mut savepoint = table.savepoint();
    for round in 0..ROUNDS {
        if round % 3 == 0 {
            table.insert("k", round.to_be_bytes()).expect("small");
        }
        let next = table.savepoint();
        savepoint = next;
    }
    drop(savepoint);
    assert!(named(&table) < ROUNDS / 10, "{}", named(&table));
    assert!(table.table().debts.outstanding.load(Ordering::Relaxed) < ROUNDS / 10);
    outside.roll_back().expect("no stage is open inside");
    assert_eq!(table.get("k"), None);
    table.cleanup_stage(outer).expect("it is the innermost one");
    assert!(table.is_empty());
}

/// Each snapshot that goes leaves another one that blocks.
fn under_snapshots(mut round: impl FnMut(&Memtable)) -> usize {
    let table = Memtable::new();
    let mut snapshot = table.snapshot();
    for _ in 0..ROUNDS {
        table.insert("k", "v").expect("small");
        let next = table.snapshot();
        round(&table);
        snapshot = next;
    }
    drop(snapshot);
    table.table().debts.outstanding.load(Ordering::Relaxed)
}

#[test]
fn a_key_that_is_removed_under_each_snapshot_is_named_once() {
    let outstanding = under_snapshots(|table| drop(table.remove("k").expect("small")));
    assert!(outstanding < ROUNDS / 10, "{outstanding}");
}

#[test]
fn a_key_that_is_written_in_a_stage_under_each_snapshot_is_named_once() {
    let outstanding = under_snapshots(|table| {
        let stage = table.open_stage();
        table.insert("k", "w").expect("small");
        table.release_stage(stage).expect("it is the innermost one");
    });
    assert!(outstanding < ROUNDS / 10, "{outstanding}");
}
