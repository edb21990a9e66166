//! Reads beside writes: polling, cursors, scans that are given up early.

use untorn_memtable::Memtable;

use super::{Form, NEW, ROWS, key, put, rows, touch, value};

pub(super) const FORMS: &[Form] = &[
    Form::new("stats after each insert", |trial| {
        let table = Memtable::new();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                put(&table, i, NEW);
                table.stats().len as u64 == i + 1
            })
        });
        trial.check(right, true);
        trial.drop(table);
    }),
    Form::new("stats after each write in a stage", |trial| {
        let table = rows();
        let stage = table.open_stage();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                put(&table, i % ROWS, NEW);
                table.stats().len as u64 == ROWS
            })
        });
        trial.check(right, true);
        trial.check(table.cleanup_stage(stage).is_ok(), true);
        trial.drop(table);
    }),
    Form::new("scan of ten after each insert", |trial| {
        let table = Memtable::new();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                put(&table, i, NEW);
                let from = i.saturating_sub(9);
                table.pin().range(key(from)..).count() as u64 == i - from + 1
            })
        });
        trial.check(right, true);
        trial.drop(table);
    }),
    Form::new("scan of ten from the back after each insert", |trial| {
        let table = Memtable::new();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                put(&table, i, NEW);
                let back = table.pin().range::<&[u8]>(..).rev().take(10).count();
                back as u64 == (i + 1).min(10)
            })
        });
        trial.check(right, true);
        trial.drop(table);
    }),
    Form::new("cursor that is kept, a step and a write", |trial| {
        let table = rows();
        let mut cursor = table.cursor();
        let mut steps = 0;
        trial.time(|n| {
            for i in 0..n {
                put(&table, i % ROWS, NEW);
                if cursor.next().is_none() {
                    cursor.seek_to_first();
                }
                steps += u64::from(cursor.entry().is_some());
            }
        });
        trial.check(steps, trial.n());
        drop(cursor);
        trial.drop(table);
    }),
    Form::new("cursor of its own after each write, all kept", |trial| {
        let table = rows();
        let mut kept = Vec::new();
        trial.time(|n| {
            for i in 0..n {
                put(&table, i % ROWS, NEW);
                let mut cursor = table.cursor();
                cursor.seek(key(i % ROWS));
                kept.push(cursor);
            }
        });
        let right = kept
            .iter()
            .all(|cursor| cursor.entry().is_some_and(|entry| entry.value == NEW));
        trial.check(right, true);
        trial.drop(kept);
        trial.drop(table);
    }),
    Form::new(
        "get a key that is absent after each write and remove of it",
        |trial| {
            let table = rows();
            let right = trial.time(|n| {
                (0..n).all(|_| {
                    put(&table, ROWS, NEW);
                    let removed = table.remove(key(ROWS));
                    removed.is_ok_and(|held| held.is_some()) && value(&table, ROWS).is_none()
                })
            });
            trial.check(right, true);
            trial.drop(table);
        },
    ),
    Form::new("new table, ten inserts, freeze, drop", |trial| {
        let right = trial.time(|n| {
            (0..n).all(|_| {
                let table = Memtable::new();
                touch(&table, 0..10);
                let stats = table.freeze().map(|frozen| frozen.stats().len);
                stats == Ok(10)
            })
        });
        trial.check(right, true);
    }),
    Form::new("get from a frozen table", |trial| {
        let table = Memtable::new();
        touch(&table, 0..trial.n());
        trial.check(table.freeze().is_ok(), true);
        let right = trial.time(|n| (0..n).all(|row| value(&table, row).is_some()));
        trial.check(right, true);
        trial.drop(table);
    }),
];
