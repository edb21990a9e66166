//! Tables as queues: written at one end, emptied at the other.

use untorn_memtable::Memtable;

use super::{Form, NEW, SHORT, key, put, touch, value};

/// Length of a queue.
const LENGTH: u64 = 10;

fn front(table: &Memtable) -> Option<Vec<u8>> {
    table.pin().first().map(|(key, _)| key.to_vec())
}

/// Pushes, takes out the oldest once the queue has its length, and looks at its front.
fn turn(table: &Memtable, i: u64, take: impl Fn(u64)) -> bool {
    put(table, i, NEW);
    let oldest = i.checked_sub(LENGTH);
    oldest.into_iter().for_each(take);
    front(table).as_deref() == Some(&key(oldest.map_or(0, |oldest| oldest + 1))[..])
}

pub(super) const FORMS: &[Form] = &[
    Form::new("push, remove the oldest, look at the front", |trial| {
        let table = Memtable::new();
        let take = |row| {
            table.remove(key(row)).expect(SHORT);
        };
        let right = trial.time(|n| (0..n).all(|i| turn(&table, i, take)));
        trial.check(right, true);
        trial.check(table.len() as u64, trial.n().min(LENGTH));
        trial.drop(table);
    }),
    Form::new("push, remove the newest, look at the back", |trial| {
        let table = Memtable::new();
        touch(&table, 0..LENGTH);
        let right = trial.time(|n| {
            (LENGTH..LENGTH + n).all(|i| {
                put(&table, i, NEW);
                table.remove(key(i)).expect(SHORT);
                table.pin().last().map(|(key, _)| key) == Some(&key(LENGTH - 1)[..])
            })
        });
        trial.check(right, true);
        trial.drop(table);
    }),
    Form::new(
        "push, remove the oldest, look at the front, beside an old snapshot",
        |trial| {
            let table = Memtable::new();
            put(&table, u64::MAX, NEW);
            let old = table.snapshot();
            let take = |row| {
                table.remove(key(row)).expect(SHORT);
            };
            let right = trial.time(|n| (0..n).all(|i| turn(&table, i, take)));
            trial.check(right, true);
            trial.check(
                old.first().map(|entry| entry.key),
                old.last().map(|entry| entry.key),
            );
            trial.drop(old);
            trial.drop(table);
        },
    ),
    Form::new(
        "push, delete the oldest by a tombstone, look at the front",
        |trial| {
            let table = Memtable::new();
            let take = |row| {
                table.delete(key(row)).expect(SHORT);
            };
            let right = trial.time(|n| (0..n).all(|i| turn(&table, i, take)));
            trial.check(right, true);
            trial.check(table.len() as u64, trial.n());
            trial.drop(table);
        },
    )
    .known("a look at the front walks over all tombstones before it; only remove takes keys away"),
    Form::new("remove rows in order beside an old snapshot", |trial| {
        let table = Memtable::new();
        touch(&table, 0..trial.n());
        let old = table.snapshot();
        let take = |row| {
            table.remove(key(row)).expect(SHORT);
        };
        trial.time(|n| (0..n).for_each(take));
        trial.check(table.len(), 0);
        trial.check(old.get(key(0)).as_deref(), Some(NEW));
        trial.drop(old);
        trial.drop(table);
    }),
    Form::new("insert rows in falling order", |trial| {
        let table = Memtable::new();
        trial.time(|n| touch(&table, (0..n).rev()));
        trial.check(table.len() as u64, trial.n());
        trial.check(value(&table, 0).as_deref(), Some(NEW));
        trial.drop(table);
    }),
];
