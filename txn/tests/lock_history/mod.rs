//! What the owners of a lock table asked for and were told, and what of that may not be. It knows nothing of the table.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use untorn_txn::lock::{Granted, LockError, LockMode, LockRequest, OwnerId, Wait, WaitEdge};

use crate::lock_harness::check_shape;

pub type Answer = Result<Granted, LockError>;
/// How many calls came to which end.
pub type Told = BTreeMap<&'static str, u64>;

pub const GRANTED: &str = "granted";
pub const NOT_AVAILABLE: &str = "not available";
pub const TIMED_OUT: &str = "timed out";
pub const DEADLOCK: &str = "deadlock";
pub const CANCELLED: &str = "cancelled";
pub const DROPPED: &str = "dropped untold";
/// How many ends there are.
pub const ENDS: usize = 6;

/// A call, and the instants of the history at which it was about to be made, had told its end, and had left the table.
///
/// So whoever waits or holds by the table does so by the history, too; only `holds` is the other way round.
#[derive(Debug)]
struct Call {
    owner: OwnerId,
    key: Bytes,
    mode: LockMode,
    made: usize,
    told: Option<usize>,
    left: Option<usize>,
    /// It has told of its grant, and is not about to be released.
    holds: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    calls: Vec<Call>,
    told: Told,
    now: usize,
}

impl History {
    /// The number of a call that is about to be made.
    pub fn make(&mut self, owner: OwnerId, key: &Bytes, mode: LockMode) -> usize {
        let call = Call {
            owner,
            key: key.clone(),
            mode,
            made: self.tick(),
            told: None,
            left: None,
            holds: false,
        };
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// A call on these terms has told this, or was dropped. Fails if that may not be.
    pub fn tell(&mut self, call: usize, request: &LockRequest, answer: Option<&Answer>) {
        *self.told.entry(end(request, answer)).or_default() += 1;
        let now = self.tick();
        let told = &self.calls[call];
        match answer {
            Some(Ok(_)) => {
                let met = self.calls.iter().find(|other| other.excludes(told));
                assert!(met.is_none(), "{told:?} met {met:?}");
            }
            Some(Err(error)) => assert_eq!(error.key(), Some(&told.key)),
            None => {}
        }
        if let Some(Err(LockError::Deadlock { cycle, .. })) = answer {
            check_shape(cycle, told.owner);
            assert_eq!(cycle[0].key, told.key);
            assert!(self.stood(cycle), "never stood: {cycle:?}");
        }
        let call = &mut self.calls[call];
        call.holds = matches!(answer, Some(Ok(_)));
        call.told = Some(now);
        call.left = (!call.holds).then_some(now);
    }

    /// The locks of these calls are about to be released.
    pub fn let_go(&mut self, calls: impl Iterator<Item = usize>) {
        calls.for_each(|call| self.calls[call].holds = false);
    }

    /// They have been.
    pub fn leave(&mut self, calls: impl Iterator<Item = usize>) {
        let now = self.tick();
        calls.for_each(|call| self.calls[call].left = Some(now));
    }

    pub fn calls(&self) -> u64 {
        self.calls.len() as u64
    }

    /// How many calls have told of this end.
    pub fn told(&self, end: &str) -> u64 {
        self.told.get(end).copied().unwrap_or(0)
    }

    pub fn add_to(&self, told: &mut Told) {
        for (end, calls) in &self.told {
            *told.entry(end).or_default() += calls;
        }
    }

    fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }

    /// Whether there was an instant at which the whole cycle stood. If so, there was one at which a call was made.
    fn stood(&self, cycle: &[WaitEdge]) -> bool {
        let is_on_cycle = |call: &&Call| cycle.iter().any(|edge| edge.waiter == call.owner);
        let calls: Vec<&Call> = self.calls.iter().filter(is_on_cycle).collect();
        let stood_at = |edge: &WaitEdge, at: usize| {
            let is_yet = |end: Option<usize>| end.is_none_or(|end| at < end);
            let on_key = || {
                let calls = calls.iter().filter(|call| call.key == edge.key);
                calls.filter(|call| call.made <= at)
            };
            let waits = |call: &Call| call.owner == edge.waiter && is_yet(call.told);
            let is_there = |call: &Call| call.owner == edge.holder && is_yet(call.left);
            on_key().filter(|call| waits(call)).any(|waiter| {
                on_key().any(|call| is_there(call) && !call.mode.is_compatible(waiter.mode))
            })
        };
        let mut instants = calls.iter().map(|call| call.made);
        instants.any(|at| cycle.iter().all(|edge| stood_at(edge, at)))
    }
}

impl Call {
    fn excludes(&self, other: &Self) -> bool {
        let is_beside = self.key == other.key && self.owner != other.owner;
        self.holds && is_beside && !self.mode.is_compatible(other.mode)
    }
}

/// The end of a call on these terms, if they allow it.
fn end(request: &LockRequest, answer: Option<&Answer>) -> &'static str {
    let error = match answer {
        None => return DROPPED,
        Some(Ok(_)) => return GRANTED,
        Some(Err(error)) => error,
    };
    let may_wait = !matches!(request.wait, Wait::NoWait | Wait::For(Duration::ZERO));
    match error {
        LockError::NotAvailable { .. } if !may_wait => NOT_AVAILABLE,
        LockError::Timeout { .. } if may_wait && request.wait != Wait::Forever => TIMED_OUT,
        LockError::DeadlineExceeded { .. } if request.deadline.is_some() => TIMED_OUT,
        LockError::Deadlock { .. } if may_wait => DEADLOCK,
        LockError::Cancelled { .. } if may_wait => CANCELLED,
        _ => panic!("{error:?} on {request:?}"),
    }
}
