//! Stages and savepoints, opened and closed in the middle of writes, over a memtable or over a transaction buffer.
//!
//! The round is a row of *bursts*. Between two of them nobody writes, so what was there before one is known exactly: it must be
//! back after the outermost stage or savepoint of the burst was taken back, and what the burst wrote must stay if it is
//! kept. Inside of a burst one thread opens and closes inner stages and savepoints under the writes of the others.

use super::{Round, payload, skewed};
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use untorn_memtable::{Entry, Kind, Memtable, Savepoint, Snapshot, StageId, Stats, Update};
use untorn_txn::buffer::{BufferSnapshot, Stage};
use untorn_txn::{Entry as Written, Error, FlagOp, MemBuffer, buffer};

const BURSTS: usize = 10;
const KEYS: usize = 4_000;
const DEEPEST: usize = 6;

/// A live key: its value, nothing if it is deleted or has a tag alone, and the tag.
type Held = (Bytes, Option<Bytes>, u32);

/// What has stages.
pub(super) trait Staged: Sync {
    type Stage;
    type Savepoint;
    type View;

    fn put(&self, key: &[u8], value: &[u8]);
    fn delete(&self, key: &[u8]);
    /// Writes beside the content, something that goes with a rollback.
    fn tag(&self, key: &[u8], tag: u32);
    fn value(&self, key: &[u8]) -> Option<Bytes>;
    fn stats(&self) -> Stats;
    /// Everything that is live, in order.
    fn content(&self) -> Vec<Held>;
    fn compact(&self);

    fn open(&self) -> Self::Stage;
    fn release(&self, stage: Self::Stage);
    fn clean_up(&self, stage: Self::Stage);
    /// Number of keys written in the stage.
    fn written(&self, stage: &Self::Stage) -> usize;
    fn mark(&self) -> Self::Savepoint;
    /// False if a stage is in the way, or the savepoint was taken back itself.
    fn roll_back(&self, savepoint: &Self::Savepoint) -> bool;

    /// Now, and before the outermost stage.
    fn view(&self, with_stages: bool) -> Self::View;
    fn seen(&self, view: &Self::View) -> Vec<(Bytes, Option<Bytes>)>;
}

pub(super) fn play<S: Staged>(round: &Round, target: &S) -> u64 {
    let numbers = AtomicU64::new(1);
    let mut rng = round.rng(usize::MAX - 1);
    for burst in 0..BURSTS {
        let burst = Round {
            seed: round.seed ^ (burst as u64) << 32,
            threads: round.threads,
            steps: round.steps / BURSTS,
        };
        let before = target.content();
        assert_eq!(target.stats(), total(&before));
        match rng.random_range(0..3) {
            0 => {
                let stage = target.open();
                write(&burst, target, &numbers, true);
                let written = target.written(&stage);
                assert!(written <= target.stats().len);
                if rng.random_bool(0.3) {
                    let staged = target.content();
                    target.release(stage);
                    assert_eq!(target.content(), staged, "a release changed something");
                } else {
                    target.clean_up(stage);
                    assert_eq!(target.content(), before, "a cleanup left something");
                }
            }
            1 => {
                let savepoint = target.mark();
                for _ in 0..2 {
                    write(&burst, target, &numbers, false);
                    assert!(target.roll_back(&savepoint));
                    assert_eq!(target.content(), before, "a rollback left something");
                }
            }
            _ => write(&burst, target, &numbers, false),
        }
        assert_eq!(target.stats(), total(&target.content()));
    }
    let content = target.content();
    target.compact();
    assert_eq!(target.content(), content);
    assert_eq!(target.stats(), total(&content));
    (round.steps * round.threads) as u64
}

fn total(content: &[Held]) -> Stats {
    let mut stats = Stats::default();
    for (key, value, _) in content {
        stats.len += 1;
        stats.size += key.len() + value.as_ref().map_or(0, Bytes::len);
    }
    stats
}

/// One burst; if a stage is open around it, what is below it stands still.
fn write<S: Staged>(burst: &Round, target: &S, numbers: &AtomicU64, is_staged: bool) {
    let below = is_staged.then(|| target.seen(&target.view(false)));
    let observe = || {
        let stats = target.stats();
        assert!(stats.size >= stats.len * 8, "{stats:?}");
        let view = target.view(true);
        let seen = target.seen(&view);
        for (key, value) in &seen {
            if let Some(value) = value {
                payload::number(key, value);
            }
        }
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0));
        assert!(target.seen(&view) == seen, "a snapshot changed");
        if let Some(below) = &below {
            let still = target.seen(&target.view(false)) == *below;
            assert!(still, "what lies below the stages changed");
        }
    };
    burst.together(observe, |thread, mut rng| {
        if thread == 0 {
            nest(burst.steps / 20, target, &mut rng);
        } else {
            for _ in 0..burst.steps {
                step(target, numbers, &mut rng);
            }
        }
    });
}

fn step<S: Staged>(target: &S, numbers: &AtomicU64, rng: &mut SmallRng) {
    let key = format!("key/{:05}", skewed(rng, KEYS)).into_bytes();
    match rng.random_range(0..10) {
        0..6 => {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            target.put(&key, &payload::value(&key, number, rng));
        }
        6 => target.delete(&key),
        7 => target.tag(&key, rng.random()),
        _ => {
            if let Some(value) = target.value(&key) {
                payload::number(&key, &value);
            }
        }
    }
}

/// Opens and closes inner stages and savepoints; leaves none.
fn nest<S: Staged>(steps: usize, target: &S, rng: &mut SmallRng) {
    let (mut open, mut marks) = (Vec::new(), Vec::new());
    let close = |stage, rng: &mut SmallRng| match rng.random_bool(0.5) {
        true => target.release(stage),
        false => target.clean_up(stage),
    };
    for _ in 0..steps {
        match rng.random_range(0..8) {
            0 | 1 if open.len() < DEEPEST => open.push(target.open()),
            2 | 3 => {
                if let Some(stage) = open.pop() {
                    target.written(&stage);
                    close(stage, rng);
                }
            }
            4 if marks.len() < DEEPEST => marks.push(target.mark()),
            5 if !marks.is_empty() => drop(marks.swap_remove(rng.random_range(0..marks.len()))),
            6 if !marks.is_empty() => {
                target.roll_back(&marks[rng.random_range(0..marks.len())]);
            }
            _ => std::thread::yield_now(),
        }
    }
    while let Some(stage) = open.pop() {
        close(stage, rng);
    }
}

const LEGAL: &str = "within the limits, and the table is not frozen";
const INNERMOST: &str = "the innermost stage";

fn shown(entry: Entry) -> Option<(Bytes, Option<Bytes>)> {
    match entry.kind {
        Kind::Value => Some((entry.key, Some(entry.value))),
        Kind::Tombstone => Some((entry.key, None)),
        Kind::TagOnly => None,
    }
}

impl Staged for Arc<Memtable> {
    type Stage = StageId;
    type Savepoint = Savepoint<Arc<Memtable>>;
    type View = Snapshot<Arc<Memtable>>;

    fn put(&self, key: &[u8], value: &[u8]) {
        self.insert(key, value).expect(LEGAL);
    }

    fn delete(&self, key: &[u8]) {
        Memtable::delete(self, key).expect(LEGAL);
    }

    fn tag(&self, key: &[u8], tag: u32) {
        self.update(key, |_| Update::Tag(tag)).expect(LEGAL);
    }

    fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.get(key)
    }

    fn stats(&self) -> Stats {
        Memtable::stats(self)
    }

    fn content(&self) -> Vec<Held> {
        let pinned = self.pin();
        let items = pinned.range_all::<&[u8]>(..).map(|item| item.to_entry());
        items
            .map(|entry| {
                let value = (entry.kind == Kind::Value).then_some(entry.value);
                (entry.key, value, entry.tag)
            })
            .collect()
    }

    fn compact(&self) {
        Memtable::compact(self);
    }

    fn open(&self) -> StageId {
        self.open_stage()
    }

    fn release(&self, stage: StageId) {
        self.release_stage(stage).expect(INNERMOST);
    }

    fn clean_up(&self, stage: StageId) {
        self.cleanup_stage(stage).expect(INNERMOST);
    }

    fn written(&self, stage: &StageId) -> usize {
        self.stage_writes(stage).expect("an open stage").len()
    }

    fn mark(&self) -> Self::Savepoint {
        Savepoint::new(self.clone())
    }

    fn roll_back(&self, savepoint: &Self::Savepoint) -> bool {
        savepoint.roll_back().is_ok()
    }

    fn view(&self, with_stages: bool) -> Self::View {
        match with_stages {
            true => Snapshot::new(self.clone()),
            false => Snapshot::before_stages(self.clone()),
        }
    }

    fn seen(&self, view: &Self::View) -> Vec<(Bytes, Option<Bytes>)> {
        view.range::<&[u8]>(..).filter_map(shown).collect()
    }
}

impl Staged for MemBuffer {
    type Stage = Stage;
    type Savepoint = buffer::Savepoint;
    type View = BufferSnapshot;

    fn put(&self, key: &[u8], value: &[u8]) {
        self.set(key, value).expect(LEGAL);
    }

    fn delete(&self, key: &[u8]) {
        MemBuffer::delete(self, key).expect(LEGAL);
    }

    fn tag(&self, key: &[u8], tag: u32) {
        // None of them persistent: those would stay.
        const OPS: [FlagOp; 4] = [
            FlagOp::SetPresumeNotExists,
            FlagOp::SetAssertExist,
            FlagOp::SetNewlyInserted,
            FlagOp::SetAssertNone,
        ];
        let op = OPS[tag as usize % OPS.len()];
        self.update_flags(key, [op]).expect(LEGAL);
    }

    fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.get(key).and_then(Written::into_value)
    }

    fn stats(&self) -> Stats {
        MemBuffer::stats(self)
    }

    fn content(&self) -> Vec<Held> {
        self.range_with_flags::<&[u8]>(..)
            .map(|(key, entry, flags)| {
                let value = entry.and_then(Written::into_value);
                (key, value, flags.bits().into())
            })
            .collect()
    }

    fn compact(&self) {
        MemBuffer::compact(self);
    }

    fn open(&self) -> Stage {
        self.stage()
    }

    fn release(&self, stage: Stage) {
        stage.release().expect(INNERMOST);
    }

    fn clean_up(&self, stage: Stage) {
        stage.cleanup().expect(INNERMOST);
    }

    fn written(&self, stage: &Stage) -> usize {
        let mut written = 0;
        self.inspect_stage(stage, |key, entry, _| {
            if let Some(value) = entry.value() {
                payload::number(&key, value);
            }
            written += 1;
        })
        .expect("an open stage");
        written
    }

    fn mark(&self) -> buffer::Savepoint {
        self.savepoint()
    }

    fn roll_back(&self, savepoint: &buffer::Savepoint) -> bool {
        match self.rollback_to(savepoint) {
            Ok(()) => true,
            Err(Error::StaleSavepoint | Error::StageOpen) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn view(&self, with_stages: bool) -> BufferSnapshot {
        match with_stages {
            true => self.snapshot_now(),
            false => self.snapshot(),
        }
    }

    fn seen(&self, view: &BufferSnapshot) -> Vec<(Bytes, Option<Bytes>)> {
        let entries = view.range::<&[u8]>(..);
        entries
            .map(|(key, entry)| (key, entry.into_value()))
            .collect()
    }
}
