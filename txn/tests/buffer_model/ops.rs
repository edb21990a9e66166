//! Random operations.

use super::model::{Content, KEYS};
use super::session::Op;
use proptest::prelude::*;
use untorn_txn::FlagOp;

pub fn flag_ops() -> impl Strategy<Value = Vec<FlagOp>> {
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

pub fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        4 => (any::<u8>(), 0usize..40).prop_map(|(byte, length)| Content::Value(vec![byte; length])),
        2 => Just(Content::Tombstone),
        3 => Just(Content::Keep),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
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
