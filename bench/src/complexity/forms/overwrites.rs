//! One key, written again and again.

use untorn_memtable::{Exchange, Memtable, Update};

use super::{Form, HOT, NEW, OLD, ROWS, SHORT, Trial, is, key, put, rows, touch, value};

/// One key is taken out and put in again.
fn taken_out_beside_an_old_snapshot(trial: &mut Trial, take: fn(&Memtable)) {
    let table = rows();
    let old = table.snapshot();
    trial.time(|n| {
        for _ in 0..n {
            take(&table);
            put(&table, HOT, NEW);
        }
    });
    trial.check(old.get(key(HOT)).as_deref(), Some(OLD));
    trial.check(value(&table, HOT), is(NEW));
    trial.drop(old);
    trial.drop(table);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("overwrite one key", |trial| {
        let table = rows();
        trial.time(|n| (0..n).for_each(|i| put(&table, HOT, &key(i))));
        trial.check(value(&table, HOT), is(&key(trial.n() - 1)));
        trial.drop(table);
    }),
    Form::new("overwrite one key beside an old snapshot", |trial| {
        let table = rows();
        let old = table.snapshot();
        trial.time(|n| (0..n).for_each(|i| put(&table, HOT, &key(i))));
        trial.check(value(&table, HOT), is(&key(trial.n() - 1)));
        trial.check(old.get(key(HOT)).as_deref(), Some(OLD));
        trial.drop(old);
        trial.drop(table);
    }),
    Form::new("overwrite rows beside a pinned reader", |trial| {
        let table = rows();
        let pinned = table.pin();
        let seen = pinned.get(key(HOT));
        trial.time(|n| touch(&table, (0..n).map(|i| i % ROWS)));
        trial.check(seen, Some(OLD));
        trial.check(table.len() as u64, ROWS);
        trial.drop(pinned);
        trial.drop(table);
    }),
    Form::new("overwrite one key in an open stage", |trial| {
        let table = rows();
        let stage = table.open_stage();
        trial.time(|n| (0..n).for_each(|i| put(&table, HOT, &key(i))));
        trial.check(value(&table, HOT), is(&key(trial.n() - 1)));
        let closed = trial.time(|_| table.cleanup_stage(stage).is_ok());
        trial.check(closed, true);
        trial.check(value(&table, HOT), is(OLD));
        trial.drop(table);
    }),
    Form::new("tag one key", |trial| {
        let table = rows();
        let count = |held: u32| held + 1;
        trial.time(|n| {
            for _ in 0..n {
                let tagged = table.update(key(HOT), |item| {
                    Update::Tag(count(item.map_or(0, |item| item.tag)))
                });
                tagged.expect(SHORT);
            }
        });
        let tag = table.entry(key(HOT)).map(|entry| u64::from(entry.tag));
        trial.check(tag, Some(trial.n()));
        trial.drop(table);
    }),
    Form::new("tag one key beside an old snapshot", |trial| {
        let table = rows();
        let old = table.snapshot();
        trial.time(|n| {
            for i in 0..n {
                let tagged = table.update(key(HOT), |_| Update::Tag(i as u32));
                tagged.expect(SHORT);
            }
        });
        trial.check(old.entry(key(HOT)).map(|entry| entry.tag), Some(0));
        trial.drop(old);
        trial.drop(table);
    }),
    Form::new("compare and set one key", |trial| {
        let table = rows();
        put(&table, HOT, &key(0));
        let set = trial.time(|n| {
            let set = |i| table.compare_and_set(key(HOT), Some(&key(i)), Some(&key(i + 1)));
            (0..n).all(|i| set(i) == Ok(Exchange::Set))
        });
        trial.check(set, true);
        trial.check(value(&table, HOT), is(&key(trial.n())));
        trial.drop(table);
    }),
    Form::new("remove and insert one key", |trial| {
        let table = rows();
        trial.time(|n| {
            for _ in 0..n {
                table.remove(key(HOT)).expect(SHORT);
                put(&table, HOT, NEW);
            }
        });
        trial.check(table.len() as u64, ROWS);
        trial.drop(table);
    }),
    Form::new(
        "remove and insert one key beside an old snapshot",
        |trial| {
            taken_out_beside_an_old_snapshot(trial, |table| {
                table.remove(key(HOT)).expect(SHORT);
            });
        },
    ),
    Form::new(
        "delete and insert one key beside an old snapshot",
        |trial| {
            taken_out_beside_an_old_snapshot(trial, |table| {
                table.delete(key(HOT)).expect(SHORT);
            });
        },
    ),
];
