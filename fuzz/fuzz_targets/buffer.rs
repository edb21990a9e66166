//! Operations on a transaction buffer, beside the plain model of its tests.

#![no_main]

#[path = "../../txn/tests/buffer_model/check.rs"]
mod check;
#[path = "../../txn/tests/buffer_model/model.rs"]
mod model;
#[path = "../../txn/tests/buffer_model/session.rs"]
mod session;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use model::{Content, KEYS};
use session::Op;
use untorn_txn::FlagOp;

/// An operation, as few bytes.
#[derive(Debug, Arbitrary)]
enum Step {
    Set {
        key: u8,
        byte: u8,
        len: u8,
        flags: Flags,
    },
    Delete {
        key: u8,
        flags: Flags,
    },
    Flag {
        key: u8,
        flags: Flags,
    },
    Stage,
    Release(u8),
    Cleanup(u8),
    DropStage(u8),
    Savepoint,
    RollBack(u8),
    DropSavepoint(u8),
    BufferLimit(Option<u8>),
    EntryLimit(Option<u8>),
    KeyLimit(u8),
    Snapshot,
    Reset,
}

/// Up to two flag operations.
#[derive(Debug, Arbitrary)]
struct Flags(Option<u8>, Option<u8>);

impl Flags {
    fn ops(&self) -> Vec<FlagOp> {
        let chosen = [self.0, self.1].into_iter().flatten();
        chosen
            .map(|n| FlagOp::ALL[usize::from(n) % FlagOp::ALL.len()])
            .collect()
    }
}

impl From<Step> for Op {
    fn from(step: Step) -> Op {
        let write = |key: u8, content, flags: Flags| Op::Write {
            key: usize::from(key) % KEYS.len(),
            content,
            ops: flags.ops(),
        };
        match step {
            Step::Set {
                key,
                byte,
                len,
                flags,
            } => {
                let value = vec![byte; usize::from(len % 40)];
                write(key, Content::Value(value), flags)
            }
            Step::Delete { key, flags } => write(key, Content::Tombstone, flags),
            Step::Flag { key, flags } => write(key, Content::Keep, flags),
            Step::Stage => Op::Stage,
            Step::Release(pick) => Op::Release { pick: pick.into() },
            Step::Cleanup(pick) => Op::Cleanup { pick: pick.into() },
            Step::DropStage(pick) => Op::DropStage { pick: pick.into() },
            Step::Savepoint => Op::Savepoint,
            Step::RollBack(pick) => Op::RollBack { pick: pick.into() },
            Step::DropSavepoint(pick) => Op::DropSavepoint { pick: pick.into() },
            Step::BufferLimit(limit) => Op::BufferLimit(limit.map(usize::from)),
            Step::EntryLimit(limit) => Op::EntryLimit(limit.map(usize::from)),
            Step::KeyLimit(limit) => Op::KeyLimit(usize::from(limit % 12)),
            Step::Snapshot => Op::Snapshot,
            Step::Reset => Op::Reset,
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    // Beyond that the model, which replays its whole log, is slow.
    session::run(steps.into_iter().take(80).map(Op::from).collect());
});
