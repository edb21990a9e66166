//! One sequence of operations on a buffer and on the model, with all that can be seen compared after each.

use super::check::{check, check_history, check_snapshot, check_stage, same_error};
use super::model::{Content, KEYS, Model};
use untorn_txn::buffer::{Savepoint, Stage};
use untorn_txn::{FlagOp, MemBuffer};

#[derive(Debug, Clone)]
pub enum Op {
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

/// Does the operations.
///
/// # Panics
/// Where buffer and model differ.
pub fn run(ops: Vec<Op>) {
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
