//! Operations on a transaction buffer, or on a pipelined one, beside the plain models of their tests.

#![no_main]

#[path = "../../txn/tests/buffer_model/check.rs"]
mod check;
#[path = "../../txn/tests/flushed/mod.rs"]
mod flushed;
#[path = "../../txn/tests/buffer_model/hook.rs"]
mod hook;
#[path = "../../txn/tests/buffer_model/model.rs"]
mod model;
#[path = "../../txn/tests/buffer_model/pipelined.rs"]
mod pipelined;
#[path = "../../txn/tests/buffer_model/session.rs"]
mod session;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use model::{Content, KEYS};
use session::Op;
use untorn_txn::FlagOp;

#[derive(Debug, Arbitrary)]
enum Input {
    Buffer(Vec<Step>),
    Pipelined {
        limit: Option<u8>,
        steps: Vec<PipelinedStep>,
    },
}

/// An operation, as few bytes.
#[derive(Debug, Arbitrary)]
enum Step {
    Write(Write),
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
    SnapshotNow,
    Hook { panics: bool },
    ClearHook,
    Compact,
    Reset,
}

/// An operation on a pipelined buffer.
#[derive(Debug, Arbitrary)]
enum PipelinedStep {
    Write(Write),
    Stage,
    Release,
    Cleanup,
    Flush,
}

#[derive(Debug, Arbitrary)]
enum Write {
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

impl Write {
    /// The key's place, what becomes of its content, and of its flags.
    fn parts(self) -> (usize, Content, Vec<FlagOp>) {
        let (key, content, flags) = match self {
            Write::Set {
                key,
                byte,
                len,
                flags,
            } => {
                // Some so long that the memory hook is told of them.
                let len = match len {
                    240.. => 25 * usize::from(len),
                    _ => usize::from(len % 40),
                };
                (key, Content::Value(vec![byte; len]), flags)
            }
            Write::Delete { key, flags } => (key, Content::Tombstone, flags),
            Write::Flag { key, flags } => (key, Content::Keep, flags),
        };
        (usize::from(key) % KEYS.len(), content, flags.ops())
    }
}

impl From<Step> for Op {
    fn from(step: Step) -> Op {
        match step {
            Step::Write(write) => {
                let (key, content, ops) = write.parts();
                Op::Write { key, content, ops }
            }
            Step::Stage => Op::Stage,
            Step::Release(pick) => Op::Release { pick: pick.into() },
            Step::Cleanup(pick) => Op::Cleanup { pick: pick.into() },
            Step::DropStage(pick) => Op::DropStage { pick: pick.into() },
            Step::Savepoint => Op::Savepoint,
            Step::RollBack(pick) => Op::RollBack { pick: pick.into() },
            Step::DropSavepoint(pick) => Op::DropSavepoint { pick: pick.into() },
            Step::BufferLimit(limit) => Op::BufferLimit(limit.map(|limit| 50 * usize::from(limit))),
            Step::EntryLimit(limit) => Op::EntryLimit(limit.map(usize::from)),
            Step::KeyLimit(limit) => Op::KeyLimit(usize::from(limit % 12)),
            Step::Snapshot => Op::Snapshot,
            Step::SnapshotNow => Op::SnapshotNow,
            Step::Hook { panics } => Op::Hook { panics },
            Step::ClearHook => Op::ClearHook,
            Step::Compact => Op::Compact,
            Step::Reset => Op::Reset,
        }
    }
}

impl From<PipelinedStep> for pipelined::Op {
    fn from(step: PipelinedStep) -> pipelined::Op {
        match step {
            PipelinedStep::Write(write) => {
                let (key, content, ops) = write.parts();
                pipelined::Op::Write { key, content, ops }
            }
            PipelinedStep::Stage => pipelined::Op::Stage,
            PipelinedStep::Release => pipelined::Op::Release,
            PipelinedStep::Cleanup => pipelined::Op::Cleanup,
            PipelinedStep::Flush => pipelined::Op::Flush,
        }
    }
}

/// Beyond that the models, which replay their whole log, are slow.
const STEPS: usize = 80;

fuzz_target!(|input: Input| match input {
    Input::Buffer(steps) => session::run(steps.into_iter().take(STEPS).map(Op::from).collect()),
    Input::Pipelined { limit, steps } => {
        let ops = steps.into_iter().take(STEPS).map(pipelined::Op::from);
        pipelined::run(ops.collect(), limit.map(usize::from));
    }
});
