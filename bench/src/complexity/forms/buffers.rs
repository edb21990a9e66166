//! A transaction's buffer beside what is done to it between its writes: reads, flags, polling, snapshots, the view over a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use untorn_txn::{Entry, FlagOp, KeyFlags, MemBuffer};

use super::{Form, HOT, NEW, OLD, ROWS, SHORT, key};

/// A buffer of rows.
pub(super) fn rows() -> MemBuffer {
    let buffer = MemBuffer::new();
    for row in 0..ROWS {
        set(&buffer, row, OLD);
    }
    buffer
}

pub(super) fn set(buffer: &MemBuffer, row: u64, value: &[u8]) {
    buffer.set(key(row), value).expect(SHORT);
}

pub(super) fn holds(buffer: &MemBuffer, row: u64, value: &[u8]) -> bool {
    matches!(buffer.get(key(row)), Some(Entry::Value(held)) if held == value)
}

pub(super) const FORMS: &[Form] = &[
    Form::new("set one key", |trial| {
        let buffer = rows();
        trial.time(|n| (0..n).for_each(|i| set(&buffer, HOT, &key(i))));
        trial.check(holds(&buffer, HOT, &key(trial.n() - 1)), true);
        trial.drop(buffer);
    }),
    Form::new("set a new key, stats after each", |trial| {
        let buffer = MemBuffer::new();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                set(&buffer, i, NEW);
                buffer.stats().len as u64 == i + 1
            })
        });
        trial.check(right, true);
        trial.drop(buffer);
    }),
    Form::new("set and delete one key", |trial| {
        let buffer = rows();
        trial.time(|n| {
            for _ in 0..n {
                set(&buffer, HOT, NEW);
                buffer.delete(key(HOT)).expect(SHORT);
            }
        });
        trial.check(buffer.get(key(HOT)), Some(Entry::Tombstone));
        trial.drop(buffer);
    }),
    Form::new("flags of one key", |trial| {
        let buffer = rows();
        trial.time(|n| {
            for i in 0..n {
                let ops = [FlagOp::SetLocked, FlagOp::ClearLocked];
                buffer
                    .update_flags(key(HOT), [ops[(i % 2) as usize]])
                    .expect(SHORT);
            }
        });
        trial.check(buffer.len() as u64, ROWS);
        trial.drop(buffer);
    }),
    Form::new("flags of a new key, read back", |trial| {
        let buffer = MemBuffer::new();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                buffer
                    .update_flags(key(i), [FlagOp::SetLocked])
                    .expect(SHORT);
                buffer
                    .get_flags(key(i))
                    .is_some_and(|flags| flags != KeyFlags::default())
            })
        });
        trial.check(right, true);
        trial.check(buffer.len() as u64, trial.n());
        trial.drop(buffer);
    }),
    Form::new("set with a limit and a memory hook", |trial| {
        let buffer = MemBuffer::builder().buffer_limit(1 << 30).build();
        let told = Arc::new(AtomicUsize::new(0));
        let total = told.clone();
        buffer.set_memory_hook(move |bytes| total.store(bytes, Ordering::Relaxed));
        trial.time(|n| (0..n).for_each(|i| set(&buffer, i, &[1; 64])));
        trial.check(buffer.len() as u64, trial.n());
        trial.check(
            trial.n() < 100 || told.load(Ordering::Relaxed) > 64 * 100,
            true,
        );
        trial.drop(buffer);
    }),
    Form::new(
        "snapshot of before all stages, a write after each",
        |trial| {
            let buffer = rows();
            let stage = buffer.stage();
            let mut kept = Vec::new();
            trial.time(|n| {
                for i in 0..n {
                    kept.push(buffer.snapshot());
                    set(&buffer, i % ROWS, NEW);
                }
            });
            let last = kept.last().and_then(|last| last.get(key(0)));
            trial.check(last, Some(Entry::Value(OLD.into())));
            trial.drop(kept);
            trial.check(stage.cleanup().is_ok(), true);
            trial.drop(buffer);
        },
    ),
    Form::new("snapshot of now, kept, after each write", |trial| {
        let buffer = rows();
        let mut kept = Vec::new();
        trial.time(|n| {
            for i in 0..n {
                set(&buffer, HOT, &key(i));
                kept.push(buffer.snapshot_now());
            }
        });
        trial.check(
            kept[0].get(key(HOT)),
            Some(Entry::Value(Bytes::copy_from_slice(&key(0)))),
        );
        trial.drop(kept);
        trial.drop(buffer);
    }),
    Form::new("set a key, ten rows of the view over a store", |trial| {
        let buffer = MemBuffer::new();
        let store: Vec<_> = (0..10)
            .map(|row| (Bytes::copy_from_slice(&key(row)), Bytes::from_static(OLD)))
            .collect();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                set(&buffer, 20 + i, NEW);
                let view = buffer.union(..key(10), store.iter().cloned());
                view.filter(|(_, value)| value == OLD).count() == 10
            })
        });
        trial.check(right, true);
        trial.drop(buffer);
    }),
    Form::new("set a key, read ten by batch_get", |trial| {
        let buffer = rows();
        let right = trial.time(|n| {
            (0..n).all(|i| {
                set(&buffer, ROWS + i, NEW);
                buffer.batch_get((0..10).map(key)).len() == 10
            })
        });
        trial.check(right, true);
        trial.drop(buffer);
    }),
    Form::new("ten sets and a reset", |trial| {
        let buffer = MemBuffer::new();
        let right = trial.time(|n| {
            (0..n).all(|_| {
                (0..10).for_each(|row| set(&buffer, row, NEW));
                buffer.reset().is_ok() && buffer.is_empty()
            })
        });
        trial.check(right, true);
        trial.drop(buffer);
    }),
];
