//! Stages inside of stages, as deep as there are operations.

use super::{
    Form, INNERMOST, MANY_VERSIONS, NEW, OLD, ROWS, SHOWN_HOLES, Trial, is, key, put, rows, touch,
    value,
};
use untorn_memtable::{Memtable, StageId};

/// Opens so many stages and does something in each.
fn open(table: &Memtable, n: u64, mut within: impl FnMut(u64)) -> Vec<StageId> {
    (0..n)
        .map(|i| {
            let stage = table.open_stage();
            within(i);
            stage
        })
        .collect()
}

fn release(table: &Memtable, stages: Vec<StageId>) {
    for stage in stages.into_iter().rev() {
        table.release_stage(stage).expect(INNERMOST);
    }
}

fn clean_up(table: &Memtable, stages: Vec<StageId>) {
    for stage in stages.into_iter().rev() {
        table.cleanup_stage(stage).expect(INNERMOST);
    }
}

/// `close` closes the stages, so that the row holds `left`.
fn a_snapshot_in_each_kept(trial: &mut Trial, close: fn(&Memtable, Vec<StageId>), left: &[u8]) {
    let table = rows();
    let mut kept = Vec::new();
    trial.time(|n| {
        let stages = open(&table, n, |i| {
            put(&table, 5, &key(i));
            kept.push(table.snapshot());
        });
        close(&table, stages);
    });
    trial.check(kept[0].get(key(5)).as_deref(), Some(&key(0)[..]));
    trial.check(value(&table, 5), is(left));
    trial.drop(kept);
    trial.drop(table);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("nested stage with a key of its own, released", |trial| {
        let table = Memtable::new();
        trial.time(|n| release(&table, open(&table, n, |i| put(&table, i, NEW))));
        trial.check(table.len() as u64, trial.n());
        trial.drop(table);
    }),
    Form::new("nested stage with a key of its own, cleaned up", |trial| {
        let table = Memtable::new();
        trial.time(|n| clean_up(&table, open(&table, n, |i| put(&table, i, NEW))));
        trial.check(table.len(), 0);
        trial.drop(table);
    }),
    Form::new("nested stage that writes one key, released", |trial| {
        let table = rows();
        trial.time(|n| release(&table, open(&table, n, |i| put(&table, 5, &key(i)))));
        trial.check(value(&table, 5), is(&key(trial.n() - 1)));
        trial.drop(table);
    }),
    Form::new("nested stage that writes one key, cleaned up", |trial| {
        let table = rows();
        trial.time(|n| clean_up(&table, open(&table, n, |i| put(&table, 5, &key(i)))));
        trial.check(value(&table, 5), is(OLD));
        trial.drop(table);
    }),
    Form::new("nested stage with a write, a get and stats", |trial| {
        let table = rows();
        let right = trial.time(|n| {
            let mut right = true;
            let stages = open(&table, n, |i| {
                put(&table, i % ROWS, &key(i));
                right &= value(&table, i % ROWS) == is(&key(i));
                right &= table.stats().len as u64 == ROWS;
            });
            clean_up(&table, stages);
            right
        });
        trial.check(right, true);
        trial.check(value(&table, 0), is(OLD));
        trial.drop(table);
    })
    .known(MANY_VERSIONS),
    Form::new("nested stage with a write and a scan of ten", |trial| {
        let table = rows();
        let right = trial.time(|n| {
            let mut right = true;
            let stages = open(&table, n, |i| {
                put(&table, i % 10, NEW);
                right &= table.pin().range(..key(10)).count() == 10;
            });
            clean_up(&table, stages);
            right
        });
        trial.check(right, true);
        trial.drop(table);
    }),
    Form::new("nested stage, a snapshot in each kept, released", |trial| {
        let last = key(trial.n() - 1);
        a_snapshot_in_each_kept(trial, release, &last);
    }),
    Form::new(
        "nested stage, a snapshot in each kept, cleaned up",
        |trial| a_snapshot_in_each_kept(trial, clean_up, OLD),
    )
    .known(SHOWN_HOLES),
    Form::new(
        "write in a stage that is ten deep, stats after each",
        |trial| {
            let table = rows();
            let stages = open(&table, 10, |i| put(&table, i, NEW));
            let right = trial.time(|n| {
                (0..n).all(|i| {
                    put(&table, i % ROWS, NEW);
                    table.stats().len as u64 == ROWS
                })
            });
            trial.check(right, true);
            clean_up(&table, stages);
            trial.check(value(&table, 5), is(OLD));
            trial.drop(table);
        },
    ),
    Form::new("write before, in and after a stage", |trial| {
        let table = rows();
        trial.time(|n| {
            for i in 0..n {
                touch(&table, [i % ROWS]);
                let stage = table.open_stage();
                put(&table, i % ROWS, OLD);
                table.cleanup_stage(stage).expect(INNERMOST);
                touch(&table, [i % ROWS]);
            }
        });
        trial.check(value(&table, 0), is(NEW));
        trial.drop(table);
    }),
];
