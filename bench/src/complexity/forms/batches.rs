//! Batches: many, and one that is as large as all of them.

use untorn_memtable::{Memtable, StageId, WriteBatch};

use super::{Form, NEW, OLD, ROWS, SHORT, Trial, key, rows, value};

fn batch(keys: impl IntoIterator<Item = u64>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for row in keys {
        batch.put(key(row), NEW);
    }
    batch
}

/// A batch of ten keys in a stage, which `close` closes, so that a row holds `left`.
fn in_a_stage(trial: &mut Trial, close: fn(&Memtable, StageId) -> bool, left: &[u8]) {
    let table = rows();
    let ten = batch(0..10);
    let closed = trial.time(|n| {
        (0..n).all(|_| {
            let stage = table.open_stage();
            table.apply(&ten).expect(SHORT);
            close(&table, stage)
        })
    });
    trial.check(closed, true);
    trial.check(value(&table, 5).as_deref(), Some(left));
    trial.drop(table);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("batch of ten new keys", |trial| {
        let table = Memtable::new();
        trial.time(|n| {
            for i in 0..n {
                table.apply(&batch(i * 10..i * 10 + 10)).expect(SHORT);
            }
        });
        trial.check(table.len() as u64, trial.n() * 10);
        trial.drop(table);
    }),
    Form::new("batch of the same ten keys", |trial| {
        let table = rows();
        let ten = batch(0..10);
        trial.time(|n| {
            for _ in 0..n {
                table.apply(&ten).expect(SHORT);
            }
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
    Form::new(
        "batch of the same ten keys beside an old snapshot",
        |trial| {
            let table = rows();
            let old = table.snapshot();
            let ten = batch(0..10);
            trial.time(|n| {
                for _ in 0..n {
                    table.apply(&ten).expect(SHORT);
                }
            });
            trial.check(table.len() as u64, ROWS);
            trial.check(old.get(key(5)).is_some_and(|value| value != NEW), true);
            trial.drop(old);
            trial.drop(table);
        },
    ),
    Form::new("batch of ten keys in a stage, cleaned up", |trial| {
        in_a_stage(
            trial,
            |table, stage| table.cleanup_stage(stage).is_ok(),
            OLD,
        );
    }),
    Form::new("batch of ten keys in a stage, released", |trial| {
        in_a_stage(
            trial,
            |table, stage| table.release_stage(stage).is_ok(),
            NEW,
        );
    }),
    Form::new("key of one large batch", |trial| {
        let table = Memtable::new();
        trial.time(|n| table.apply(&batch(0..n)).map(drop).expect(SHORT));
        trial.check(table.len() as u64, trial.n());
        trial.drop(table);
    }),
    Form::new("key of one large batch, in no order", |trial| {
        let table = Memtable::new();
        let scattered = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        trial.time(|n| {
            table
                .apply(&batch((0..n).map(scattered)))
                .map(drop)
                .expect(SHORT)
        });
        trial.check(table.len() as u64, trial.n());
        trial.drop(table);
    }),
    Form::new("put of one large batch that is all of one key", |trial| {
        let table = rows();
        trial.time(|n| {
            table
                .apply(&batch((0..n).map(|_| 5)))
                .map(drop)
                .expect(SHORT)
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
];
