//! What an engine builds of memtables: tables that rotate and are flushed, versions under its own numbers.

use untorn_memtable::{Limits, MemtableSet, SequencedMemtable};

use super::{Form, HOT, MANY_VERSIONS, NEW, ROWS, SHORT, Trial, key};

/// Writes between two rotations.
const TABLE: u64 = 10;

fn rotated(set: &MemtableSet, table: u64) -> bool {
    for i in 0..TABLE {
        set.insert(key(table * TABLE + i), NEW).expect(SHORT);
    }
    set.rotate().is_some()
}

fn flush(set: &MemtableSet) -> bool {
    let flush = set.next_flush();
    let full = flush
        .as_ref()
        .is_some_and(|flush| flush.stats().len as u64 == TABLE);
    flush.into_iter().for_each(|flush| flush.complete());
    full
}

/// A version of one key after the other; after each the one is read that `read` makes of its number.
fn versions(trial: &mut Trial, read: fn(u64) -> u64) {
    let table = SequencedMemtable::new();
    let right = trial.time(|n| {
        (1..=n).all(|newest| {
            table.insert_at(newest, key(HOT), key(newest)).expect(SHORT);
            let number = read(newest);
            let seen = table.get_at(number, key(HOT));
            seen.is_ok_and(|seen| seen.as_deref() == Some(&key(number)[..]))
        })
    });
    trial.check(right, true);
    trial.drop(table);
}

/// A version of one key after the other; after each that key and its neighbour are scanned from both ends, at the number that `read`
/// makes of its number.
fn scans(trial: &mut Trial, read: fn(u64) -> u64) {
    let table = SequencedMemtable::new();
    table.insert_at(1, key(HOT + 1), NEW).expect(SHORT);
    let right = trial.time(|n| {
        (1..=n).all(|newest| {
            table.insert_at(newest, key(HOT), NEW).expect(SHORT);
            let scan = || table.range_at::<&[u8]>(read(newest), ..);
            scan().count() == 2 && scan().rev().count() == 2
        })
    });
    trial.check(right, true);
    trial.drop(table);
}

pub(super) const FORMS: &[Form] = &[
    Form::new("ten inserts, rotate, flush", |trial| {
        let set = MemtableSet::new(Limits::default());
        let right = trial.time(|n| (0..n).all(|table| rotated(&set, table) && flush(&set)));
        trial.check(right, true);
        trial.check(set.frozen_tables(), 0);
        trial.drop(set);
    }),
    Form::new(
        "ten inserts, rotate; ten tables wait to be flushed",
        |trial| {
            let set = MemtableSet::new(Limits::default());
            let right = trial.time(|n| {
                (0..n)
                    .all(|table| rotated(&set, table) && (set.frozen_tables() <= 10 || flush(&set)))
            });
            trial.check(right, true);
            trial.drop(set);
        },
    ),
    Form::new(
        "ten inserts, rotate, get an old key; nothing is flushed",
        |trial| {
            let set = MemtableSet::new(Limits::default());
            let right = trial.time(|n| {
                (0..n).all(|table| rotated(&set, table) && set.get(key(0)).as_deref() == Some(NEW))
            });
            trial.check(right, true);
            trial.check(set.frozen_tables() as u64, trial.n());
            trial.drop(set);
        },
    )
    .known("a get looks into each table that is not flushed, and rotating copies their list"),
    Form::new("snapshot of a set, kept, after each insert", |trial| {
        let set = MemtableSet::new(Limits::default());
        let mut kept = Vec::new();
        trial.time(|n| {
            for i in 0..n {
                set.insert(key(i % ROWS), key(i)).expect(SHORT);
                kept.push(set.snapshot());
            }
        });
        trial.check(kept[0].get(key(0)).as_deref(), Some(&key(0)[..]));
        trial.drop(kept);
        trial.drop(set);
    })
    .known(MANY_VERSIONS),
    Form::new("version of one key under a number, newest read", |trial| {
        versions(trial, |newest| newest);
    }),
    Form::new("version of one key under a number, oldest read", |trial| {
        versions(trial, |_| 1);
    }),
    Form::new("ten versions of one key, prune", |trial| {
        let table = SequencedMemtable::new();
        let right = trial.time(|n| {
            (0..n).all(|round| {
                let numbers = round * 10 + 1..=round * 10 + 10;
                let newest = *numbers.end();
                for sequence in numbers {
                    table.insert_at(sequence, key(HOT), NEW).expect(SHORT);
                }
                table.prune(newest).is_ok() && table.len() == 1
            })
        });
        trial.check(right, true);
        trial.drop(table);
    }),
    Form::new("scan of two keys, one with many older versions", |trial| {
        scans(trial, |newest| newest);
    }),
    Form::new("scan of two keys, one with many newer versions", |trial| {
        scans(trial, |_| 1);
    }),
    Form::new(
        "scan of two keys, one with many older and newer versions",
        |trial| {
            scans(trial, |newest| newest.div_ceil(2));
        },
    ),
];
