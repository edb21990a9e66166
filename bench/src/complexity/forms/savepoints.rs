//! Savepoints: one that is returned to again and again, and many that are kept.

use std::collections::VecDeque;

use untorn_memtable::{Memtable, Savepoint};

use super::{
    Form, MANY_VERSIONS, NEW, OLD, ROWS, SHOWN_HOLES, VALID, is, key, put, rows, touch, value,
};

fn write_and_roll_back(table: &Memtable, i: u64, savepoint: &Savepoint<&Memtable>) {
    put(table, i % ROWS, NEW);
    savepoint.roll_back().expect(VALID);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("write and roll back to one savepoint", |trial| {
        let table = rows();
        let savepoint = table.savepoint();
        trial.time(|n| (0..n).for_each(|i| write_and_roll_back(&table, i, &savepoint)));
        trial.check(value(&table, 0), is(OLD));
        trial.drop(savepoint);
        trial.drop(table);
    }),
    Form::new(
        "write and roll back to one savepoint, beside an old snapshot",
        |trial| {
            let table = rows();
            let old = table.snapshot();
            let savepoint = table.savepoint();
            trial.time(|n| (0..n).for_each(|i| write_and_roll_back(&table, i, &savepoint)));
            trial.check(value(&table, 0), is(OLD));
            trial.check(old.get(key(0)).as_deref(), Some(OLD));
            trial.drop((old, savepoint));
            trial.drop(table);
        },
    ),
    Form::new(
        "write and roll back to one savepoint, a snapshot of each kept",
        |trial| {
            let table = rows();
            let savepoint = table.savepoint();
            let mut kept = Vec::new();
            trial.time(|n| {
                for i in 0..n {
                    put(&table, i % ROWS, NEW);
                    kept.push(table.snapshot());
                    savepoint.roll_back().expect(VALID);
                }
            });
            trial.check(value(&table, 0), is(OLD));
            trial.check(kept[0].get(key(0)).as_deref(), Some(NEW));
            trial.drop(kept);
            trial.drop(savepoint);
            trial.drop(table);
        },
    )
    .known(SHOWN_HOLES),
    Form::new("savepoint, write and roll back", |trial| {
        let table = rows();
        trial.time(|n| {
            for i in 0..n {
                let savepoint = table.savepoint();
                write_and_roll_back(&table, i, &savepoint);
            }
        });
        trial.check(value(&table, 0), is(OLD));
        trial.drop(table);
    }),
    Form::new("savepoint after each write, all kept", |trial| {
        let table = rows();
        let mut kept = vec![table.savepoint()];
        trial.time(|n| {
            for i in 0..n {
                put(&table, i % ROWS, NEW);
                kept.push(table.savepoint());
            }
            kept[0].roll_back().expect(VALID);
        });
        trial.check(value(&table, 0), is(OLD));
        trial.drop(kept);
        trial.drop(table);
    })
    .known(MANY_VERSIONS),
    Form::new("savepoint after each write to one key, all kept", |trial| {
        let table = rows();
        let mut kept = vec![table.savepoint()];
        trial.time(|n| {
            for i in 0..n {
                put(&table, 5, &key(i));
                kept.push(table.savepoint());
            }
            kept[0].roll_back().expect(VALID);
        });
        trial.check(value(&table, 5), is(OLD));
        trial.drop(kept);
        trial.drop(table);
    }),
    Form::new("savepoints rolled back newest first", |trial| {
        let table = rows();
        trial.time(|n| {
            let mut kept = Vec::new();
            for i in 0..n {
                kept.push(table.savepoint());
                put(&table, 5, &key(i));
            }
            for newest in kept.into_iter().rev() {
                newest.roll_back().expect(VALID);
            }
        });
        trial.check(value(&table, 5), is(OLD));
        trial.drop(table);
    }),
    Form::new("savepoints dropped oldest first", |trial| {
        let table = rows();
        trial.time(|n| {
            let mut kept = Vec::new();
            for i in 0..n {
                put(&table, i % ROWS, NEW);
                kept.push(table.savepoint());
            }
            for oldest in kept {
                drop(oldest);
            }
        });
        trial.check(value(&table, 0), is(NEW));
        trial.drop(table);
    })
    .known(MANY_VERSIONS),
    Form::new(
        "savepoints dropped newest first, a write after each",
        |trial| {
            let table = rows();
            trial.time(|n| {
                let mut kept = Vec::new();
                for i in 0..n {
                    put(&table, i % 10, NEW);
                    kept.push(table.savepoint());
                }
                for newest in kept.into_iter().rev() {
                    drop(newest);
                    put(&table, 5, &key(1));
                }
            });
            trial.check(value(&table, 5), is(&key(1)));
            trial.drop(table);
        },
    ),
    Form::new("savepoint after each write, the last ten kept", |trial| {
        let table = rows();
        let mut kept = VecDeque::new();
        trial.time(|n| {
            for i in 0..n {
                put(&table, i % ROWS, NEW);
                kept.push_back(table.savepoint());
                if kept.len() > 10 {
                    kept.pop_front();
                }
            }
        });
        trial.check(value(&table, 0), is(NEW));
        trial.drop(kept);
        trial.drop(table);
    }),
    Form::new("write and stats beside many savepoints", |trial| {
        let table = rows();
        let kept: Vec<_> = (0..trial.n())
            .map(|i| {
                touch(&table, [i % ROWS]);
                table.savepoint()
            })
            .collect();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                put(&table, i % ROWS, OLD);
                table.stats().len as u64 == ROWS
            })
        });
        trial.check(right, true);
        trial.drop(kept);
        trial.drop(table);
    })
    .known(MANY_VERSIONS),
];
