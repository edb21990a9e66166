//! The thirty races that systems of this kind really had, each with what looks for it here: models by their names, and tests.

/// One race.
pub struct Scenario {
    pub number: u32,
    pub what: &'static str,
    /// Tests with threads: file and function.
    pub tests: &'static [(&'static str, &'static str)],
}

const KEYS: &str = "txn/tests/buffer_races_keys.rs";
const STAGES: &str = "txn/tests/buffer_races_stages.rs";
const LIMIT: &str = "txn/tests/buffer_races_limit.rs";
const MEMORY: &str = "txn/tests/buffer_memory.rs";
const SIBLINGS: &str = "txn/tests/txn_siblings.rs";
const NARROW: &str = "memtable/tests/narrow.rs";
const STRESS: &str = "memtable/tests/stress.rs";

const fn scenario(
    number: u32,
    what: &'static str,
    tests: &'static [(&'static str, &'static str)],
) -> Scenario {
    Scenario {
        number,
        what,
        tests,
    }
}

pub const SCENARIOS: [Scenario; 30] = [
    scenario(
        1,
        "a flag update of a new key with counts",
        &[(
            KEYS,
            "s1_counts_during_flag_updates_of_new_keys_are_before_or_after",
        )],
    ),
    scenario(
        2,
        "a flag update of a new key with a get of a settled one",
        &[(
            KEYS,
            "s2_settled_keys_are_found_during_flag_updates_of_new_ones",
        )],
    ),
    scenario(
        3,
        "a new value with a read of its flags",
        &[(KEYS, "s3_the_flags_of_a_new_key_come_with_it_or_not_at_all")],
    ),
    scenario(
        4,
        "an overwrite with a get",
        &[(
            KEYS,
            "s4_a_reader_of_an_overwritten_key_sees_whole_values_and_never_goes_back",
        )],
    ),
    scenario(
        5,
        "bytes held across overwrite and reclamation",
        &[(
            STAGES,
            "s5_bytes_held_across_overwrites_and_rollbacks_stay_the_same",
        )],
    ),
    scenario(
        6,
        "two inserts of one new key",
        &[(KEYS, "s6_two_inserts_of_one_new_key_make_one_entry")],
    ),
    scenario(
        7,
        "two flag updates of one key",
        &[(KEYS, "s7_two_flag_updates_of_one_key_both_take_effect")],
    ),
    scenario(
        8,
        "an insert with scans from both ends",
        &[
            (
                KEYS,
                "s8_scans_during_inserts_are_ordered_and_show_every_settled_key_once",
            ),
            (
                NARROW,
                "ascending_streams_that_meet_at_the_end_of_the_table",
            ),
        ],
    ),
    scenario(
        9,
        "removal of the entry under a cursor",
        &[
            (STAGES, "s9_scans_survive_rollbacks_of_the_keys_under_them"),
            (NARROW, "leaves_that_come_and_go_around_keys_that_stay"),
        ],
    ),
    scenario(
        10,
        "cleanup or rollback with get, counts, scan",
        &[(
            STAGES,
            "s10_cleanup_is_one_instant_for_counts_gets_and_snapshots",
        )],
    ),
    scenario(11, "release with a get of a snapshot", &[]),
    scenario(
        12,
        "a snapshot with staged writes",
        &[(
            STAGES,
            "s12_the_view_before_the_stages_is_constant_while_staged_writes_go_on",
        )],
    ),
    scenario(
        13,
        "a memory hook is swapped while memory grows",
        &[(MEMORY, "hooks_are_swapped_while_threads_write")],
    ),
    scenario(
        14,
        "a memory hook panics",
        &[(
            MEMORY,
            "a_hook_that_panics_leaves_the_write_done_and_the_buffer_usable",
        )],
    ),
    scenario(
        15,
        "`is_dirty` with a write",
        &[
            (STAGES, "s15_who_sees_a_write_sees_the_buffer_dirty"),
            (STAGES, "s15_staged_writes_that_are_cleaned_up_never_dirty"),
        ],
    ),
    scenario(
        16,
        "lock calls of siblings with overlapping keys, one fails",
        &[(
            SIBLINGS,
            "overlapping_calls_lock_the_union_once_each_and_a_failing_one_takes_nothing_along",
        )],
    ),
    scenario(
        17,
        "lock calls with writes of the same transaction",
        &[(SIBLINGS, "locks_and_writes_of_the_same_keys_leave_both")],
    ),
    scenario(
        18,
        "lock calls with commit, rollback, drop",
        &[(
            "txn/tests/txn_closing.rs",
            "writers_and_lockers_that_race_with_the_end_are_in_it_or_refused",
        )],
    ),
    scenario(19, "a freeze with inserts", &[]),
    scenario(
        20,
        "a guard held over its thread's end, or leaked",
        &[(
            "memtable/tests/guards.rs",
            "a_guard_ends_with_its_thread_and_a_leaked_one_is_seen",
        )],
    ),
    scenario(
        21,
        "counters over stripes",
        &[
            (
                STAGES,
                "s21_counts_stay_sane_under_random_writes_and_stages_and_are_exact_at_rest",
            ),
            (STRESS, "without_stages_many_removals"),
        ],
    ),
    scenario(
        22,
        "the limit with concurrent writes",
        &[
            (LIMIT, "s22_the_buffer_limit_is_never_passed"),
            (
                LIMIT,
                "s22_room_that_a_shrink_freed_is_seen_by_whoever_sees_the_shrink",
            ),
        ],
    ),
    scenario(
        23,
        "signs of life with a failed lock call",
        &[(
            "txn/tests/txn_lost_locks.rs",
            "a_failed_call_does_not_stop_the_signs_of_life",
        )],
    ),
    scenario(
        24,
        "the late rollback of a failed lock with a new lock",
        &[(
            "txn/tests/lock_order.rs",
            "a_request_that_comes_twice_is_undone_by_one_release",
        )],
    ),
    scenario(
        25,
        "a split with insert, get and scan on both halves",
        &[
            (
                NARROW,
                "keys_behind_all_others_are_found_at_once_by_everybody",
            ),
            (NARROW, "streams_in_random_order"),
        ],
    ),
    scenario(26, "two splits of one leaf", &[]),
    scenario(27, "insert, remove, insert of one key", &[]),
    scenario(
        28,
        "a batch with a snapshot",
        &[(
            "memtable/tests/batches.rs",
            "nobody_sees_half_a_batch_beside_rollbacks",
        )],
    ),
    scenario(
        29,
        "a deadlock of two and of three with a timeout",
        &[(
            "txn/tests/lock_deadlocks.rs",
            "a_timeout_that_races_with_the_victim_leaves_one_outcome_each",
        )],
    ),
    scenario(
        30,
        "a waiter is cancelled while it is granted",
        &[(
            "txn/tests/lock_waits.rs",
            "cancelled_while_being_granted_the_lock_goes_to_the_next",
        )],
    ),
];
