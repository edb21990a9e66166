//! The search for deadlocks against what a deadlock is: calls that are not granted though every owner lets go of all it
//! holds as soon as it waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::core::{Begun, Core};
use super::request::{LockMode, LockRequest, OwnerId, Wait};
use super::wait_graph::{Explored, Walk};
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
        self.finds_a_cycle_beside(call, &mut Explored::default())
    }

    fn finds_a_cycle_beside(&self, call: &Arc<Waiter>, explored: &mut Explored) -> bool {
        match self
            .core
            .graph
            .find_cycle(call, &self.core.keys, explored, usize::MAX)
        {
            Walk::Found(cycle) => {
                assert!(cycle.stands(&self.core.keys));
                true
            }
            Walk::Nothing => false,
            Walk::Moved | Walk::TooFar => panic!("nobody moves, and all is looked at"),
        }
    }

    fn waiting(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        self.calls.iter().filter(|call| call.is_waiting())
    }

    fn finds_any(&self) -> bool {
        self.waiting().any(|call| self.finds_a_cycle(call))
    }

    fn waits_for(&self, owner: OwnerId, key: u8) -> bool {
        let mut waiting = self.waiting();
        waiting.any(|call| call.owner == owner && call.key == [key][..])
    }

    fn waits(&self, owner: OwnerId) -> bool {
        (0..KEYS).any(|key| self.waits_for(owner, key))
    }

    /// How many calls still wait when all have let go that can. `after_each` looks at what a step left.
    fn left_when_all_let_go(&self, mut after_each: impl FnMut()) -> usize {
        loop {
            let before = self.waiting().count();
            for owner in (1..=OWNERS).filter(|owner| !self.waits(*owner)) {
                for key in 0..KEYS {
                    self.core.change_and_wake(&[key], |queue, ended| {
                        queue.release_owner(owner, ended);
                    });
                    after_each();
                }
            }
            if self.waiting().count() == before {
                return before;
            }
        }
    }

    /// Whether a call finds a cycle whose owner has more calls that ended, of several for one key, than `ended` tells.
    fn finds_again(&self, ended: &mut [usize; OWNERS as usize]) -> bool {
        let mut is_found = false;
        for (owner, ended) in (1..).zip(ended) {
            let own = || self.calls.iter().filter(|call| call.owner == owner);
            let now = own().filter(|call| call.has_repeat() && !call.is_waiting());
            let now = now.count();
            if now > std::mem::replace(ended, now) {
                let mut waiting = own().filter(|call| call.is_waiting());
                is_found |= waiting.any(|call| self.finds_a_cycle(call));
            }
        }
        is_found
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
        let is_found = table.finds_any();
        assert_eq!(is_found, table.left_when_all_let_go(|| ()) > 0);
        // By the call that joined last, at that. A younger upgrade that fails for an older one breaks what was found.
        assert!(was_found || !is_found);
    }

    /// Where an owner asks for one key several times, what it holds and waits for may also turn into a deadlock when it is
    /// granted the first. Its calls are searched for again then.
    #[test]
    fn a_deadlock_is_found_at_last_and_none_that_is_not_one(calls in vec(call(), 1..24)) {
        let (mut table, mut ended) = (Table::new(), Default::default());
        let mut was_found = false;
        for (owner, key, mode) in calls {
            if let Some(call) = table.ask(owner, key, mode) {
                was_found |= table.finds_a_cycle(&call);
            }
            was_found |= table.finds_again(&mut ended);
        }
        let is_found = table.finds_any();
        let is_one = table.left_when_all_let_go(|| was_found |= table.finds_again(&mut ended)) > 0;
        assert!(is_one || !is_found);
        assert!(was_found || !is_one);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn searches_that_share_what_they_explored_find_what_each_finds_alone(calls in vec(call(), 1..24)) {
        let mut table = Table::new();
        for (owner, key, mode) in calls {
            table.ask(owner, key, mode);
        }
        let mut explored = Explored::default();
        for call in table.waiting() {
            let alone = table.finds_a_cycle(call);
            assert_eq!(table.finds_a_cycle_beside(call, &mut explored), alone);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Also by what was explored before a deadlock was broken.
    #[test]
    fn searches_that_share_what_they_explored_leave_no_deadlock(calls in vec(call(), 1..24)) {
        let mut table = Table::new();
        for (owner, key, mode) in calls {
            if !table.waits_for(owner, key) {
                table.ask(owner, key, mode);
            }
        }
        let mut explored = Explored::default();
        for call in &table.calls {
            while table.core.search(call, &mut explored, usize::MAX) {}
        }
        assert!(!table.finds_any());
        assert_eq!(table.left_when_all_let_go(|| ()), 0);
    }
}

/// 1 waits for 2, and that for 3 and 4; 3 leads to 7, and 4 to a cycle.
#[test]
fn who_leads_to_no_cycle_needs_no_walk() {
    let mut table = Table::new();
    for owner in 1..8 {
        assert!(table.ask(owner, owner as u8, LockMode::Exclusive).is_none());
    }
    let waits = [(1, 2), (2, 3), (2, 4), (3, 6), (6, 7), (4, 5), (5, 4)];
    let calls = waits.map(|(owner, key)| table.ask(owner, key, LockMode::Exclusive));
    let [Some(first), ..] = &calls else { panic!() };
    let mut explored = Explored::default();
    assert!(!table.finds_a_cycle_beside(first, &mut explored));
    let known = (1..8).filter(|owner| explored.leads_to_no_cycle(owner));
    assert_eq!(known.collect::<Vec<_>>(), [3, 6, 7]);
}

/// 5 goes by 6, which leads to all that 3 ahead of it does. When 6 has failed 3 is on the cycle in its place.
#[test]
fn who_was_not_followed_may_be_on_a_cycle() {
    use LockMode::{Exclusive, Shared};
    let mut table = Table::new();
    for (owner, key, mode) in [(4, 0, Shared), (5, 1, Exclusive), (3, 2, Exclusive)] {
        assert!(table.ask(owner, key, mode).is_none());
    }
    let waits = [(3, 0), (6, 0), (5, 0), (4, 1), (2, 2), (1, 1)];
    let calls = waits.map(|(owner, key)| {
        let mode = if owner == 5 { Shared } else { Exclusive };
        table.ask(owner, key, mode).expect("it waits")
    });
    let mut explored = Explored::default();
    // First 1, which leads to the cycle by 5, then 2, which does by 3.
    for call in calls.iter().rev() {
        table.core.search(call, &mut explored, usize::MAX);
    }
    assert!(!table.finds_any());
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
        keys.look(&last.key, |queue| {
            queue.next_blockers_of(&last, usize::MAX).owners
        })
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
