//! Stages one after the other, of ten writes each: what a statement is to an engine.

use super::{Form, NEW, OLD, ROWS, SHOWN_HOLES, is, key, rows, touch, value};
use untorn_memtable::Memtable;

const INNERMOST: &str = "it is the innermost stage";

/// A stage of ten writes.
fn ten(table: &Memtable, keep: bool) {
    let stage = table.open_stage();
    touch(table, 0..10);
    if keep {
        table.release_stage(stage).expect(INNERMOST);
    } else {
        table.cleanup_stage(stage).expect(INNERMOST);
    }
}

pub(super) const FORMS: &[Form] = &[
    Form::new("stage with nothing in it", |trial| {
        let table = rows();
        trial.time(|n| {
            for _ in 0..n {
                let stage = table.open_stage();
                table.cleanup_stage(stage).expect(INNERMOST);
            }
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
    Form::new("stage of ten writes, cleaned up", |trial| {
        let table = rows();
        trial.time(|n| (0..n).for_each(|_| ten(&table, false)));
        trial.check(value(&table, 9), is(OLD));
        trial.drop(table);
    }),
    Form::new("stage of ten writes, released", |trial| {
        let table = rows();
        trial.time(|n| (0..n).for_each(|_| ten(&table, true)));
        trial.check(value(&table, 9), is(NEW));
        trial.drop(table);
    }),
    Form::new("stage of ten new keys, cleaned up", |trial| {
        let table = rows();
        trial.time(|n| {
            for i in 0..n {
                let stage = table.open_stage();
                touch(&table, (1..=10).map(|j| ROWS + i * 10 + j));
                table.cleanup_stage(stage).expect(INNERMOST);
            }
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
    Form::new(
        "stage of ten writes, cleaned up, beside an old snapshot",
        |trial| {
            let table = rows();
            let old = table.snapshot();
            trial.time(|n| (0..n).for_each(|_| ten(&table, false)));
            trial.check(value(&table, 9), is(OLD));
            trial.check(old.get(key(9)).as_deref(), Some(OLD));
            trial.drop(old);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, released, beside an old snapshot",
        |trial| {
            let table = rows();
            let old = table.snapshot();
            trial.time(|n| (0..n).for_each(|_| ten(&table, true)));
            trial.check(value(&table, 9), is(NEW));
            trial.check(old.get(key(9)).as_deref(), Some(OLD));
            trial.drop(old);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, cleaned up, a snapshot of each kept",
        |trial| {
            let table = rows();
            let mut kept = Vec::new();
            trial.time(|n| {
                for _ in 0..n {
                    let stage = table.open_stage();
                    touch(&table, 0..10);
                    kept.push(table.snapshot());
                    table.cleanup_stage(stage).expect(INNERMOST);
                }
            });
            trial.check(value(&table, 9), is(OLD));
            let right = kept
                .iter()
                .step_by(100)
                .all(|inside| inside.get(key(9)).as_deref() == Some(NEW));
            trial.check(right, true);
            trial.drop(kept);
            trial.drop(table);
        },
    )
    .known(SHOWN_HOLES),
    Form::new(
        "stage of ten writes, cleaned up, the last snapshot kept",
        |trial| {
            let table = rows();
            let mut kept = table.snapshot();
            trial.time(|n| {
                for _ in 0..n {
                    let stage = table.open_stage();
                    touch(&table, 0..10);
                    kept = table.snapshot();
                    table.cleanup_stage(stage).expect(INNERMOST);
                }
            });
            trial.check(value(&table, 9), is(OLD));
            trial.check(kept.get(key(9)).as_deref(), Some(NEW));
            trial.drop(kept);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten new keys, cleaned up, the last snapshot kept",
        |trial| {
            let table = rows();
            let mut kept = table.snapshot();
            trial.time(|n| {
                for i in 0..n {
                    let stage = table.open_stage();
                    touch(&table, (1..=10).map(|j| ROWS + i * 10 + j));
                    kept = table.snapshot();
                    table.cleanup_stage(stage).expect(INNERMOST);
                }
            });
            trial.check(table.len() as u64, ROWS);
            let last = ROWS + trial.n() * 10;
            trial.check(kept.get(key(last)).as_deref(), Some(NEW));
            trial.drop(kept);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, released, a snapshot of each kept",
        |trial| {
            let table = rows();
            let mut kept = Vec::new();
            trial.time(|n| {
                for _ in 0..n {
                    let stage = table.open_stage();
                    touch(&table, 0..10);
                    kept.push(table.snapshot());
                    table.release_stage(stage).expect(INNERMOST);
                }
            });
            trial.check(value(&table, 9), is(NEW));
            trial.drop(kept);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, cleaned up, a snapshot before each kept",
        |trial| {
            let table = rows();
            let mut kept = Vec::new();
            trial.time(|n| {
                for _ in 0..n {
                    kept.push(table.snapshot());
                    ten(&table, false);
                }
            });
            trial.check(value(&table, 9), is(OLD));
            let right = kept
                .iter()
                .step_by(100)
                .all(|before| before.get(key(9)).as_deref() == Some(OLD));
            trial.check(right, true);
            trial.drop(kept);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, cleaned up, in an outer stage",
        |trial| {
            let table = rows();
            let outer = table.open_stage();
            trial.time(|n| (0..n).for_each(|_| ten(&table, false)));
            trial.check(value(&table, 9), is(OLD));
            trial.check(table.cleanup_stage(outer).is_ok(), true);
            trial.drop(table);
        },
    ),
    Form::new(
        "stage of ten writes, released, in an outer stage",
        |trial| {
            let table = rows();
            let outer = table.open_stage();
            trial.time(|n| (0..n).for_each(|_| ten(&table, true)));
            trial.check(value(&table, 9), is(NEW));
            trial.check(table.cleanup_stage(outer).is_ok(), true);
            trial.check(value(&table, 9), is(OLD));
            trial.drop(table);
        },
    ),
    Form::new("stage of ten removes, cleaned up", |trial| {
        let table = rows();
        trial.time(|n| {
            for _ in 0..n {
                let stage = table.open_stage();
                for row in 0..10 {
                    table.remove(key(row)).expect("short keys");
                }
                table.cleanup_stage(stage).expect(INNERMOST);
            }
        });
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
                    let stage = table.open_stage();
                    touch(&table, ROWS..ROWS + 10);
                    for row in ROWS..ROWS + 10 {
                        table.remove(key(row)).expect("short keys");
                    }
                    table.release_stage(stage).expect(INNERMOST);
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
