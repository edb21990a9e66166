//! Stages one after the other, of ten writes each: what a statement is to an engine.

use super::{
    Form, INNERMOST, NEW, OLD, ROWS, SHORT, SHOWN_HOLES, Trial, is, key, rows, touch, value,
};
use std::ops::Range;
use untorn_memtable::{Memtable, Snapshot};

/// What becomes of a stage.
#[derive(Clone, Copy, PartialEq)]
enum Close {
    Release,
    CleanUp,
}

use Close::{CleanUp, Release};

impl Close {
    /// What a row holds afterwards that was written in the stage.
    fn left(self) -> Option<Vec<u8>> {
        is(if self == Release { NEW } else { OLD })
    }
}

/// A stage in which something is done.
fn staged(table: &Memtable, close: Close, work: impl FnOnce()) {
    let stage = table.open_stage();
    work();
    let closed = match close {
        Release => table.release_stage(stage).is_ok(),
        CleanUp => table.cleanup_stage(stage).is_ok(),
    };
    assert!(closed, "{INNERMOST}");
}

/// A stage of ten writes.
fn ten(table: &Memtable, close: Close) {
    staged(table, close, || touch(table, 0..10));
}

/// Ten keys that no other round writes.
fn new_keys(round: u64) -> Range<u64> {
    let from = ROWS + round * 10;
    from..from + 10
}

fn remove(table: &Memtable, rows: Range<u64>) {
    for row in rows {
        table.remove(key(row)).expect(SHORT);
    }
}

/// Whether every hundredth snapshot shows that in a row that is written.
fn show(kept: &[Snapshot<&Memtable>], held: &[u8]) -> bool {
    let mut some = kept.iter().step_by(100);
    some.all(|snapshot| snapshot.get(key(9)).as_deref() == Some(held))
}

fn ten_alone(trial: &mut Trial, close: Close) {
    let table = rows();
    trial.time(|n| (0..n).for_each(|_| ten(&table, close)));
    trial.check(value(&table, 9), close.left());
    trial.drop(table);
}

fn ten_beside_an_old_snapshot(trial: &mut Trial, close: Close) {
    let table = rows();
    let old = table.snapshot();
    trial.time(|n| (0..n).for_each(|_| ten(&table, close)));
    trial.check(value(&table, 9), close.left());
    trial.check(old.get(key(9)).as_deref(), Some(OLD));
    trial.drop(old);
    trial.drop(table);
}

fn ten_in_an_outer_stage(trial: &mut Trial, close: Close) {
    let table = rows();
    let outer = table.open_stage();
    trial.time(|n| (0..n).for_each(|_| ten(&table, close)));
    trial.check(value(&table, 9), close.left());
    trial.check(table.cleanup_stage(outer).is_ok(), true);
    trial.check(value(&table, 9), is(OLD));
    trial.drop(table);
}

fn ten_a_snapshot_in_each_kept(trial: &mut Trial, close: Close) {
    let table = rows();
    let mut kept = Vec::new();
    trial.time(|n| {
        for _ in 0..n {
            staged(&table, close, || {
                touch(&table, 0..10);
                kept.push(table.snapshot());
            });
        }
    });
    trial.check(value(&table, 9), close.left());
    trial.check(show(&kept, NEW), true);
    trial.drop(kept);
    trial.drop(table);
}

/// Each round writes `keys`, and takes the place of the snapshot that the one before took.
fn ten_the_last_snapshot_kept(trial: &mut Trial, keys: fn(u64) -> Range<u64>) {
    let table = rows();
    let last = keys(trial.n() - 1).end - 1;
    let before = value(&table, last);
    let mut kept = table.snapshot();
    trial.time(|n| {
        for round in 0..n {
            staged(&table, CleanUp, || {
                touch(&table, keys(round));
                kept = table.snapshot();
            });
        }
    });
    trial.check(value(&table, last), before);
    trial.check(table.len() as u64, ROWS);
    trial.check(kept.get(key(last)).as_deref(), Some(NEW));
    trial.drop(kept);
    trial.drop(table);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("stage with nothing in it", |trial| {
        let table = rows();
        trial.time(|n| (0..n).for_each(|_| staged(&table, CleanUp, || ())));
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
    Form::new("stage of ten writes, cleaned up", |trial| {
        ten_alone(trial, CleanUp);
    }),
    Form::new("stage of ten writes, released", |trial| {
        ten_alone(trial, Release);
    }),
    Form::new("stage of ten new keys, cleaned up", |trial| {
        let table = rows();
        trial.time(|n| {
            for i in 0..n {
                staged(&table, CleanUp, || touch(&table, new_keys(i)));
            }
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
    Form::new(
        "stage of ten writes, cleaned up, beside an old snapshot",
        |trial| ten_beside_an_old_snapshot(trial, CleanUp),
    ),
    Form::new(
        "stage of ten writes, released, beside an old snapshot",
        |trial| ten_beside_an_old_snapshot(trial, Release),
    ),
    Form::new(
        "stage of ten writes, cleaned up, a snapshot of each kept",
        |trial| ten_a_snapshot_in_each_kept(trial, CleanUp),
    )
    .known(SHOWN_HOLES),
    Form::new(
        "stage of ten writes, cleaned up, the last snapshot kept",
        |trial| ten_the_last_snapshot_kept(trial, |_| 0..10),
    ),
    Form::new(
        "stage of ten new keys, cleaned up, the last snapshot kept",
        |trial| ten_the_last_snapshot_kept(trial, new_keys),
    ),
    Form::new(
        "stage of ten writes, released, a snapshot of each kept",
        |trial| ten_a_snapshot_in_each_kept(trial, Release),
    ),
    Form::new(
        "stage of ten writes, cleaned up, a snapshot before each kept",
        |trial| {
            let table = rows();
            let mut kept = Vec::new();
            trial.time(|n| {
                for _ in 0..n {
                    kept.push(table.snapshot());
                    ten(&table, CleanUp);
                }
            });
            trial.check(value(&table, 9), is(OLD));
            trial.check(show(&kept, OLD), true);
            trial.drop(kept);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, cleaned up, in an outer stage",
        |trial| ten_in_an_outer_stage(trial, CleanUp),
    ),
    Form::new(
        "stage of ten writes, released, in an outer stage",
        |trial| ten_in_an_outer_stage(trial, Release),
    ),
    Form::new("stage of ten removes, cleaned up", |trial| {
        let table = rows();
        trial.time(|n| (0..n).for_each(|_| staged(&table, CleanUp, || remove(&table, 0..10))));
        trial.check(table.len() as u64, ROWS);
        trial.check(value(&table, 9), is(OLD));
        trial.drop(table);
    }),
    Form::new(
        "stage of ten new keys that are removed again, released",
        |trial| {
            let table = rows();
            trial.time(|n| {
                for _ in 0..n {
                    staged(&table, Release, || {
                        touch(&table, new_keys(0));
                        remove(&table, new_keys(0));
                    });
                }
            });
            trial.check(table.len() as u64, ROWS);
            trial.drop(table);
        },
    ),
    Form::new("stage of ten writes whose keys are listed", |trial| {
        let table = rows();
        let outer = table.open_stage();
        let right = trial.time(|n| {
            (0..n).all(|_| {
                let stage = table.open_stage();
                touch(&table, 0..10);
                let written = table.stage_writes(&stage).map(|all| all.len());
                table.release_stage(stage).expect(INNERMOST);
                written == Some(10)
            })
        });
        trial.check(right, true);
        trial.check(table.cleanup_stage(outer).is_ok(), true);
        trial.drop(table);
    }),
];
