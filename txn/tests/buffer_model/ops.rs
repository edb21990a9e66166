//! Random operations.

use super::model::{Content, KEYS};
use super::pipelined::Op as PipelinedOp;
use super::session::Op;
use proptest::prelude::*;
use untorn_txn::FlagOp;

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

/// Some so long that the memory hook is told of them.
fn any_content() -> impl Strategy<Value = Content> {
    let long = (any::<u8>(), 3_000usize..6_000);
    prop_oneof![
        9 => content(),
        1 => long.prop_map(|(byte, length)| Content::Value(vec![byte; length])),
    ]
}

/// For a pipelined buffer.
pub fn pipelined() -> impl Strategy<Value = PipelinedOp> {
    prop_oneof![
        16 => (0..KEYS.len(), content(), flag_ops())
            .prop_map(|(key, content, ops)| PipelinedOp::Write { key, content, ops }),
        2 => Just(PipelinedOp::Stage),
        2 => Just(PipelinedOp::Release),
        1 => Just(PipelinedOp::Cleanup),
        1 => Just(PipelinedOp::Flush),
    ]
}

/// For a buffer.
pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => (0..KEYS.len(), any_content(), flag_ops())
            .prop_map(|(key, content, ops)| Op::Write { key, content, ops }),
        6 => Just(Op::Stage),
        4 => (0usize..16).prop_map(|pick| Op::Release { pick }),
        5 => (0usize..16).prop_map(|pick| Op::Cleanup { pick }),
        1 => (0usize..16).prop_map(|pick| Op::DropStage { pick }),
        4 => Just(Op::Savepoint),
        5 => (0usize..24).prop_map(|pick| Op::RollBack { pick }),
        1 => (0usize..16).prop_map(|pick| Op::DropSavepoint { pick }),
        1 => proptest::option::of(prop_oneof![0usize..100, 3_000usize..15_000]).prop_map(Op::BufferLimit),
        1 => proptest::option::of(prop_oneof![0usize..50, 3_000usize..6_000]).prop_map(Op::EntryLimit),
        1 => prop_oneof![Just(2usize), Just(65_535)].prop_map(Op::KeyLimit),
        1 => Just(Op::Snapshot),
        1 => Just(Op::SnapshotNow),
        1 => any::<bool>().prop_map(|panics| Op::Hook { panics }),
        1 => prop_oneof![1 => Just(Op::ClearHook), 2 => Just(Op::Compact)],
        1 => prop_oneof![6 => Just(Op::Stage), 1 => Just(Op::Reset)],
    ]
}
