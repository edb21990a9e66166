//! A pipelined buffer whose every flush is waited for, against a model of its active part and what was frozen before.

use super::check::same_error;
use super::flushed::Flushed;
use super::model::{Content, KEYS, Model};
use std::collections::BTreeMap;
use untorn_txn::buffer::{PipelinedBuffer, Stage};
use untorn_txn::{Entry, Error, FlagOp};

const MIN_KEYS: usize = 3;
const MIN_BYTES: usize = 24;
const FORCE_BYTES: usize = 60;

#[derive(Debug, Clone)]
pub enum Op {
    Write {
        key: usize,
        content: Content,
        ops: Vec<FlagOp>,
    },
    Stage,
    Release,
    Cleanup,
    Flush,
}

/// The active part, and what the generations before it left.
struct Parts {
    active: Model,
    limit: usize,
    generations: usize,
    frozen: (usize, usize),
    frozen_dirty: bool,
    flushed: BTreeMap<&'static str, Entry>,
}

impl Parts {
    fn new(limit: usize) -> Parts {
        let mut parts = Parts {
            active: Model::new(),
            limit,
            generations: 0,
            frozen: (0, 0),
            frozen_dirty: false,
            flushed: BTreeMap::new(),
        };
        parts.active.buffer_limit = limit;
        parts
    }

    /// A write in the active part; what is refused is refused for the sum of all parts.
    fn write(&mut self, key: usize, content: Content, ops: Vec<FlagOp>) -> Result<(), Error> {
        let written = self.active.write(key, content, ops);
        written.map_err(|error| match error {
            Error::TxnTooLarge { size, .. } => Error::TxnTooLarge {
                size: self.frozen.1 + size,
                limit: self.limit,
            },
            other => other,
        })
    }

    fn flush_if_due(&mut self) {
        let (len, size) = (self.active.contents().len(), self.active.size());
        if len >= MIN_KEYS && size >= MIN_BYTES || size >= FORCE_BYTES {
            // Refused while a stage is open, as it should be.
            let _ = self.flush();
        }
    }

    /// Whether something was flushed.
    fn flush(&mut self) -> Result<bool, Error> {
        let contents = self.active.contents();
        if contents.is_empty() {
            return Ok(false);
        }
        if !self.active.stages.is_empty() {
            return Err(Error::StageOpen);
        }
        self.generations += 1;
        self.frozen.0 += contents.len();
        self.frozen.1 += self.active.size();
        self.frozen_dirty |= self.active.dirty;
        let written = contents.into_iter();
        self.flushed
            .extend(written.filter_map(|(key, (entry, _))| Some((key, entry?))));
        self.active = Model::new();
        if self.limit != usize::MAX {
            self.active.buffer_limit = self.limit.saturating_sub(self.frozen.1);
        }
        Ok(true)
    }

    fn check(&self, buffer: &PipelinedBuffer) {
        let contents = self.active.contents();
        let mut entries = self.flushed.clone();
        for (key, (entry, _)) in &contents {
            entries.extend(entry.clone().map(|entry| (*key, entry)));
        }
        for key in KEYS {
            let found = buffer.blocking().get(key).unwrap();
            assert_eq!(found.as_ref(), entries.get(key), "get {key:?}");
            let flags = contents.get(key).map(|state| state.1);
            assert_eq!(buffer.get_flags(key), flags, "flags of {key:?}");
        }
        let all = buffer.blocking().batch_get(KEYS).unwrap();
        let entries: Vec<_> = entries.into_iter().collect();
        let shown = all.iter().map(|(key, entry)| (&key[..], entry));
        assert!(shown.eq(entries.iter().map(|(key, entry)| (key.as_bytes(), entry))));
        let sums = (
            self.frozen.0 + contents.len(),
            self.frozen.1 + self.active.size(),
        );
        let stats = buffer.stats();
        assert_eq!((stats.len, stats.size), sums);
        assert_eq!(buffer.is_dirty(), self.frozen_dirty || self.active.dirty);
        assert_eq!(buffer.generations(), self.generations as u64);
    }
}

/// Does the operations; `limit` is that of the whole buffer.
///
/// # Panics
/// Where buffer and model differ.
pub fn run(ops: Vec<Op>, limit: Option<usize>) {
    let target = Flushed::default();
    let limit = limit.unwrap_or(usize::MAX);
    let buffer = PipelinedBuffer::builder()
        .min_keys(MIN_KEYS)
        .min_bytes(MIN_BYTES)
        .force_bytes(FORCE_BYTES)
        .buffer_limit(limit)
        .build(target.clone());
    let calls = buffer.blocking();
    let mut parts = Parts::new(limit);
    let mut stages: Vec<(usize, Stage)> = Vec::new();
    for op in ops {
        match op {
            Op::Write { key, content, ops } => {
                let real = match &content {
                    Content::Value(value) => calls.set_with_flags(KEYS[key], value, &ops),
                    Content::Tombstone => calls.delete_with_flags(KEYS[key], &ops),
                    Content::Keep => calls.update_flags(KEYS[key], &ops),
                };
                parts.flush_if_due();
                let expected = parts.write(key, content, ops);
                if expected.is_ok() {
                    parts.flush_if_due();
                }
                assert!(
                    same_error(&real, &expected),
                    "{real:?} instead of {expected:?}"
                );
            }
            Op::Stage => stages.push((parts.active.stage(), buffer.stage())),
            Op::Release => {
                if let Some((number, stage)) = stages.pop() {
                    stage.release().unwrap();
                    assert!(parts.active.close(number, false));
                }
            }
            Op::Cleanup => {
                if let Some((number, stage)) = stages.pop() {
                    stage.cleanup().unwrap();
                    assert!(parts.active.close(number, true));
                }
            }
            Op::Flush => {
                let (real, expected) = (calls.flush(), parts.flush());
                assert_eq!(format!("{real:?}"), format!("{expected:?}"));
            }
        }
        calls.flush_wait().unwrap();
        parts.check(&buffer);
    }
    let numbers: Vec<_> = target
        .generations()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, (1..=buffer.generations()).collect::<Vec<_>>());
}
