use super::*;

const CHECK: KeyFlags = KeyFlags::NEED_CONSTRAINT_CHECK;
const SET: [FlagOp; 1] = [FlagOp::SetNeedConstraintCheck];
const CLEAR: [FlagOp; 1] = [FlagOp::ClearNeedConstraintCheck];

/// What a rollback to `below` makes of a key whose newest tag is `top`.
fn rolled_back(top: Tag, below: Tag) -> Tag {
    Tag((top.0 & Tag::PERSISTENT) | (below.0 & !Tag::PERSISTENT))
}

#[test]
fn a_fresh_tag_has_no_flags() {
    assert_eq!(Tag::default().flags(), KeyFlags::empty());
}

#[test]
fn every_flag_is_kept_by_a_flag_update() {
    for op in FlagOp::ALL {
        for staged in [false, true] {
            let tag = Tag::default().after(false, &[op], staged);
            assert_eq!(tag.flags(), KeyFlags::empty().apply(&[op]));
        }
    }
}

#[test]
fn a_plain_value_write_clears_the_check_and_nothing_else() {
    for staged in [false, true] {
        let all: Vec<FlagOp> = FlagOp::ALL
            .into_iter()
            .filter(|op| op.effect().1.is_empty())
            .collect();
        let tag = Tag::default().after(true, &all, staged);
        assert!(tag.flags().contains(CHECK));
        assert_eq!(tag.after(true, &[], staged).flags(), tag.flags() - CHECK);
        assert_eq!(tag.after(false, &[], staged).flags(), tag.flags());
    }
}

#[test]
fn the_clear_of_a_write_goes_with_it() {
    let base = Tag::default().after(true, &SET, false);
    let staged = base.after(true, &[], true);
    assert!(!staged.flags().contains(CHECK));
    assert!(rolled_back(staged, base).flags().contains(CHECK));
}

#[test]
fn an_explicit_set_survives_the_rollback_to_a_write_that_cleared() {
    let base = Tag::default()
        .after(true, &SET, true)
        .after(true, &[], true);
    let above = base.after(false, &SET, true);
    assert!(above.flags().contains(CHECK));
    assert!(rolled_back(above, base).flags().contains(CHECK));
}

#[test]
fn an_explicit_clear_survives_the_rollback() {
    let base = Tag::default().after(true, &SET, true);
    let above = base.after(false, &CLEAR, true);
    assert!(!rolled_back(above, base).flags().contains(CHECK));
    let cleared = base.after(true, &[], true);
    let again = cleared.after(true, &CLEAR, true);
    assert!(!rolled_back(again, base).flags().contains(CHECK));
}

#[test]
fn a_set_after_an_explicit_clear_is_above_every_older_clear() {
    let base = Tag::default()
        .after(true, &SET, true)
        .after(true, &[], true);
    let cleared = base.after(false, &CLEAR, true);
    let set = cleared.after(false, &SET, true);
    assert!(set.flags().contains(CHECK));
    assert!(rolled_back(set, base).flags().contains(CHECK));
}

#[test]
fn no_persistent_bit_is_left_where_no_persistent_flag_is() {
    let tag = Tag::default()
        .after(true, &SET, true)
        .after(true, &[], true);
    assert_eq!(tag.after(false, &CLEAR, true).0 & Tag::PERSISTENT, 0);
}

#[test]
fn without_a_stage_set_and_clear_alternate_for_ever() {
    let mut tag = Tag::default();
    for _ in 0..1_000 {
        tag = tag.after(true, &SET, false);
        assert!(tag.flags().contains(CHECK));
        tag = tag.after(true, &[], false);
        assert!(!tag.flags().contains(CHECK));
    }
}

#[test]
fn in_one_stage_the_check_is_never_lost_and_alternates_254_times() {
    let mut tag = Tag::default();
    for round in 0..1_000 {
        tag = tag.after(true, &SET, true);
        assert!(tag.flags().contains(CHECK));
        tag = tag.after(true, &[], true);
        assert_eq!(tag.flags().contains(CHECK), round >= 254);
    }
}

#[test]
fn setting_it_with_every_write_uses_nothing_up() {
    let mut tag = Tag::default();
    for _ in 0..1_000 {
        tag = tag.after(true, &SET, true);
    }
    assert!(!tag.after(true, &[], true).flags().contains(CHECK));
}
