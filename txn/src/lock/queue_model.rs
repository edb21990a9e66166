//! The queue of one key against a model of it: one list of calls, upgrades first, walked from the front each time.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::queue::{Joined, KeyQueue};
use super::request::{LockMode, OwnerId};
use super::shards::Slot;
use super::waiter::{Ended, Failure, Outcome, Waiter};

#[derive(Debug, Clone)]
enum Op {
    Join {
        owner: OwnerId,
        mode: LockMode,
        attempt: u64,
    },
    Ask {
        owner: OwnerId,
        mode: LockMode,
        attempt: u64,
    },
    Release {
        owner: OwnerId,
        attempt: u64,
    },
    ReleaseOwner {
        owner: OwnerId,
    },
    /// The owner of one of the calls made so far is about to wait for another key too.
    Beside {
        call: usize,
    },
    /// A timeout of one of the calls made so far.
    Fail {
        call: usize,
    },
    /// One of the calls made so far is dropped untold.
    Abandon {
        call: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let owner = || 1..=4u64;
    let attempt = || 0..3u64;
    let mode = || prop_oneof![Just(LockMode::Shared), Just(LockMode::Exclusive)];
    prop_oneof![
        6 => (owner(), mode(), attempt()).prop_map(|(owner, mode, attempt)| Op::Join { owner, mode, attempt }),
        1 => (owner(), mode(), attempt()).prop_map(|(owner, mode, attempt)| Op::Ask { owner, mode, attempt }),
        3 => (owner(), attempt()).prop_map(|(owner, attempt)| Op::Release { owner, attempt }),
        2 => owner().prop_map(|owner| Op::ReleaseOwner { owner }),
        1 => any::<usize>().prop_map(|call| Op::Beside { call }),
        1 => any::<usize>().prop_map(|call| Op::Fail { call }),
        1 => any::<usize>().prop_map(|call| Op::Abandon { call }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Granted { already_held: bool },
    Victim,
    TimedOut,
    Cancelled,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    owner: OwnerId,
    mode: LockMode,
    attempt: u64,
    fate: Fate,
}

#[derive(Debug, Default)]
struct Model {
    /// Owner, attempt, mode, number of calls.
    claims: Vec<(OwnerId, u64, LockMode, u32)>,
    /// Numbers of calls, in the order in which they are granted.
    waiting: Vec<usize>,
    calls: Vec<Call>,
}

impl Model {
    fn held(&self, owner: OwnerId) -> Option<LockMode> {
        self.claims
            .iter()
            .filter(|claim| claim.0 == owner)
            .map(|claim| claim.2)
            .max()
    }

    fn can(&self, owner: OwnerId, mode: LockMode) -> bool {
        self.claims
            .iter()
            .all(|claim| claim.0 == owner || claim.2.is_compatible(mode))
    }

    fn claim(&mut self, call: Call) {
        let same = |claim: &&mut (OwnerId, u64, LockMode, u32)| {
            (claim.0, claim.1) == (call.owner, call.attempt)
        };
        match self.claims.iter_mut().find(same) {
            Some(claim) => {
                claim.2 = claim.2.max(call.mode);
                claim.3 += 1;
            }
            None => self.claims.push((call.owner, call.attempt, call.mode, 1)),
        }
    }

    fn ask(&mut self, owner: OwnerId, mode: LockMode, attempt: u64) -> Option<bool> {
        let held = self.held(owner);
        let granted = match held {
            Some(held) => held >= mode || self.can(owner, mode),
            None => self.waiting.is_empty() && self.can(owner, mode),
        };
        granted.then(|| {
            self.claim(Call {
                owner,
                mode,
                attempt,
                fate: Fate::Waiting,
            });
            held.is_some_and(|held| held >= mode)
        })
    }

    fn upgrades(&self) -> usize {
        self.waiting
            .iter()
            .take_while(|call| self.held(self.calls[**call].owner).is_some())
            .count()
    }

    fn join(&mut self, owner: OwnerId, mode: LockMode, attempt: u64) {
        let call = self.calls.len();
        self.calls.push(Call {
            owner,
            mode,
            attempt,
            fate: Fate::Waiting,
        });
        if let Some(already_held) = self.ask(owner, mode, attempt) {
            self.calls[call].fate = Fate::Granted { already_held };
        } else if self.held(owner).is_none() {
            self.waiting.push(call);
        } else {
            let rivals: Vec<usize> = self.waiting[..self.upgrades()]
                .iter()
                .copied()
                .filter(|rival| self.calls[*rival].owner != owner)
                .collect();
            if rivals.iter().any(|rival| self.calls[*rival].owner < owner) {
                self.calls[call].fate = Fate::Victim;
                return;
            }
            for rival in rivals {
                self.end(rival, Fate::Victim);
            }
            self.waiting.insert(self.upgrades(), call);
        }
    }

    fn end(&mut self, call: usize, fate: Fate) {
        self.calls[call].fate = fate;
        self.waiting.retain(|other| *other != call);
    }

    fn settle(&mut self) {
        while let Some(&first) = self.waiting.first() {
            let call = self.calls[first];
            if !self.can(call.owner, call.mode) {
                return;
            }
            self.claim(call);
            self.end(
                first,
                Fate::Granted {
                    already_held: false,
                },
            );
            let own: Vec<usize> = self
                .waiting
                .iter()
                .copied()
                .filter(|other| self.calls[*other].owner == call.owner)
                .collect();
            for other in own.into_iter().rev() {
                if self.calls[other].mode <= call.mode {
                    self.claim(self.calls[other]);
                    self.end(other, Fate::Granted { already_held: true });
                } else {
                    self.waiting.retain(|waiting| *waiting != other);
                    self.waiting.insert(0, other);
                }
            }
        }
    }

    fn forget(&mut self, call: usize) {
        let Call { owner, attempt, .. } = self.calls[call];
        self.claims.retain_mut(|claim| {
            if (claim.0, claim.1) == (owner, attempt) {
                claim.3 -= 1;
            }
            claim.3 > 0
        });
    }
}

/// The real queue, its calls in the order in which they were made.
#[derive(Default)]
struct Real {
    queue: KeyQueue,
    calls: Vec<(Arc<Waiter>, Option<bool>)>,
    woken: usize,
}

impl Real {
    fn note_sibling_of(&mut self, call: usize) {
        let waiter = &self.calls[call].0;
        waiter.note_sibling();
        self.queue.note_sibling_of(waiter);
    }

    fn fate(&self, call: usize) -> Fate {
        let (waiter, at_once) = &self.calls[call];
        match (at_once, waiter.outcome()) {
            (Some(already_held), None) => Fate::Granted {
                already_held: *already_held,
            },
            (Some(_), Some(outcome)) => panic!("granted at once, then {outcome:?}"),
            (None, None) => Fate::Waiting,
            (None, Some(Outcome::Granted { already_held, .. })) => Fate::Granted { already_held },
            (None, Some(Outcome::Failed(Failure::Victim(_)))) => Fate::Victim,
            (None, Some(Outcome::Failed(Failure::TimedOut(_)))) => Fate::TimedOut,
            (None, Some(Outcome::Failed(Failure::Cancelled))) => Fate::Cancelled,
            (None, Some(other)) => panic!("unexpected {other:?}"),
        }
    }
}

fn run(ops: Vec<Op>) {
    let key = Bytes::from_static(b"k");
    let since = Instant::now();
    let (mut model, mut real) = (Model::default(), Real::default());
    for op in ops {
        let mut ended = Ended::default();
        match op {
            Op::Join {
                owner,
                mode,
                attempt,
            } => {
                let waiter = Waiter::new(owner, attempt, mode, key.clone(), since, None);
                for &call in &model.waiting {
                    if model.calls[call].owner == owner {
                        real.note_sibling_of(call);
                        real.calls[call].0.note_repeat();
                        waiter.note_sibling();
                        waiter.note_repeat();
                    }
                }
                let at_once = match real.queue.join(&waiter, &mut ended) {
                    Joined::Granted(granted) => Some(granted.already_held),
                    Joined::Waiting => None,
                };
                real.calls.push((waiter, at_once));
                model.join(owner, mode, attempt);
            }
            Op::Ask {
                owner,
                mode,
                attempt,
            } => {
                let granted = real.queue.ask(owner, mode, attempt);
                let expected = model.ask(owner, mode, attempt);
                assert_eq!(granted.map(|granted| granted.already_held), expected);
                if expected.is_none() {
                    assert!(!real.queue.blockers(owner, mode).is_empty());
                }
            }
            Op::Release { owner, attempt } => {
                let before = model.claims.len();
                model
                    .claims
                    .retain(|claim| (claim.0, claim.1) != (owner, attempt));
                let released = real.queue.release(owner, attempt, &mut ended);
                assert_eq!(released, model.claims.len() < before);
            }
            Op::ReleaseOwner { owner } => {
                let before = model.claims.len();
                model.claims.retain(|claim| claim.0 != owner);
                assert_eq!(
                    real.queue.release_owner(owner, &mut ended),
                    model.claims.len() < before
                );
            }
            Op::Beside { call } if !real.calls.is_empty() => {
                real.note_sibling_of(call % real.calls.len());
            }
            Op::Fail { call } if !real.calls.is_empty() => {
                let call = call % real.calls.len();
                let (waiter, at_once) = real.calls[call].clone();
                if at_once.is_none() {
                    let waiting = model.calls[call].fate == Fate::Waiting;
                    assert_eq!(
                        real.queue
                            .fail(&waiter, Failure::TimedOut(Vec::new()), &mut ended),
                        waiting
                    );
                    if waiting {
                        model.end(call, Fate::TimedOut);
                    }
                }
            }
            Op::Abandon { call } if !real.calls.is_empty() => {
                let call = call % real.calls.len();
                let (waiter, at_once) = real.calls[call].clone();
                match (at_once, model.calls[call].fate) {
                    (None, Fate::Waiting) => {
                        model.end(call, Fate::Cancelled);
                        assert!(real.queue.abandon(&waiter, &mut ended));
                    }
                    (None, _) => {
                        if matches!(model.calls[call].fate, Fate::Granted { .. }) {
                            model.forget(call);
                        }
                        assert!(!real.queue.abandon(&waiter, &mut ended));
                    }
                    (Some(_), _) => {}
                }
            }
            Op::Beside { .. } | Op::Fail { .. } | Op::Abandon { .. } => {}
        }
        model.settle();
        real.woken += ended.len();
        compare(&model, &real);
    }
    // Whatever happened, letting go of everything leaves nothing.
    for _ in 0..=model.calls.len() {
        for owner in 1..=4 {
            let mut ended = Ended::default();
            real.queue.release_owner(owner, &mut ended);
        }
    }
    assert!(real.queue.is_vacant());
    assert!((0..real.calls.len()).all(|call| real.fate(call) != Fate::Waiting));
}

fn compare(model: &Model, real: &Real) {
    for (call, expected) in model.calls.iter().enumerate() {
        assert_eq!(real.fate(call), expected.fate, "call {call}: {expected:?}");
    }
    let mut claims = model.claims.clone();
    claims.sort();
    let mut told = Vec::new();
    for holder in real.queue.holders() {
        assert_eq!(real.queue.mode_of(holder.owner), Some(holder.mode));
        assert_eq!(model.held(holder.owner), Some(holder.mode));
        told.extend(
            holder
                .attempts
                .iter()
                .map(|attempt| (holder.owner, *attempt)),
        );
    }
    assert_eq!(
        told,
        claims
            .iter()
            .map(|claim| (claim.0, claim.1))
            .collect::<Vec<_>>()
    );
    assert_eq!(real.queue.waiters(), model.waiting.len());
    assert_eq!(
        real.queue.is_vacant(),
        model.claims.is_empty() && model.waiting.is_empty()
    );
    // Each call whose wait ended was handed out to be woken, once.
    let ended = (0..model.calls.len())
        .filter(|call| real.calls[*call].1.is_none() && model.calls[*call].fate != Fate::Waiting)
        .count();
    assert_eq!(real.woken, ended);
    compare_blockers(model, real);
}

/// Whom each call waits for, and that the few edges which a search follows reach all that lead on.
fn compare_blockers(model: &Model, real: &Real) {
    for &number in &model.waiting {
        let call = model.calls[number];
        // A grant to the first call of an owner serves the others.
        let mut owners = model.waiting.iter().map(|other| model.calls[*other].owner);
        let place = owners
            .position(|owner| owner == call.owner)
            .expect("its own");
        let waiter = &real.calls[number].0;
        let upgrade = model.held(call.owner).is_some();
        let mut expected: Vec<OwnerId> = Vec::new();
        let holders = model
            .claims
            .iter()
            .filter(|claim| !claim.2.is_compatible(call.mode))
            .map(|claim| claim.0);
        let ahead = model.waiting[..place]
            .iter()
            .map(|other| model.calls[*other]);
        let ahead = ahead
            .filter(|other| !upgrade && !other.mode.is_compatible(call.mode))
            .map(|other| other.owner);
        for owner in holders.chain(ahead).filter(|owner| *owner != call.owner) {
            if !expected.contains(&owner) {
                expected.push(owner);
            }
        }
        expected.sort();
        let mut blockers = real.queue.blockers_of(waiter);
        blockers.sort();
        assert_eq!(blockers, expected, "call {number}");
        assert!(
            !real.queue.reported_blockers_of(waiter).is_empty(),
            "call {number} waits for nobody"
        );
        assert!(
            expected
                .iter()
                .all(|owner| real.queue.is_blocked_by(waiter, *owner))
        );
        let all = reached(model, real, waiter, |waiter| real.queue.blockers_of(waiter));
        let next = reached(model, real, waiter, |waiter| {
            real.queue.next_blockers_of(waiter, usize::MAX).owners
        });
        assert!(next.iter().all(|owner| all.contains(owner)));
        // What need not be reached is an owner that waits with one call, in here, and holds nothing in here.
        let leads_on = |owner: &OwnerId| {
            let mut calls = model.waiting.iter();
            let is_accompanied = |call: &usize| {
                model.calls[*call].owner == *owner && real.calls[*call].0.has_sibling()
            };
            model.held(*owner).is_some() || calls.any(is_accompanied)
        };
        // Back at its own owner a search ends. Where that takes calls that merely stand between two of the owner in
        // here, it need not come back: a grant to the one ahead serves the other.
        let is_back = next.contains(&call.owner);
        for owner in all.iter().filter(|owner| leads_on(owner)) {
            assert!(
                is_back || *owner == call.owner || next.contains(owner),
                "call {number} does not reach {owner}"
            );
        }
    }
}

/// Whom a search reaches that ends where it comes back to its own owner.
fn reached(
    model: &Model,
    real: &Real,
    start: &Arc<Waiter>,
    edges: impl Fn(&Arc<Waiter>) -> Vec<OwnerId>,
) -> Vec<OwnerId> {
    let mut reached = edges(start);
    let mut at = 0;
    while at < reached.len() {
        for call in &model.waiting {
            if model.calls[*call].owner == reached[at] && reached[at] != start.owner {
                for owner in edges(&real.calls[*call].0) {
                    if !reached.contains(&owner) {
                        reached.push(owner);
                    }
                }
            }
        }
        at += 1;
    }
    reached
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_its_model_does(ops in vec(op(), 1..40)) {
        run(ops);
    }
}
