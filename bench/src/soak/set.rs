//! A set of tables that rotates under its writers, with flushers that write the frozen ones into a map, as an engine
//! writes them into files. Every thread knows what its own keys hold, wherever that lies.

use super::{Round, payload, skewed};
use bytes::Bytes;
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use untorn_memtable::{Entry, Error, Flush, Kind, Limits, MemtableSet, WriteBatch};

const KEYS: usize = 4_000;
const LIMITS: Limits = Limits {
    table: 512 << 10,
    soft: 1536 << 10,
    hard: 2 << 20,
};
/// How long a writer may wait for room while the others flush.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was flushed: the newest value of each key, nothing where it was deleted.
type File = RwLock<BTreeMap<Bytes, Option<Bytes>>>;

fn content(entry: &Entry) -> Option<Bytes> {
    (entry.kind == Kind::Value).then(|| entry.value.clone())
}

/// Writes a frozen table behind what was written of older ones. Readers look into the tables first, then into the file, so the file
/// has to have it before the table leaves the set.
fn flush(table: Flush, file: &File) {
    let pinned = table.pin();
    let mut written = file.write().expect("no writer panics");
    for item in pinned.range_all::<&[u8]>(..) {
        let entry = item.to_entry();
        if let Some(value) = content(&entry) {
            payload::number(&entry.key, &value);
        }
        written.insert(entry.key.clone(), content(&entry));
    }
    drop((written, pinned));
    table.complete();
}

/// One at a time, so that older tables are written first.
fn flush_all(set: &MemtableSet, file: &File, turn: &RwLock<()>) {
    if let Ok(_turn) = turn.try_write() {
        while let Some(table) = set.next_flush() {
            flush(table, file);
        }
    }
}

fn read(set: &MemtableSet, file: &File, key: &[u8]) -> Option<Bytes> {
    match set.entry(key) {
        Some(entry) => content(&entry),
        None => file
            .read()
            .expect("no writer panics")
            .get(key)
            .cloned()
            .flatten(),
    }
}

pub(super) fn play(round: &Round) -> u64 {
    let (set, file, turn) = (MemtableSet::new(LIMITS), File::default(), RwLock::new(()));
    let numbers = AtomicU64::new(1);
    let observe = || {
        flush_all(&set, &file, &turn);
        assert!(set.reserved_bytes() <= LIMITS.hard);
        let snapshot = set.snapshot();
        let seen: Vec<_> = snapshot.range::<&[u8]>(..).collect();
        assert!(seen.is_sorted_by(|one, next| one.key < next.key));
        assert!(
            snapshot.range::<&[u8]>(..).eq(seen),
            "a snapshot of the set changed"
        );
    };
    let models = round.together(observe, |thread, mut rng| {
        let mut model = BTreeMap::<Bytes, Option<Bytes>>::new();
        for _ in 0..round.steps {
            let key = Bytes::from(format!("{thread:03}/{:05}", skewed(&mut rng, KEYS)));
            let value = |rng: &mut _| {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                Bytes::from(payload::value(&key, number, rng))
            };
            match rng.random_range(0..100) {
                0..50 => {
                    let value = value(&mut rng);
                    in_time(&set, || set.insert(&key, &value));
                    model.insert(key.clone(), Some(value));
                }
                50..60 => {
                    in_time(&set, || set.delete(&key));
                    model.insert(key.clone(), None);
                }
                60..65 => {
                    let value = value(&mut rng);
                    let other = Bytes::from(format!("{thread:03}/{:05}", KEYS));
                    let mut batch = WriteBatch::new();
                    batch.put(&key, &value).delete(&other);
                    in_time(&set, || set.apply(&batch));
                    model.insert(key.clone(), Some(value));
                    model.insert(other, None);
                }
                65 => {
                    set.rotate();
                }
                66 => flush_all(&set, &file, &turn),
                _ => {
                    let held = model.get(&key).cloned().flatten();
                    assert_eq!(read(&set, &file, &key), held, "{key:?}");
                }
            }
        }
        model
    });
    set.rotate();
    flush_all(&set, &file, &turn);
    assert_eq!(set.frozen_tables(), 0);
    let file = file.into_inner().expect("no writer panics");
    let models: BTreeMap<_, _> = models.into_iter().flatten().collect();
    assert_eq!(file, models);
    (round.steps * round.threads) as u64
}

/// Writes, and waits for the observer's flush where there is no room.
fn in_time<T>(set: &MemtableSet, write: impl Fn() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match write() {
            Ok(written) => return written,
            Err(Error::MemoryLimit { .. }) => {
                let room = set.wait_for_room(1024, deadline);
                room.expect("room in time, since tables are flushed");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
