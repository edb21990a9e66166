//! A transaction buffer with flags, a limit, a memory hook, ranges and unions. Every thread knows what its own keys hold and
//! which flags they have.

use super::{Round, payload, skewed};
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

const OWN: usize = 2_000;
/// Under it the buffer of a round may be refused writes, in every other round.
const LIMIT: usize = 192 << 10;

type State = (Option<Entry>, KeyFlags);

struct Worker<'r> {
    buffer: &'r MemBuffer,
    numbers: &'r AtomicU64,
    thread: usize,
    rng: SmallRng,
    limit: Option<usize>,
    model: BTreeMap<Bytes, State>,
}

fn own_prefix(thread: usize) -> String {
    format!("own/{thread:03}/")
}

pub(super) fn play(round: &Round) -> u64 {
    let limit = round.seed.is_multiple_of(2).then_some(LIMIT);
    let buffer = MemBuffer::builder()
        .buffer_limit(limit.unwrap_or(usize::MAX))
        .build();
    let (numbers, hooked) = (AtomicU64::new(1), Arc::new(AtomicU64::new(0)));
    let observe = || {
        let stats = buffer.stats();
        assert!(
            stats.size <= limit.unwrap_or(usize::MAX),
            "{stats:?} over the limit"
        );
        let told = hooked.clone();
        buffer.set_memory_hook(move |held| {
            told.fetch_max(held as u64, Ordering::Relaxed);
        });
        let snapshot = buffer.snapshot_now();
        let seen: Vec<_> = snapshot.range::<&[u8]>(..).collect();
        for (key, entry) in &seen {
            check(key, entry);
        }
        assert!(
            snapshot.range::<&[u8]>(..).eq(seen),
            "a snapshot of the buffer changed"
        );
        assert!(buffer.memory().total() > 0 || buffer.is_empty());
        buffer.clear_memory_hook();
    };
    let models = round.together(observe, |thread, rng| {
        let mut worker = Worker {
            buffer: &buffer,
            numbers: &numbers,
            thread,
            rng,
            limit,
            model: BTreeMap::new(),
        };
        for _ in 0..round.steps {
            worker.step();
        }
        worker.model
    });
    let model: BTreeMap<_, _> = models.into_iter().flatten().collect();
    let size = |(key, (entry, _)): (&Bytes, &State)| {
        let value = entry.as_ref().and_then(Entry::value);
        key.len() + value.map_or(0, Bytes::len)
    };
    let stats = buffer.stats();
    assert_eq!(
        (stats.len, stats.size),
        (model.len(), model.iter().map(size).sum())
    );
    let all = buffer.range_with_flags::<&[u8]>(..);
    assert!(
        all.map(|(key, entry, flags)| (key, (entry, flags)))
            .eq(model)
    );
    (round.steps * round.threads) as u64
}

fn check(key: &[u8], entry: &Entry) {
    if let Some(value) = entry.value() {
        payload::number(key, value);
    }
}

impl Worker<'_> {
    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => self.write(),
            40..50 => self.delete(),
            50..60 => self.flag(),
            60..85 => self.read(),
            _ => self.range(),
        }
    }

    fn own_key(&mut self) -> Bytes {
        let n = skewed(&mut self.rng, OWN);
        format!("{}{n:05}", own_prefix(self.thread)).into()
    }

    /// Operations on flags, in a quarter of the writes.
    fn ops(&mut self) -> Vec<FlagOp> {
        let count = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(1..4),
            _ => 0,
        };
        (0..count)
            .map(|_| FlagOp::ALL[self.rng.random_range(0..FlagOp::ALL.len())])
            .collect()
    }

    /// What the model makes of a write that was taken; one that was refused changes nothing.
    fn written(
        &mut self,
        key: Bytes,
        content: Option<Entry>,
        ops: &[FlagOp],
        written: Result<(), Error>,
    ) {
        match written {
            Ok(()) => {
                let state = self.model.entry(key).or_default();
                if content.is_some() {
                    // A write of the content answers for the check, unless it asks for it.
                    state.1 -= KeyFlags::NEED_CONSTRAINT_CHECK;
                    state.0 = content;
                }
                state.1 = state.1.apply(ops);
            }
            Err(Error::TxnTooLarge { size, limit }) => {
                assert!(self.limit == Some(limit) && size > limit);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&mut self) {
        let (key, ops) = (self.own_key(), self.ops());
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let value = Bytes::from(payload::value(&key, number, &mut self.rng));
        let written = self.buffer.set_with_flags(&key, &value, &ops);
        self.written(key, Some(Entry::Value(value)), &ops, written);
    }

    fn delete(&mut self) {
        let (key, ops) = (self.own_key(), self.ops());
        let written = self.buffer.delete_with_flags(&key, &ops);
        self.written(key, Some(Entry::Tombstone), &ops, written);
    }

    fn flag(&mut self) {
        let (key, ops) = (self.own_key(), self.ops());
        let written = self.buffer.update_flags(&key, &ops);
        self.written(key, None, &ops, written);
    }

    fn read(&mut self) {
        let keys = [self.own_key(), self.own_key()];
        let batch = self.buffer.batch_get(&keys);
        for key in &keys {
            let state = self.model.get(key);
            let entry = state.and_then(|state| state.0.clone());
            assert_eq!(batch.get(key), entry.as_ref());
            assert_eq!(self.buffer.get(key), entry);
            assert_eq!(self.buffer.get_flags(key), state.map(|state| state.1));
            let newest = self.buffer.history(key).next();
            assert_eq!(
                newest.map(|version| (version.entry, version.flags)),
                state.cloned()
            );
        }
        assert!(self.buffer.len() >= self.model.len());
        assert!(self.model.is_empty() || self.buffer.is_dirty());
    }

    fn range(&mut self) {
        const STEPS: usize = 30;
        let (from, end) = (self.own_key(), Bytes::from(own_prefix(self.thread + 1)));
        let held = self.model.range(from.clone()..end.clone());
        let held = held.filter_map(|(key, state)| Some((key.clone(), state.0.clone()?)));
        match self.rng.random_range(0..3) {
            0 => assert!(
                self.buffer
                    .range(from..end)
                    .take(STEPS)
                    .eq(held.take(STEPS))
            ),
            1 => {
                let found = self.buffer.range(from..end).rev();
                assert!(found.take(STEPS).eq(held.rev().take(STEPS)));
            }
            _ => {
                let below = own_prefix(self.thread) + "below";
                let below = (Bytes::from(below), Bytes::from("below"));
                let values = |(key, entry): (Bytes, Entry)| Some((key, entry.into_value()?));
                let mut expected: Vec<_> = held.filter_map(values).collect();
                expected.push(below.clone());
                let union = self.buffer.union(from..end, [below]);
                assert!(union.eq(expected));
            }
        }
    }
}
