//! The search for deadlocks against what a deadlock is: calls that are not granted though every owner lets go of all it
//! holds as soon as it waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::core::{Begun, Core};
use super::request::{LockMode, LockRequest, OwnerId, Wait};
use super::waiter::Waiter;

const OWNERS: OwnerId = 6;
const KEYS: u8 = 4;

/// A table without a clock, and the calls that had to wait.
struct Table {
    core: Core,
    calls: Vec<Arc<Waiter>>,
}

impl Table {
    fn new() -> Self {
        Self {
            core: Core::new(Duration::ZERO),
            calls: Vec::new(),
        }
    }

    /// Makes a call; that which has to wait.
    fn ask(&mut self, owner: OwnerId, key: u8, mode: LockMode) -> Option<Arc<Waiter>> {
        let request = LockRequest {
            wait: Wait::Forever,
            ..LockRequest::default()
        };
        let key = Bytes::from(vec![key]);
        match self.core.begin(owner, &key, mode, &request) {
            Begun::Ended(ended) => {
                assert!(ended.is_ok());
                None
            }
            Begun::Waiting(call) => {
                self.calls.push(call.clone());
                Some(call)
            }
        }
    }

    fn finds_a_cycle(&self, call: &Arc<Waiter>) -> bool {
        let cycle = self.core.graph.find_cycle(call, &self.core.keys);
        cycle.is_some_and(|cycle| {
            assert!(cycle.stands(&self.core.keys));
            true
        })
    }

    fn waits_for(&self, owner: OwnerId, key: u8) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|call| call.owner == owner && call.key == [key][..] && call.is_waiting())
    }

    fn waits(&self, owner: OwnerId) -> bool {
        (0..KEYS).any(|key| self.waits_for(owner, key))
    }

    /// How many calls still wait when all have let go that can.
    fn left_when_all_let_go(&self) -> usize {
        let waiting = || self.calls.iter().filter(|call| call.is_waiting()).count();
        loop {
            let before = waiting();
            for owner in (1..=OWNERS).filter(|owner| !self.waits(*owner)) {
                for key in 0..KEYS {
                    self.core.change_and_wake(&[key], |queue, ended| {
                        queue.release_owner(owner, ended);
                    });
                }
            }
            if waiting() == before {
                return before;
            }
        }
    }
}

fn call() -> impl Strategy<Value = (OwnerId, u8, LockMode)> {
    let mode = prop_oneof![Just(LockMode::Shared), Just(LockMode::Exclusive)];
    (1..=OWNERS, 0..KEYS, mode)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cycle_is_found_if_and_only_if_there_is_a_deadlock(calls in vec(call(), 1..24)) {
        let mut table = Table::new();
        let mut was_found = false;
        for (owner, key, mode) in calls {
            if table.waits_for(owner, key) {
                continue;
            }
            if let Some(call) = table.ask(owner, key, mode) {
                was_found |= table.finds_a_cycle(&call);
            }
        }
        let mut waiting = table.calls.iter().filter(|call| call.is_waiting());
        let is_found = waiting.any(|call| table.finds_a_cycle(call));
        assert_eq!(is_found, table.left_when_all_let_go() > 0);
        // By the call that joined last, at that. A younger upgrade that fails for an older one breaks what was found.
        assert!(was_found || !is_found);
    }
}

/// However many stand ahead: what a search has to look at is the holder, and who waits for something else besides.
#[test]
fn a_search_follows_no_call_whose_owner_waits_for_nothing_else() {
    let mut table = Table::new();
    for (owner, key) in [(1, 0), (2, 1), (2, 2)] {
        assert!(table.ask(owner, key, LockMode::Exclusive).is_none());
    }
    for key in [1, 2] {
        assert!(table.ask(3, key, LockMode::Exclusive).is_some());
    }
    let mut last = None;
    for owner in 100..200 {
        last = table.ask(owner, 0, LockMode::Exclusive);
    }
    let last = last.expect("a call that waits");
    let followed = |table: &Table| {
        let keys = &table.core.keys;
        keys.look(&last.key, |queue| queue.next_blockers_of(&last))
    };
    assert_eq!(followed(&table), Some(vec![1]));
    // Some come to wait for a second key. Of them, the one behind reaches those ahead.
    for owner in [120, 150, 140] {
        assert!(table.ask(owner, 1, LockMode::Exclusive).is_some());
    }
    assert_eq!(followed(&table), Some(vec![1, 150]));
    assert!(table.core.cancel(&table.calls[2 + 50]));
    assert_eq!(followed(&table), Some(vec![1, 140]));
}
