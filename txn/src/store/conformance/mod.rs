//! What every [`Store`] must promise, as tests that any implementor can run.
//!
//! Each [`Case`] is one promise: a function that drives a store through its trait and panics where the promise is
//! not kept. One line in a test file makes a test of each:
//!
//! ```
//! # use untorn_txn::MemStore;
//! untorn_txn::store_conformance!(|| MemStore::new());
//! # fn main() {}
//! ```
//!
//! (Suites of several stores go into a module each.) The expression is a factory: a closure without arguments that gives a store. It is called once for each case and may
//! give a fresh store or a handle on a shared one: a case keeps to keys under a prefix of its own, and assumes that
//! nobody else writes there. Without the macro the cases are in [`CASES`]; [`check`] runs them all and lists what
//! failed.
//!
//! # What is covered
//!
//! | file | promises |
//! |---|---|
//! | `timestamps` | rising, unique, given ones checked (rule 45) |
//! | `reads` | snapshots that never change and never wait (rule 46), scans from both ends with limits |
//! | `locks` | one holder, queue, budgets, attempts, what a lock tells, deadlocks (rules 34, 37 to 42) |
//! | `batches` | requests for several keys: what is told is locked and nothing else (rules 31, 32, 39) |
//! | `modes` | shared locks, locks of what exists, forced locks, attempts that come late (rules 37, 40, 43) |
//! | `prewrites` | conflicts, presumptions, lost locks and assertions found, locks of others waited for (rules 25, 26, 47) |
//! | `commits` | atomic, seen at one instant, nothing lost; touches (rules 46 to 48) |
//! | `ends` | requests that come twice or late (rule 49), rollback |
//! | `flushes` | pipelined transactions, where the store has them: generations late or twice, one end for all (rules 18, 49) |
//! | `lives` | status, heartbeat, owners that are gone (rules 49 to 51) |
//!
//! # What is not
//!
//! Durability needs a crash, which a trait cannot ask for. Several cases look at a transaction between its two phases, so
//! the store must answer [`Prewritten::Undecided`](super::Prewritten::Undecided). No case
//! fails because something took long, but one in which a store gives no answer within [`PATIENCE`] does.

mod batches;
mod bed;
mod commits;
mod ends;
mod flushes;
mod lives;
mod locks;
mod modes;
mod one_key;
mod prewrites;
mod reads;
mod timestamps;

pub use bed::PATIENCE;

use super::Store;
use bed::Bed;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One promise.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is promised, in words joined by underscores.
    pub name: &'static str,
    run: fn(&Bed),
}

impl Case {
    /// Drives the store through the case.
    ///
    /// # Panics
    ///
    /// Where the promise is not kept.
    pub fn run(&self, store: Arc<dyn Store>) {
        (self.run)(&Bed::new(store, self.name));
    }
}

/// Runs the case of this name.
///
/// # Panics
///
/// Where its promise is not kept, and if there is no such case.
pub fn run<S: Store>(name: &str, factory: impl FnOnce() -> S) {
    let case = CASES
        .iter()
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("there is no case {name}"));
    case.run(Arc::new(factory()));
}

/// Runs every case, one after another, and names those that failed.
///
/// ```
/// use untorn_txn::MemStore;
/// use untorn_txn::store::conformance;
///
/// assert_eq!(conformance::check(|| MemStore::new()), Vec::<&str>::new());
/// ```
pub fn check<S: Store>(factory: impl Fn() -> S) -> Vec<&'static str> {
    CASES
        .iter()
        .filter(|case| catch_unwind(AssertUnwindSafe(|| case.run(Arc::new(factory())))).is_err())
        .map(|case| case.name)
        .collect()
}

/// The list of cases, once, for [`CASES`] and for the macro. (`$d` stands for the dollar of the inner macro.)
macro_rules! cases {
    ($d:tt $($file:ident { $($name:ident)* })*) => {
        /// Every case.
        pub const CASES: &[Case] = &[$($(Case { name: stringify!($name), run: $file::$name },)*)*];

        /// Makes a `#[test]` of every promise of a [`Store`](crate::Store), for the store that the closure gives.
        /// See [`store::conformance`](crate::store::conformance).
        #[macro_export]
        macro_rules! store_conformance {
            ($d factory:expr) => {
                $($(
                    #[test]
                    fn $name() {
                        $d crate::store::conformance::run(stringify!($name), $d factory);
                    }
                )*)*
            };
        }
    };
}

cases! { $
    timestamps {
        timestamps_rise_whoever_draws_them
        a_given_start_timestamp_is_past_and_free
    }
    reads {
        a_read_sees_the_last_commit_at_or_before_its_timestamp
        a_snapshot_never_changes
        a_read_does_not_wait_for_an_undecided_commit
        a_scan_does_not_wait_for_an_undecided_commit
        a_scan_gives_its_range_in_order_and_in_reverse
        a_scan_keeps_to_its_bounds
        a_scan_ends_at_its_limit_and_not_before
        a_scan_in_pages_skips_nothing_and_repeats_nothing
        a_scan_sees_one_snapshot
        a_scan_passes_over_what_was_deleted
        keys_are_bytes_and_sort_as_such
        what_an_open_transaction_may_read_is_kept
        what_is_held_is_kept
        the_safe_point_stays_below_what_is_open
        a_batch_answers_as_its_keys_one_by_one
    }
    locks {
        a_lock_has_one_holder
        a_lock_that_is_not_waited_for_is_refused_at_once
        a_wait_ends_with_its_budget
        a_wait_ends_with_its_deadline
        a_waiter_gets_the_lock_that_is_given_back
        a_waiter_gets_the_lock_of_a_commit_and_sees_it
        a_waiter_gets_the_lock_of_a_rollback
        a_dropped_request_holds_nothing
        a_repeated_lock_request_answers_the_same
        a_lock_is_given_back_by_its_attempt_and_no_other
        a_lock_that_two_attempts_were_granted_goes_with_the_last
        a_lock_tells_the_newest_value_not_the_snapshot
        a_lock_as_of_a_timestamp_refuses_later_commits
        a_lock_as_of_a_timestamp_out_of_range_is_refused
        a_lock_of_a_key_presumed_absent_checks_that
        a_failed_lock_holds_nothing
        a_circle_of_two_has_one_victim
        a_circle_of_three_has_one_victim
        waits_without_a_circle_are_no_deadlock
        a_transaction_that_stops_locking_waits_no_longer_and_keeps_what_it_holds
    }
    batches {
        a_batch_locks_all_its_keys
        a_batch_tells_of_each_key_in_its_place
        a_batch_locks_what_exists_and_leaves_the_rest_where_that_is_asked
        a_batch_that_fails_has_locked_what_it_tells_and_no_more
        a_batch_waits_and_gets_all_once_the_way_is_free
        a_batch_whose_wait_ends_names_the_key_that_is_held
        a_presumption_in_a_batch_is_that_of_its_key
        a_repeated_batch_is_one_lock_of_each_key
        a_batch_that_comes_after_its_give_back_is_refused
        a_batch_that_is_dropped_holds_nothing_once_it_is_given_back
    }
    modes {
        a_shared_lock_has_many_holders_and_no_exclusive_one
        a_shared_lock_is_never_upgraded
        a_shared_request_is_served_by_an_exclusive_lock
        only_what_exists_is_locked_where_that_is_asked
        a_forced_lock_is_granted_and_tells_of_the_conflict
        a_lock_request_that_comes_after_its_give_back_is_refused
    }
    prewrites {
        a_write_over_a_later_commit_is_a_conflict
        a_failed_prewrite_leaves_nothing_once_rolled_back
        a_write_under_a_lock_is_no_conflict
        a_conflict_is_reported_before_a_failed_presumption
        an_insert_needs_an_absent_key
        a_check_of_absence_writes_nothing
        a_prewrite_waits_for_a_lock_within_its_budget
        a_prewrite_goes_on_when_the_lock_is_given_back
        a_lost_lock_is_found_by_prewrite
        a_trusted_write_is_no_conflict
        an_assertion_is_checked_after_conflicts
    }
    commits {
        a_commit_is_seen_whole_or_not_at_all
        a_commit_is_seen_by_whoever_begins_after_it
        a_commit_stands_above_every_reader_that_missed_it
        a_deletion_is_a_commit_like_any_other
        a_touch_is_seen_by_conflict_checks_and_not_by_readers
        readers_see_sums_that_never_change
        increments_tried_again_lose_nothing
    }
    ends {
        a_repeated_prewrite_answers_the_same
        a_repeated_commit_answers_the_same
        a_repeated_rollback_answers_the_same
        a_commit_after_a_rollback_is_refused
        a_rollback_after_a_commit_is_refused
        a_late_lock_or_prewrite_is_refused_after_a_commit
        a_late_lock_or_prewrite_is_refused_after_a_rollback
        a_late_unlock_takes_nothing_from_others
        a_rollback_restores_what_was_there
        a_rollback_releases_every_lock
        a_commit_and_a_rollback_at_once_agree
    }
    flushes {
        what_was_flushed_is_read_by_its_transaction_alone
        the_largest_generation_of_a_key_counts
        a_generation_that_comes_late_or_twice_changes_nothing
        all_generations_are_committed_at_one_instant
        a_rollback_takes_every_generation_back
        a_generation_that_comes_after_the_end_is_refused
        a_generation_over_a_later_commit_is_a_conflict
        an_insert_of_a_generation_needs_an_absent_key
        a_flushed_key_is_locked_until_the_end
        a_generation_waits_for_a_lock_within_its_budget
        what_a_dead_owner_flushed_is_taken_back_by_who_finds_it
    }
    lives {
        a_status_tells_how_far_a_transaction_has_come
        a_transaction_that_never_was_is_rolled_back
        a_heartbeat_is_refused_after_the_end
        a_dead_owners_lock_is_resolved_by_who_finds_it
        a_dead_transaction_is_rolled_back_by_who_asks_for_its_status
        a_heartbeat_keeps_a_transaction_without_owner_alive
    }
}
