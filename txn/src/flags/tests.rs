use super::*;
use KeyFlags as F;

const FLAGS: [KeyFlags; 14] = [
    F::PRESUME_NOT_EXISTS,
    F::LOCKED,
    F::NEED_LOCKED,
    F::LOCKED_VALUE_EXISTS,
    F::NEED_CHECK_EXISTS,
    F::PREWRITE_ONLY,
    F::IGNORED_IN_2PC,
    F::READABLE,
    F::NEWLY_INSERTED,
    F::ASSERT_EXIST,
    F::ASSERT_NOT_EXIST,
    F::NEED_CONSTRAINT_CHECK,
    F::PREVIOUS_PRESUME_NOT_EXISTS,
    F::LOCKED_SHARED,
];

/// From every combination of flags the operation sets, clears and leaves exactly these.
fn row(op: FlagOp, sets: KeyFlags, clears: KeyFlags) {
    for bits in 0..1u16 << 14 {
        let before = F::from_bits_retain(bits);
        let after = op.apply(before);
        assert!(after.contains(sets), "{op:?} on {before:?}");
        assert!(!after.intersects(clears), "{op:?} on {before:?}");
        let touched = sets | clears;
        assert_eq!(after - touched, before - touched, "{op:?} on {before:?}");
    }
}

#[test]
fn fourteen_flags_of_one_bit_each_leave_two_bits_free() {
    let mut all = F::empty();
    for flag in FLAGS {
        assert_eq!(flag.bits().count_ones(), 1);
        assert!(!all.intersects(flag));
        all |= flag;
    }
    assert_eq!(all, F::all());
    assert_eq!(F::all().bits().count_ones(), 14);
}

#[test]
fn lock_flags_and_constraint_check_are_persistent_and_no_others() {
    let persistent =
        F::LOCKED | F::LOCKED_VALUE_EXISTS | F::NEED_CONSTRAINT_CHECK | F::LOCKED_SHARED;
    assert_eq!(F::PERSISTENT, persistent);
}

#[test]
fn presume_not_exists_takes_its_check_along_both_ways() {
    let both = F::PRESUME_NOT_EXISTS | F::NEED_CHECK_EXISTS;
    row(FlagOp::SetPresumeNotExists, both, F::empty());
    row(FlagOp::ClearPresumeNotExists, F::empty(), both);
}

#[test]
fn locked_is_set_and_cleared_alone() {
    row(FlagOp::SetLocked, F::LOCKED, F::empty());
    row(FlagOp::ClearLocked, F::empty(), F::LOCKED);
}

#[test]
fn need_locked_is_set_and_cleared_alone() {
    row(FlagOp::SetNeedLocked, F::NEED_LOCKED, F::empty());
    row(FlagOp::ClearNeedLocked, F::empty(), F::NEED_LOCKED);
}

#[test]
fn locked_value_exists_ends_the_constraint_check_both_ways() {
    row(
        FlagOp::SetLockedValueExists,
        F::LOCKED_VALUE_EXISTS,
        F::NEED_CONSTRAINT_CHECK,
    );
    let both = F::LOCKED_VALUE_EXISTS | F::NEED_CONSTRAINT_CHECK;
    row(FlagOp::SetLockedValueNotExists, F::empty(), both);
}

#[test]
fn need_check_exists_is_cleared_alone() {
    row(
        FlagOp::ClearNeedCheckExists,
        F::empty(),
        F::NEED_CHECK_EXISTS,
    );
}

#[test]
fn marks_of_a_write_are_only_set() {
    row(FlagOp::SetPrewriteOnly, F::PREWRITE_ONLY, F::empty());
    row(FlagOp::SetIgnoredIn2pc, F::IGNORED_IN_2PC, F::empty());
    row(FlagOp::SetReadable, F::READABLE, F::empty());
    row(FlagOp::SetNewlyInserted, F::NEWLY_INSERTED, F::empty());
}

#[test]
fn assertions_exclude_each_other_but_for_unknown() {
    row(FlagOp::SetAssertExist, F::ASSERT_EXIST, F::ASSERT_NOT_EXIST);
    row(
        FlagOp::SetAssertNotExist,
        F::ASSERT_NOT_EXIST,
        F::ASSERT_EXIST,
    );
    row(
        FlagOp::SetAssertUnknown,
        F::ASSERT_EXIST | F::ASSERT_NOT_EXIST,
        F::empty(),
    );
    row(
        FlagOp::SetAssertNone,
        F::empty(),
        F::ASSERT_EXIST | F::ASSERT_NOT_EXIST,
    );
}

#[test]
fn assertion_is_read_from_both_flags() {
    for (op, read) in [
        (FlagOp::SetAssertExist, Assertion::Exist),
        (FlagOp::SetAssertNotExist, Assertion::NotExist),
        (FlagOp::SetAssertUnknown, Assertion::Unknown),
        (FlagOp::SetAssertNone, Assertion::None),
    ] {
        assert_eq!(F::all().apply(&[op]).assertion(), read);
    }
}

#[test]
fn need_constraint_check_is_set_and_cleared_alone() {
    row(
        FlagOp::SetNeedConstraintCheck,
        F::NEED_CONSTRAINT_CHECK,
        F::empty(),
    );
    row(
        FlagOp::ClearNeedConstraintCheck,
        F::empty(),
        F::NEED_CONSTRAINT_CHECK,
    );
}

#[test]
fn an_earlier_presumption_counts_when_read() {
    row(
        FlagOp::SetPreviousPresumeNotExists,
        F::PREVIOUS_PRESUME_NOT_EXISTS,
        F::empty(),
    );
    assert!(F::PREVIOUS_PRESUME_NOT_EXISTS.presumes_not_exists());
    assert!(F::PRESUME_NOT_EXISTS.presumes_not_exists());
    let others = F::all() - F::PRESUME_NOT_EXISTS - F::PREVIOUS_PRESUME_NOT_EXISTS;
    assert!(!others.presumes_not_exists());
}

#[test]
fn a_shared_lock_is_a_lock() {
    row(
        FlagOp::SetLockedShared,
        F::LOCKED_SHARED | F::LOCKED,
        F::empty(),
    );
    row(FlagOp::SetLockedExclusive, F::empty(), F::LOCKED_SHARED);
}

#[test]
fn operations_apply_in_order() {
    let ops = [FlagOp::SetAssertExist, FlagOp::SetAssertNotExist];
    assert_eq!(F::empty().apply(&ops), F::ASSERT_NOT_EXIST);
    let ops = [FlagOp::SetAssertNotExist, FlagOp::SetAssertExist];
    assert_eq!(F::empty().apply(&ops), F::ASSERT_EXIST);
}

#[test]
fn the_list_of_operations_names_each_once() {
    for (place, op) in FlagOp::ALL.iter().enumerate() {
        assert!(!FlagOp::ALL[place + 1..].contains(op), "{op:?} twice");
    }
}
