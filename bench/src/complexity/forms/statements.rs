//! Statements of a SQL transaction over its buffer: each is a stage, may be taken back, and reads what was before it.

use untorn_txn::buffer::Stage;
use untorn_txn::{Entry, MemBuffer};

use super::buffers::{holds, rows, set};
use super::{Form, INNERMOST, MANY_VERSIONS, NEW, OLD, ROWS, Trial, VALID, key};

/// A statement that writes ten rows.
fn ten(buffer: &MemBuffer) -> Stage {
    let stage = buffer.stage();
    (0..10).for_each(|row| set(buffer, row, NEW));
    stage
}

fn keep(stage: Stage) {
    stage.release().expect(INNERMOST);
}

fn fail(stage: Stage) {
    stage.cleanup().expect(INNERMOST);
}

/// Closes stages from the innermost on.
fn in_turn(stages: Vec<Stage>, close: fn(Stage)) {
    stages.into_iter().rev().for_each(close);
}

fn beside_an_open_cursor(trial: &mut Trial, close: fn(Stage)) {
    let buffer = rows();
    let cursor = buffer.snapshot_now();
    trial.time(|n| (0..n).for_each(|_| close(ten(&buffer))));
    trial.check(cursor.get(key(9)), Some(Entry::Value(OLD.into())));
    trial.drop(cursor);
    trial.drop(buffer);
}

/// A statement inside of each other one; a row holds `left` when all are closed.
fn nested(trial: &mut Trial, close: fn(Vec<Stage>), left: &[u8]) {
    let buffer = rows();
    trial.time(|n| {
        let mut stages = Vec::new();
        for i in 0..n {
            stages.push(buffer.stage());
            set(&buffer, i % ROWS, NEW);
        }
        close(stages);
    });
    trial.check(holds(&buffer, 0, left), true);
    trial.check(buffer.open_stages(), 0);
    trial.drop(buffer);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("statement of ten writes, kept", |trial| {
        let buffer = rows();
        trial.time(|n| (0..n).for_each(|_| keep(ten(&buffer))));
        trial.check(holds(&buffer, 9, NEW), true);
        trial.drop(buffer);
    }),
    Form::new("statement of ten writes, failed", |trial| {
        let buffer = rows();
        trial.time(|n| (0..n).for_each(|_| fail(ten(&buffer))));
        trial.check(holds(&buffer, 9, OLD), true);
        trial.drop(buffer);
    }),
    Form::new("statement of ten new rows, kept", |trial| {
        let buffer = MemBuffer::new();
        trial.time(|n| {
            for i in 0..n {
                let stage = buffer.stage();
                (0..10).for_each(|row| set(&buffer, i * 10 + row, NEW));
                stage.release().expect(INNERMOST);
            }
        });
        trial.check(buffer.len() as u64, trial.n() * 10);
        trial.drop(buffer);
    }),
    Form::new("statement that reads what was before it, kept", |trial| {
        let buffer = rows();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                let stage = buffer.stage();
                let before = buffer.snapshot();
                set(&buffer, 5, &key(i));
                let seen = before.get(key(5)).is_some();
                stage.release().expect(INNERMOST);
                seen
            })
        });
        trial.check(right, true);
        trial.drop(buffer);
    }),
    Form::new("statement that lists its writes, kept", |trial| {
        let buffer = rows();
        let right = trial.time(|n| {
            (0..n).all(|_| {
                let stage = ten(&buffer);
                let mut listed = 0;
                let inspected = buffer.inspect_stage(&stage, |_, _, _| listed += 1);
                stage.release().expect(INNERMOST);
                inspected.is_ok() && listed == 10
            })
        });
        trial.check(right, true);
        trial.drop(buffer);
    }),
    Form::new(
        "statement of ten writes, kept, beside an open cursor",
        |trial| beside_an_open_cursor(trial, keep),
    ),
    Form::new(
        "statement of ten writes, failed, beside an open cursor",
        |trial| beside_an_open_cursor(trial, fail),
    ),
    Form::new(
        "statement after a savepoint of its own, all kept",
        |trial| {
            let buffer = rows();
            let mut kept = Vec::new();
            trial.time(|n| {
                for _ in 0..n {
                    kept.push(buffer.savepoint());
                    ten(&buffer).release().expect(INNERMOST);
                }
                buffer.rollback_to(&kept[0]).expect(VALID);
            });
            trial.check(holds(&buffer, 9, OLD), true);
            trial.drop(kept);
            trial.drop(buffer);
        },
    ),
    Form::new("savepoint, one write, rolled back", |trial| {
        let buffer = rows();
        let savepoint = buffer.savepoint();
        trial.time(|n| {
            for i in 0..n {
                set(&buffer, i % ROWS, NEW);
                buffer.rollback_to(&savepoint).expect(VALID);
            }
        });
        trial.check(holds(&buffer, 0, OLD), true);
        trial.drop(savepoint);
        trial.drop(buffer);
    }),
    Form::new("statement inside of a statement, all kept", |trial| {
        nested(trial, |stages| in_turn(stages, keep), NEW);
    })
    .known(MANY_VERSIONS),
    Form::new("statement inside of a statement, all failed", |trial| {
        nested(trial, |stages| in_turn(stages, fail), OLD);
    })
    .known(MANY_VERSIONS),
    Form::new(
        "statement inside of a statement, the outermost dropped first",
        |trial| nested(trial, drop, OLD),
    )
    .known(MANY_VERSIONS),
];
