//! A memtable under every operation but stages. Every thread has keys of its own, of which it knows exactly what they hold;
//! counters and groups are everybody's.

use super::{Round, payload, skewed};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};
use untorn_memtable::{
    Error, Exchange, Frozen, Kind, Memtable, Stats, Update, WriteBatch, reclaim_garbage,
};

/// Keys of each thread.
const OWN: usize = 2_000;
/// Keys that everybody counts up.
const COUNTERS: usize = 16;
/// Groups of keys that are written by batches alone, all with the same number.
const GROUPS: usize = 16;
const GROUP: usize = 5;

/// What an own key holds.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    kind: Kind,
    value: Vec<u8>,
    tag: u32,
}

type Model = BTreeMap<Vec<u8>, Held>;

struct Worker<'r> {
    table: &'r Memtable,
    /// Numbers of writes, never given twice.
    numbers: &'r AtomicU64,
    thread: usize,
    rng: SmallRng,
    model: Model,
    counted: [u64; COUNTERS],
}

fn counter(n: usize) -> Vec<u8> {
    format!("counter/{n:02}").into_bytes()
}

fn member(group: usize, n: usize) -> Vec<u8> {
    format!("group/{group:02}/{n}").into_bytes()
}

fn own_prefix(thread: usize) -> String {
    format!("own/{thread:03}/")
}

pub(super) fn play(round: &Round) -> u64 {
    let table = Memtable::new();
    let numbers = AtomicU64::new(1);
    let freezes = round.seed.is_multiple_of(2);
    let done = round.together(
        || observe(&table),
        |thread, rng| {
            let mut worker = Worker {
                table: &table,
                numbers: &numbers,
                thread,
                rng,
                model: Model::new(),
                counted: [0; COUNTERS],
            };
            for step in 0..round.steps {
                if freezes && thread == 0 && step == round.steps / 2 {
                    table.freeze().expect("no stage is open");
                }
                match worker.step() {
                    Ok(()) => {}
                    Err(Error::Frozen) => assert!(freezes && table.is_frozen()),
                    Err(error) => panic!("{error}"),
                }
            }
            (worker.model, worker.counted)
        },
    );
    let frozen = Frozen::new(&table).expect("no stage is open");
    assert_eq!(frozen.stats(), recount(&table));
    assert_eq!(table.stats(), recount(&table));
    for (thread, (model, _)) in done.iter().enumerate() {
        assert_eq!(&own_content(&table, thread), model, "thread {thread}");
    }
    for n in 0..COUNTERS {
        let expected: u64 = done.iter().map(|(_, counted)| counted[n]).sum();
        assert_eq!(count(&table, n), expected, "counter {n}");
    }
    (round.steps * round.threads) as u64
}

/// Counts and values as anybody may see them at any time.
fn observe(table: &Memtable) {
    let stats = table.stats();
    assert!(stats.size >= stats.len * 8, "{stats:?}");
    let snapshot = table.snapshot();
    for group in 0..GROUPS {
        check_group(group, |key| snapshot.get(key).map(|value| value.to_vec()));
    }
    let (mut len, mut size) = (0, 0);
    for entry in snapshot.range::<&[u8]>(..) {
        check_value(&entry.key, entry.kind, &entry.value);
        len += 1;
        size += entry.key.len() + entry.value.len();
    }
    let again = snapshot.range::<&[u8]>(..);
    let again = again.fold((0, 0), |(len, size), entry| {
        (len + 1, size + entry.key.len() + entry.value.len())
    });
    assert_eq!((len, size), again, "a snapshot changed");
}

fn check_value(key: &[u8], kind: Kind, value: &[u8]) {
    if kind == Kind::Value {
        payload::number(key, value);
    } else {
        assert!(value.is_empty());
    }
}

/// All members of the group hold what one batch wrote.
fn check_group(group: usize, get: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let numbers: Vec<_> = (0..GROUP)
        .map(|n| member(group, n))
        .map(|key| get(&key).map(|value| payload::number(&key, &value)))
        .collect();
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "half a batch: {numbers:?}"
    );
}

fn recount(table: &Memtable) -> Stats {
    let pinned = table.pin();
    let mut stats = Stats::default();
    for item in pinned.range_all::<&[u8]>(..) {
        stats.len += 1;
        stats.size += item.key.len() + item.value.len();
    }
    stats
}

fn count(table: &Memtable, n: usize) -> u64 {
    let key = counter(n);
    table
        .get(&key)
        .map_or(0, |value| payload::number(&key, &value))
}

fn own_content(table: &Memtable, thread: usize) -> Model {
    let (from, to) = (own_prefix(thread), own_prefix(thread + 1));
    let pinned = table.pin();
    let items = pinned.range_all(from..to);
    items
        .map(|item| {
            let held = Held {
                kind: item.kind,
                value: item.value.to_vec(),
                tag: item.tag,
            };
            (item.key.to_vec(), held)
        })
        .collect()
}

impl Worker<'_> {
    fn step(&mut self) -> Result<(), Error> {
        match self.rng.random_range(0..1000) {
            0..250 => self.insert(),
            250..300 => self.delete(),
            300..390 => self.remove(),
            390..430 => self.tag(),
            430..480 => self.exchange(),
            480..510 => self.get_or_insert(),
            510..540 => self.count_up(),
            540..580 => self.batch(),
            580..760 => {
                self.read();
                Ok(())
            }
            760..790 => self.snapshot(),
            790..990 => {
                self.range();
                Ok(())
            }
            990..998 => {
                assert!(self.table.memory().total() > 0 || self.model.is_empty());
                reclaim_garbage();
                Ok(())
            }
            _ => {
                self.table.compact();
                Ok(())
            }
        }
    }

    fn own_key(&mut self) -> Vec<u8> {
        let n = skewed(&mut self.rng, OWN);
        format!("{}{n:05}", own_prefix(self.thread)).into_bytes()
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn own_value(&mut self, key: &[u8]) -> Vec<u8> {
        let number = self.number();
        payload::value(key, number, &mut self.rng)
    }

    fn tag_of(&self, key: &[u8]) -> u32 {
        self.model.get(key).map_or(0, |held| held.tag)
    }

    fn value_of(&self, key: &[u8]) -> Option<&[u8]> {
        let held = self.model.get(key);
        held.filter(|held| held.kind == Kind::Value)
            .map(|held| &held.value[..])
    }

    fn holds(&mut self, key: Vec<u8>, kind: Kind, value: Vec<u8>, tag: u32) {
        self.model.insert(key, Held { kind, value, tag });
    }

    fn insert(&mut self) -> Result<(), Error> {
        let key = self.own_key();
        let value = self.own_value(&key);
        let written = self.table.insert(&key, &value)?;
        assert!(written.changed && !written.staged);
        let tag = self.tag_of(&key);
        self.holds(key, Kind::Value, value, tag);
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Error> {
        let key = self.own_key();
        self.table.delete(&key)?;
        let tag = self.tag_of(&key);
        self.holds(key, Kind::Tombstone, Vec::new(), tag);
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Error> {
        let key = self.own_key();
        let removed = self.table.remove(&key)?.map(|entry| Held {
            kind: entry.kind,
            value: entry.value.to_vec(),
            tag: entry.tag,
        });
        assert_eq!(removed, self.model.remove(&key));
        Ok(())
    }

    fn tag(&mut self) -> Result<(), Error> {
        let key = self.own_key();
        let tag = self.rng.random();
        self.table.update(&key, |item| {
            assert_eq!(item.map_or(0, |item| item.tag), self.tag_of(&key));
            Update::Tag(tag)
        })?;
        let held = self.model.entry(key).or_insert(Held {
            kind: Kind::TagOnly,
            value: Vec::new(),
            tag,
        });
        held.tag = tag;
        Ok(())
    }

    fn exchange(&mut self) -> Result<(), Error> {
        let key = self.own_key();
        let value = self.own_value(&key);
        let before = self.value_of(&key).map(<[u8]>::to_vec);
        let wrong = self.table.compare_and_set(&key, Some(b"never"), None)?;
        assert_eq!(wrong, Exchange::Found(before.clone().map(Into::into)));
        let set = self
            .table
            .compare_and_set(&key, before.as_deref(), Some(&value))?;
        assert_eq!(set, Exchange::Set);
        let tag = self.tag_of(&key);
        self.holds(key, Kind::Value, value, tag);
        Ok(())
    }

    fn get_or_insert(&mut self) -> Result<(), Error> {
        let key = self.own_key();
        let value = self.own_value(&key);
        let found = self.table.get_or_insert_with(&key, || &value)?;
        match self.value_of(&key) {
            Some(held) => assert_eq!(found, held),
            None => {
                assert_eq!(found, value);
                let tag = self.tag_of(&key);
                self.holds(key, Kind::Value, value, tag);
            }
        }
        Ok(())
    }

    fn count_up(&mut self) -> Result<(), Error> {
        let n = self.rng.random_range(0..COUNTERS);
        let key = counter(n);
        let rng = &mut self.rng;
        self.table.compute(&key, |value| {
            let count = value.map_or(0, |value| payload::number(&key, value));
            Some(payload::value(&key, count + 1, rng))
        })?;
        self.counted[n] += 1;
        Ok(())
    }

    fn batch(&mut self) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        let (group, number) = (self.rng.random_range(0..GROUPS), self.number());
        for n in 0..GROUP {
            let key = member(group, n);
            batch.put(&key, payload::value(&key, number, &mut self.rng));
        }
        let key = self.own_key();
        let value = self.own_value(&key);
        let tag = self.rng.random();
        batch.put(&key, &value).tag(&key, tag);
        self.table.apply(&batch)?;
        self.holds(key, Kind::Value, value, tag);
        Ok(())
    }

    fn read(&mut self) {
        let keys = [self.own_key(), self.own_key(), self.own_key()];
        let many = self.table.get_many(&keys);
        for (key, value) in keys.iter().zip(many) {
            assert_eq!(value.as_deref(), self.value_of(key));
            assert_eq!(self.table.get(key).as_deref(), self.value_of(key));
            assert_eq!(self.table.contains(key), self.value_of(key).is_some());
            let entry = self.table.entry(key);
            assert_eq!(
                entry.as_ref().map(|entry| (entry.kind, entry.tag)),
                self.model.get(key).map(|held| (held.kind, held.tag))
            );
            let history = self.table.history(key);
            assert_eq!(history.first(), entry.as_ref());
        }
        let n = self.rng.random_range(0..COUNTERS);
        assert!(count(self.table, n) >= self.counted[n]);
        assert!(self.table.len() >= self.model.len());
    }

    fn snapshot(&mut self) -> Result<(), Error> {
        let snapshot = self.table.snapshot();
        let key = self.own_key();
        let before = self.value_of(&key).map(<[u8]>::to_vec);
        let written = self.insert();
        self.remove().or_else(|error| match error {
            Error::Frozen => Ok(()),
            error => Err(error),
        })?;
        assert_eq!(snapshot.get(&key).as_deref(), before.as_deref());
        check_group(self.rng.random_range(0..GROUPS), |key| {
            snapshot.get(key).map(|value| value.to_vec())
        });
        written
    }

    /// Some way through the own keys, by the model, and some way through everybody's.
    fn range(&mut self) {
        const STEPS: usize = 40;
        let key = self.own_key();
        let from = || {
            self.model
                .range::<[u8], _>((Bound::Included(&key[..]), Bound::Unbounded))
        };
        let end = own_prefix(self.thread + 1);
        let pinned = self.table.pin();
        match self.rng.random_range(0..4) {
            0 => {
                let found = pinned.range_all(&key[..]..end.as_bytes()).take(STEPS);
                let found = found.map(|item| (item.key, item.tag));
                let held = from().take(STEPS).map(|(key, held)| (&key[..], held.tag));
                assert!(found.eq(held));
            }
            1 => {
                let start = own_prefix(self.thread);
                let found = pinned.range_all(start.as_bytes()..&key[..]).rev();
                let found = found.take(STEPS).map(|item| (item.key, item.value));
                let held = self.model.range(start.into_bytes()..key.clone()).rev();
                let held = held.map(|(key, held)| (&key[..], &held.value[..]));
                assert!(found.eq(held.take(STEPS)));
            }
            2 => {
                let mut cursor = self.table.cursor();
                cursor.seek(&key);
                for (key, held) in from().take(STEPS) {
                    let entry = cursor.entry().expect("an own key");
                    assert_eq!((&entry.key[..], entry.kind), (&key[..], held.kind));
                    cursor.next();
                }
            }
            _ => {
                let (mut last, mut met) = (Vec::new(), 0);
                let scanned = self.table.scan(&key[..].., |key, value| {
                    assert!(last.is_empty() || &last[..] < key);
                    payload::number(key, value);
                    last = key.to_vec();
                    met += 1;
                    match met < STEPS {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                });
                assert_eq!(scanned.is_break(), met == STEPS);
            }
        }
    }
}
