//! Transactions on the embedded store: many, and one that does much.

use untorn_txn::{BeginOptions, Db, LockOptions, Transaction};

use super::{Form, HOT, NEW, OLD, ROWS, key};

const ALONE: &str = "nobody else writes, and nothing fails in memory";

fn begin(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::default()).expect(ALONE)
}

/// Puts a row in a transaction of its own.
fn put(db: &Db, row: u64, value: &[u8]) {
    let txn = begin(db);
    txn.put(key(row), value).expect(ALONE);
    txn.blocking().commit().expect(ALONE);
}

fn get(txn: &Transaction, row: u64) -> Option<Vec<u8>> {
    txn.blocking().get(key(row)).expect(ALONE).map(Vec::from)
}

pub(super) const FORMS: &[Form] = &[
    Form::new("commit one key", |trial| {
        let db = Db::in_memory();
        trial.time(|n| (0..n).for_each(|i| put(&db, HOT, &key(i))));
        trial.check(get(&begin(&db), HOT), Some(key(trial.n() - 1).to_vec()));
        trial.drop(db);
    }),
    Form::new("commit a new key", |trial| {
        let db = Db::in_memory();
        trial.time(|n| (0..n).for_each(|i| put(&db, i, NEW)));
        trial.check(get(&begin(&db), 0), Some(NEW.to_vec()));
        trial.drop(db);
    }),
    Form::new("commit one key beside an old snapshot", |trial| {
        let db = Db::in_memory();
        put(&db, HOT, OLD);
        let old = begin(&db);
        trial.check(get(&old, HOT), Some(OLD.to_vec()));
        trial.time(|n| (0..n).for_each(|i| put(&db, HOT, &key(i))));
        trial.check(get(&old, HOT), Some(OLD.to_vec()));
        trial.check(get(&begin(&db), HOT), Some(key(trial.n() - 1).to_vec()));
        drop(old);
        trial.drop(db);
    }),
    Form::new(
        "read in an old snapshot after each commit of the key",
        |trial| {
            let db = Db::in_memory();
            put(&db, HOT, OLD);
            let old = begin(&db);
            let right = trial.time(|n| {
                (0..n).all(|_| {
                    put(&db, HOT, NEW);
                    get(&old, HOT).as_deref() == Some(OLD)
                })
            });
            trial.check(right, true);
            drop(old);
            trial.drop(db);
        },
    ),
    Form::new("begin beside all that were begun before", |trial| {
        let db = Db::in_memory();
        put(&db, HOT, OLD);
        let mut open = Vec::new();
        let right = trial.time(|n| {
            (0..n).all(|_| {
                let txn = begin(&db);
                let seen = get(&txn, HOT);
                open.push(txn);
                seen.as_deref() == Some(OLD)
            })
        });
        trial.check(right, true);
        trial.drop(open);
        trial.drop(db);
    }),
    Form::new("put of one large transaction, with its commit", |trial| {
        let db = Db::in_memory();
        trial.time(|n| {
            let txn = begin(&db);
            (0..n).for_each(|i| txn.put(key(i), NEW).expect(ALONE));
            txn.blocking().commit().expect(ALONE);
        });
        trial.check(get(&begin(&db), trial.n() - 1), Some(NEW.to_vec()));
        trial.drop(db);
    }),
    Form::new(
        "lock of one large transaction, with its rollback",
        |trial| {
            let db = Db::in_memory();
            trial.time(|n| {
                let txn = begin(&db);
                for i in 0..n {
                    let locked = txn.blocking().lock_keys([key(i)], LockOptions::default());
                    locked.map(drop).expect(ALONE);
                }
                txn.blocking().rollback().expect(ALONE);
            });
            let other = begin(&db)
                .blocking()
                .lock_keys([key(0)], LockOptions::default())
                .is_ok();
            trial.check(other, true);
            trial.drop(db);
        },
    ),
    Form::new("lock the same key again", |trial| {
        let db = Db::in_memory();
        let txn = begin(&db);
        let right = trial.time(|n| {
            (0..n).all(|_| {
                let locked = txn.blocking().lock_keys([key(HOT)], LockOptions::default());
                locked.is_ok()
            })
        });
        trial.check(right, true);
        trial.check(txn.len(), 1);
        drop(txn);
        trial.drop(db);
    }),
    Form::new("put and read back in one transaction", |trial| {
        let db = Db::in_memory();
        let txn = begin(&db);
        let right = trial.time(|n| {
            (0..n).all(|i| {
                txn.put(key(i % ROWS), key(i)).expect(ALONE);
                get(&txn, i % ROWS).as_deref() == Some(&key(i)[..])
            })
        });
        trial.check(right, true);
        drop(txn);
        trial.drop(db);
    }),
    Form::new("put a row, delete the oldest, look at the front", |trial| {
        let db = Db::in_memory();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                let txn = begin(&db);
                txn.put(key(i), NEW).expect(ALONE);
                if let Some(oldest) = i.checked_sub(10) {
                    txn.delete(key(oldest)).expect(ALONE);
                }
                txn.blocking().commit().expect(ALONE);
                let front = begin(&db).blocking().range::<&[u8]>(..).next();
                let oldest = key(i.saturating_sub(9));
                front.is_some_and(|row| row.is_ok_and(|(key, _)| key == oldest[..]))
            })
        });
        trial.check(right, true);
        trial.drop(db);
    }),
    Form::new("roll back after one put", |trial| {
        let db = Db::in_memory();
        trial.time(|n| {
            for i in 0..n {
                let txn = begin(&db);
                txn.put(key(i % ROWS), NEW).expect(ALONE);
                txn.blocking().rollback().expect(ALONE);
            }
        });
        trial.check(get(&begin(&db), 0), None);
        trial.drop(db);
    }),
];
