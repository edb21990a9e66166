//! Snapshots of a table that is written meanwhile: how many are kept, and in which order they go.

use std::collections::VecDeque;

use untorn_memtable::{Memtable, Snapshot};

use super::{Form, HOT, MANY_VERSIONS, NEW, OLD, ROWS, Trial, is, key, put, rows, touch, value};

/// Snapshots after a write each, dropped in that order.
fn dropped(trial: &mut Trial, order: fn(&mut [Snapshot<&Memtable>])) {
    let table = rows();
    trial.time(|n| {
        let mut kept = Vec::new();
        for i in 0..n {
            put(&table, i % 10, NEW);
            kept.push(table.snapshot());
        }
        order(&mut kept);
        for next in kept {
            drop(next);
            put(&table, HOT, &key(1));
        }
    });
    trial.check(value(&table, HOT), is(&key(1)));
    trial.drop(table);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("snapshot after each write, the last ten kept", |trial| {
        let table = rows();
        let mut kept = VecDeque::new();
        trial.time(|n| {
            for i in 0..n {
                put(&table, HOT, &key(i));
                kept.push_back(table.snapshot());
                if kept.len() > 10 {
                    kept.pop_front();
                }
            }
        });
        trial.check(
            kept.back()
                .and_then(|last| last.get(key(HOT)))
                .map(Vec::from),
            value(&table, HOT),
        );
        trial.drop(kept);
        trial.drop(table);
    }),
    Form::new("snapshot after each write to one key, all kept", |trial| {
        let table = rows();
        let mut kept = Vec::new();
        trial.time(|n| {
            for i in 0..n {
                put(&table, HOT, &key(i));
                kept.push(table.snapshot());
            }
        });
        let right = (0..).zip(&kept).all(|(i, snapshot)| {
            i % 100 != 0 || snapshot.get(key(HOT)).as_deref() == Some(&key(i)[..])
        });
        trial.check(right, true);
        trial.drop(kept);
        trial.drop(table);
    }),
    Form::new("read the newest of many snapshots", |trial| {
        let table = rows();
        let mut kept = Vec::new();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                put(&table, i % ROWS, &key(i));
                let now = table.snapshot();
                let seen = now.get(key(i % ROWS));
                kept.push(now);
                seen.as_deref() == Some(&key(i)[..])
            })
        });
        trial.check(right, true);
        trial.drop(kept);
        trial.drop(table);
    })
    .known(MANY_VERSIONS),
    Form::new("read the oldest of many snapshots", |trial| {
        let table = rows();
        let mut kept = vec![table.snapshot()];
        let right = trial.time(|n| {
            (0..n).all(|_| {
                put(&table, HOT, NEW);
                kept.push(table.snapshot());
                kept[0].get(key(HOT)).as_deref() == Some(OLD)
            })
        });
        trial.check(right, true);
        trial.drop(kept);
        trial.drop(table);
    })
    .known("a read walks over the versions of its key that are newer than what it shows"),
    Form::new("read the oldest snapshot, with one other kept", |trial| {
        let table = rows();
        let old = table.snapshot();
        let mut newest = table.snapshot();
        let right = trial.time(|n| {
            (0..n).all(|_| {
                put(&table, HOT, NEW);
                newest = table.snapshot();
                old.get(key(HOT)).as_deref() == Some(OLD)
            })
        });
        trial.check(right, true);
        trial.check(newest.get(key(HOT)).as_deref(), Some(NEW));
        trial.drop((old, newest));
        trial.drop(table);
    }),
    Form::new(
        "scan ten rows of an old snapshot after each write to them",
        |trial| {
            let table = rows();
            let old = table.snapshot();
            let right = trial.time(|n| {
                (0..n).all(|i| {
                    put(&table, i % 10, NEW);
                    let ten = old.range(..key(10));
                    ten.filter(|entry| entry.value == OLD).count() == 10
                })
            });
            trial.check(right, true);
            trial.drop(old);
            trial.drop(table);
        },
    ),
    Form::new(
        "snapshots dropped oldest first, a write after each",
        |trial| dropped(trial, |_| ()),
    ),
    Form::new(
        "snapshots dropped newest first, a write after each",
        |trial| dropped(trial, |kept| kept.reverse()),
    ),
    Form::new("snapshots, every second dropped at once", |trial| {
        let table = rows();
        let mut kept = Vec::new();
        trial.time(|n| {
            for i in 0..n {
                put(&table, HOT, &key(i));
                kept.push(table.snapshot());
                drop(table.snapshot());
            }
            let mut place = 0;
            kept.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            touch(&table, (0..n).map(|i| i % ROWS));
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(kept);
        trial.drop(table);
    }),
];
