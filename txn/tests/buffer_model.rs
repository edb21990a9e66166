//! Random operations on a buffer and on a plain model that replays a log.
//!
//! The model keeps every accepted write for ever, and for each whether it was rolled back. What a
//! key holds is found by replaying the log: content and write-owned flags from the writes that are
//! left, persistent flags from all of them, and the constraint check's implicit clear only from the
//! writes that are left.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use untorn_txn::buffer::{BufferSnapshot, Savepoint, Stage};
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

const KEYS: [&str; 6] = ["", "a", "ab", "b", "key-five", "z"];

#[derive(Debug, Clone)]
enum Content {
    Value(Vec<u8>),
    Tombstone,
    Keep,
}

#[derive(Debug, Clone)]
enum Op {
    Write {
        key: usize,
        content: Content,
        ops: Vec<FlagOp>,
    },
    Stage,
    Release {
        pick: usize,
    },
    Cleanup {
        pick: usize,
    },
    DropStage {
        pick: usize,
    },
    Savepoint,
    RollBack {
        pick: usize,
    },
    DropSavepoint {
        pick: usize,
    },
    BufferLimit(Option<usize>),
    EntryLimit(Option<usize>),
    KeyLimit(usize),
    Snapshot,
    Reset,
}

struct Logged {
    key: usize,
    content: Content,
    ops: Vec<FlagOp>,
    alive: bool,
}

struct OpenStage {
    number: usize,
    /// Length of the log when it was opened.
    mark: usize,
    doomed: bool,
}

/// A savepoint that can be rolled back to, but for stages that are open.
struct LiveSavepoint {
    number: usize,
    mark: usize,
}

struct Model {
    log: Vec<Logged>,
    stages: Vec<OpenStage>,
    savepoints: Vec<LiveSavepoint>,
    /// Stages and savepoints that were ever made: the number of the next one.
    made: usize,
    dirty: bool,
    key_limit: usize,
    entry_limit: usize,
    buffer_limit: usize,
}

type State = (Option<Entry>, KeyFlags);

impl Model {
    fn new() -> Model {
        Model {
            log: Vec::new(),
            stages: Vec::new(),
            savepoints: Vec::new(),
            made: 0,
            dirty: false,
            key_limit: 65_535,
            entry_limit: usize::MAX,
            buffer_limit: usize::MAX,
        }
    }

    /// Replays the first `length` log entries for one key; `None`: absent.
    fn replay(&self, key: usize, length: usize) -> Option<State> {
        let check = KeyFlags::NEED_CONSTRAINT_CHECK;
        let (mut live, mut entry) = (false, None);
        let (mut persistent, mut own) = (KeyFlags::empty(), KeyFlags::empty());
        for write in self.log[..length].iter().filter(|write| write.key == key) {
            if write.alive {
                live = true;
                match &write.content {
                    Content::Value(value) => entry = Some(Entry::Value(value.clone().into())),
                    Content::Tombstone => entry = Some(Entry::Tombstone),
                    Content::Keep => {}
                }
                if !matches!(write.content, Content::Keep) {
                    persistent -= check;
                }
                own = own.apply(&write.ops) - KeyFlags::PERSISTENT;
            }
            persistent = persistent.apply(&write.ops) & KeyFlags::PERSISTENT;
        }
        (live || !persistent.is_empty()).then_some((entry, persistent | own))
    }

    fn contents(&self) -> BTreeMap<&'static str, State> {
        let state = |(index, key): (usize, &&'static str)| {
            Some((*key, self.replay(index, self.log.len())?))
        };
        KEYS.iter().enumerate().filter_map(state).collect()
    }

    fn bytes(key: &str, state: &State) -> usize {
        let value = state
            .0
            .as_ref()
            .and_then(Entry::value)
            .map_or(0, |value| value.len());
        key.len() + value
    }

    fn size(&self) -> usize {
        self.contents()
            .iter()
            .map(|(key, state)| Model::bytes(key, state))
            .sum()
    }

    fn write(&mut self, key: usize, content: Content, ops: Vec<FlagOp>) -> Result<(), Error> {
        let name = KEYS[key].len();
        let value = match &content {
            Content::Value(value) if value.is_empty() => return Err(Error::EmptyValue),
            Content::Value(value) => Some(value.len()),
            Content::Tombstone => Some(0),
            Content::Keep => None,
        };
        if name > self.key_limit {
            return Err(Error::KeyTooLarge {
                size: name,
                limit: self.key_limit,
            });
        }
        if value.is_some_and(|value| name + value > self.entry_limit) {
            let size = name + value.unwrap();
            return Err(Error::EntryTooLarge {
                size,
                limit: self.entry_limit,
            });
        }
        let size = self.size();
        self.log.push(Logged {
            key,
            content,
            ops,
            alive: true,
        });
        let grown = self.size();
        if grown > size && grown > self.buffer_limit {
            self.log.pop();
            return Err(Error::TxnTooLarge {
                size: grown,
                limit: self.buffer_limit,
            });
        }
        let (_, flags) = self.replay(key, self.log.len()).unwrap();
        self.dirty |= self.stages.is_empty() || flags.intersects(KeyFlags::PERSISTENT);
        Ok(())
    }

    /// False if the stage is not the innermost open one.
    fn close(&mut self, number: usize, cleanup: bool) -> bool {
        if self
            .stages
            .last()
            .is_none_or(|stage| stage.number != number)
        {
            return false;
        }
        self.close_innermost(cleanup);
        while self.stages.last().is_some_and(|stage| stage.doomed) {
            self.close_innermost(true);
        }
        true
    }

    fn close_innermost(&mut self, cleanup: bool) {
        let stage = self.stages.pop().unwrap();
        let writes = &mut self.log[stage.mark..];
        if cleanup {
            writes.iter_mut().for_each(|write| write.alive = false);
            self.savepoints
                .retain(|savepoint| savepoint.number < stage.number);
        } else if self.stages.is_empty() {
            let content = |write: &Logged| !matches!(write.content, Content::Keep);
            self.dirty |= writes.iter().any(|write| write.alive && content(write));
        }
    }

    fn next_number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    fn stage(&mut self) -> usize {
        let number = self.next_number();
        self.stages.push(OpenStage {
            number,
            mark: self.log.len(),
            doomed: false,
        });
        number
    }

    fn savepoint(&mut self) -> usize {
        let number = self.next_number();
        self.savepoints.push(LiveSavepoint {
            number,
            mark: self.log.len(),
        });
        number
    }

    fn rollback_to(&mut self, number: usize) -> Result<(), Error> {
        let is_it = |savepoint: &LiveSavepoint| savepoint.number == number;
        let place = self.savepoints.iter().position(is_it);
        let place = place.ok_or(Error::StaleSavepoint)?;
        if self.stages.iter().any(|stage| stage.number > number) {
            return Err(Error::StageOrder);
        }
        let writes = &mut self.log[self.savepoints[place].mark..];
        writes.iter_mut().for_each(|write| write.alive = false);
        self.savepoints.truncate(place + 1);
        Ok(())
    }

    fn drop_savepoint(&mut self, number: usize) {
        self.savepoints
            .retain(|savepoint| savepoint.number != number);
    }

    fn drop_stage(&mut self, number: usize) {
        if !self.close(number, true)
            && let Some(stage) = self.stages.iter_mut().find(|stage| stage.number == number)
        {
            stage.doomed = true;
        }
    }

    /// Contents before the outermost open stage.
    fn snapshot(&self) -> BTreeMap<&'static str, Entry> {
        let mark = self
            .stages
            .first()
            .map_or(self.log.len(), |stage| stage.mark);
        let held =
            |(index, key): (usize, &&'static str)| Some((*key, self.replay(index, mark)?.0?));
        KEYS.iter().enumerate().filter_map(held).collect()
    }

    /// What `history` shows of a key, but for versions that look alike and follow each other.
    fn history(&self, key: usize) -> Vec<State> {
        let stages = self.stages.iter().map(|stage| stage.mark);
        let savepoints = self.savepoints.iter().map(|savepoint| savepoint.mark);
        let mut marks: Vec<_> = stages.chain(savepoints).chain([self.log.len()]).collect();
        marks.sort_by_key(|&mark| std::cmp::Reverse(mark));
        let now = self.replay(key, self.log.len());
        let locks = now.map_or(KeyFlags::empty(), |(_, flags)| flags & KeyFlags::PERSISTENT);
        let check = KeyFlags::NEED_CONSTRAINT_CHECK;
        let version = |mark: usize| {
            let written = |write: &Logged| write.alive && write.key == key;
            if !self.log[..mark].iter().any(written) {
                return None;
            }
            let (entry, flags) = self.replay(key, mark)?;
            let own = flags - KeyFlags::PERSISTENT;
            Some((entry, own | (locks - check)))
        };
        let mut shown: Vec<_> = marks.into_iter().filter_map(version).collect();
        shown.dedup();
        shown
    }

    /// What `inspect_stage` shows of a stage.
    fn written_in(&self, number: usize) -> Option<Vec<(&'static str, State)>> {
        let mark = self
            .stages
            .iter()
            .find(|stage| stage.number == number)?
            .mark;
        let newest = |key: usize| {
            let is_content = |write: &Logged| {
                write.alive && write.key == key && !matches!(write.content, Content::Keep)
            };
            self.log.iter().rposition(is_content)
        };
        let mut written: Vec<_> = (0..KEYS.len())
            .filter_map(|key| Some((newest(key).filter(|&place| place >= mark)?, key)))
            .collect();
        written.sort_by_key(|&(place, _)| std::cmp::Reverse(place));
        let state =
            |(_, key): (usize, usize)| (KEYS[key], self.replay(key, self.log.len()).unwrap());
        Some(written.into_iter().map(state).collect())
    }

    fn reset(&mut self) {
        self.log.clear();
        self.stages.clear();
        self.savepoints.clear();
        self.dirty = false;
    }
}

fn same_error(real: &Result<(), Error>, model: &Result<(), Error>) -> bool {
    format!("{real:?}") == format!("{model:?}")
}

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap()
}

fn check(buffer: &MemBuffer, model: &Model) {
    let expected = model.contents();
    for key in KEYS {
        let state = expected.get(key);
        assert_eq!(
            buffer.get(key),
            state.and_then(|state| state.0.clone()),
            "get {key:?}"
        );
        assert_eq!(
            buffer.get_flags(key),
            state.map(|state| state.1),
            "flags of {key:?}"
        );
    }
    let stats = buffer.stats();
    assert_eq!((stats.len, stats.size), (expected.len(), model.size()));
    assert_eq!((buffer.len(), buffer.size()), (stats.len, stats.size));
    assert_eq!(buffer.is_dirty(), model.dirty, "dirty");
    assert_eq!(buffer.open_stages(), model.stages.len());

    let all: Vec<_> = buffer.range_with_flags::<&[u8]>(..).collect();
    let shown = all
        .iter()
        .map(|(key, entry, flags)| (text(key), (entry.clone(), *flags)));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        expected.clone().into_iter().collect::<Vec<_>>()
    );
    let held: Vec<_> = expected
        .iter()
        .filter_map(|(key, state)| Some((*key, state.0.clone()?)))
        .collect();
    let forward: Vec<_> = buffer.range::<&[u8]>(..).collect();
    let shown = forward
        .iter()
        .map(|(key, entry)| (text(key), entry.clone()));
    assert_eq!(shown.collect::<Vec<_>>(), held);
    let mut back: Vec<_> = buffer.range::<&[u8]>(..).rev().collect();
    back.reverse();
    assert_eq!(back, forward);
    let part = buffer.range("a".."b").count();
    assert_eq!(
        part,
        held.iter()
            .filter(|(key, _)| ("a".."b").contains(key))
            .count()
    );
    let batch = buffer.batch_get(KEYS);
    assert_eq!(batch.into_iter().collect::<Vec<_>>(), forward);
}

fn check_snapshot(view: &BufferSnapshot, expected: &BTreeMap<&'static str, Entry>) {
    let shown: Vec<_> = view.range::<&[u8]>(..).collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|(key, entry)| (text(key), entry.clone()))
        .collect();
    assert_eq!(shown, expected.clone().into_iter().collect::<Vec<_>>());
    for key in KEYS {
        assert_eq!(view.get(key).as_ref(), expected.get(key));
    }
}

fn check_history(buffer: &MemBuffer, model: &Model) {
    // The constraint check depends on writes above; that it comes back as it was is seen by rolling back.
    let check = KeyFlags::NEED_CONSTRAINT_CHECK;
    for (index, key) in KEYS.iter().enumerate() {
        let versions = buffer.history(key).map(|it| (it.entry, it.flags - check));
        let mut shown: Vec<_> = versions.collect();
        shown.dedup();
        assert_eq!(shown, model.history(index), "history of {key:?}");
    }
}

fn check_stage(buffer: &MemBuffer, stage: &Stage, expected: Option<Vec<(&'static str, State)>>) {
    let mut shown = Vec::new();
    let inspected = buffer.inspect_stage(stage, |key, entry, flags| {
        shown.push((text(&key).to_owned(), (Some(entry), flags)));
    });
    assert_eq!(inspected.is_ok(), expected.is_some());
    let expected = expected.unwrap_or_default().into_iter();
    assert_eq!(
        shown,
        expected
            .map(|(key, state)| (key.to_owned(), state))
            .collect::<Vec<_>>()
    );
}

fn run(ops: Vec<Op>) {
    let buffer = MemBuffer::new();
    let mut model = Model::new();
    let mut handles: Vec<(usize, Stage)> = Vec::new();
    let mut savepoints: Vec<(usize, Savepoint)> = Vec::new();
    let mut views = Vec::new();
    for op in ops {
        match op {
            Op::Write { key, content, ops } => {
                let real = match &content {
                    Content::Value(value) => buffer.set_with_flags(KEYS[key], value, &ops),
                    Content::Tombstone => buffer.delete_with_flags(KEYS[key], &ops),
                    Content::Keep => buffer.update_flags(KEYS[key], &ops),
                };
                let expected = model.write(key, content, ops);
                assert!(
                    same_error(&real, &expected),
                    "{real:?} instead of {expected:?}"
                );
            }
            Op::Stage => handles.push((model.stage(), buffer.stage())),
            Op::Release { pick } | Op::Cleanup { pick } if handles.is_empty() => {
                let _ = pick;
            }
            Op::Release { pick } => {
                let place = nearest_end(pick, handles.len());
                let (number, stage) = handles.remove(place);
                close(
                    stage.release(),
                    number,
                    place,
                    &mut handles,
                    model.close(number, false),
                );
            }
            Op::Cleanup { pick } => {
                let place = nearest_end(pick, handles.len());
                let (number, stage) = handles.remove(place);
                close(
                    stage.cleanup(),
                    number,
                    place,
                    &mut handles,
                    model.close(number, true),
                );
            }
            Op::DropStage { pick } => {
                if !handles.is_empty() {
                    let (number, stage) = handles.remove(pick % handles.len());
                    drop(stage);
                    model.drop_stage(number);
                }
            }
            Op::Savepoint => savepoints.push((model.savepoint(), buffer.savepoint())),
            Op::RollBack { pick } => {
                if !savepoints.is_empty() {
                    let (number, savepoint) = &savepoints[nearest_end(pick, savepoints.len())];
                    let real = buffer.rollback_to(savepoint);
                    let expected = model.rollback_to(*number);
                    assert!(
                        same_error(&real, &expected),
                        "{real:?} instead of {expected:?}"
                    );
                }
            }
            Op::DropSavepoint { pick } => {
                if !savepoints.is_empty() {
                    let (number, savepoint) = savepoints.remove(pick % savepoints.len());
                    drop(savepoint);
                    model.drop_savepoint(number);
                }
            }
            Op::BufferLimit(limit) => {
                model.buffer_limit = limit.unwrap_or(usize::MAX);
                buffer.set_buffer_limit(model.buffer_limit);
            }
            Op::EntryLimit(limit) => {
                model.entry_limit = limit.unwrap_or(usize::MAX);
                buffer.set_entry_limit(model.entry_limit);
            }
            Op::KeyLimit(limit) => {
                model.key_limit = limit;
                buffer.set_key_limit(limit);
            }
            Op::Snapshot => views.push((buffer.snapshot(), model.snapshot())),
            Op::Reset => {
                buffer.reset().unwrap();
                model.reset();
            }
        }
        check(&buffer, &model);
        check_history(&buffer, &model);
        for (number, stage) in &handles {
            check_stage(&buffer, stage, model.written_in(*number));
        }
        for (view, expected) in &views {
            check_snapshot(view, expected);
        }
    }
}

/// Mostly the innermost handle, so that stages do close.
fn nearest_end(pick: usize, count: usize) -> usize {
    if pick < 12 { count - 1 } else { pick % count }
}

fn close(
    answer: Result<(), untorn_txn::buffer::StageOrder>,
    number: usize,
    place: usize,
    handles: &mut Vec<(usize, Stage)>,
    closed: bool,
) {
    assert_eq!(answer.is_ok(), closed);
    if let Err(refused) = answer {
        handles.insert(place, (number, refused.into_stage()));
    }
}

fn flag_ops() -> impl Strategy<Value = Vec<FlagOp>> {
    let check = prop_oneof![
        Just(FlagOp::SetNeedConstraintCheck),
        Just(FlagOp::ClearNeedConstraintCheck),
        Just(FlagOp::SetLocked),
        Just(FlagOp::ClearLocked),
    ];
    let any = proptest::sample::select(FlagOp::ALL.to_vec());
    prop_oneof![
        3 => Just(Vec::new()),
        2 => proptest::collection::vec(check, 1..3),
        2 => proptest::collection::vec(any, 1..4),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        4 => (any::<u8>(), 0usize..40).prop_map(|(byte, length)| Content::Value(vec![byte; length])),
        2 => Just(Content::Tombstone),
        3 => Just(Content::Keep),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => (0..KEYS.len(), content(), flag_ops())
            .prop_map(|(key, content, ops)| Op::Write { key, content, ops }),
        6 => Just(Op::Stage),
        4 => (0usize..16).prop_map(|pick| Op::Release { pick }),
        5 => (0usize..16).prop_map(|pick| Op::Cleanup { pick }),
        1 => (0usize..16).prop_map(|pick| Op::DropStage { pick }),
        4 => Just(Op::Savepoint),
        5 => (0usize..24).prop_map(|pick| Op::RollBack { pick }),
        1 => (0usize..16).prop_map(|pick| Op::DropSavepoint { pick }),
        1 => proptest::option::of(0usize..100).prop_map(Op::BufferLimit),
        1 => proptest::option::of(0usize..50).prop_map(Op::EntryLimit),
        1 => prop_oneof![Just(2usize), Just(65_535)].prop_map(Op::KeyLimit),
        1 => Just(Op::Snapshot),
        1 => prop_oneof![6 => Just(Op::Stage), 1 => Just(Op::Reset)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_buffer_does_what_the_model_does(ops in proptest::collection::vec(op(), 1..60)) {
        run(ops);
    }
}
