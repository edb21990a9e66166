//! Which request meets which fault: drawn from a seed, or asked for by name.

use crate::store::lock;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of request to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request {
    /// [`Store::begin`](crate::Store::begin).
    Begin,
    /// [`Store::timestamp`](crate::Store::timestamp).
    Timestamp,
    /// [`Store::hold`](crate::Store::hold).
    Hold,
    /// [`Store::get`](crate::Store::get) and [`Store::batch_get`](crate::Store::batch_get).
    Get,
    /// [`Store::scan`](crate::Store::scan).
    Scan,
    /// [`Store::lock`](crate::Store::lock).
    Lock,
    /// [`Store::unlock`](crate::Store::unlock).
    Unlock,
    /// [`Store::heartbeat`](crate::Store::heartbeat).
    Heartbeat,
    /// [`Store::status`](crate::Store::status).
    Status,
    /// [`Store::prewrite`](crate::Store::prewrite).
    Prewrite,
    /// [`Store::flush`](crate::Store::flush).
    Flush,
    /// [`Store::flushed`](crate::Store::flushed).
    Flushed,
    /// [`Store::commit`](crate::Store::commit).
    Commit,
    /// [`Store::rollback`](crate::Store::rollback).
    Rollback,
    /// [`Store::safe_point`](crate::Store::safe_point).
    SafePoint,
}

impl Request {
    /// Whether a request that was carried out without anybody knowing leaves nothing open: a second beginning or
    /// hold is another one, that nobody ends.
    fn is_idempotent(self) -> bool {
        !matches!(self, Self::Begin | Self::Hold)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Refused at once, and not carried out.
    Error,
    /// Carried out after others have had their turn.
    Delay,
    /// Never carried out; the failure is told after others have had their turn.
    LostRequest,
    /// Carried out, and a failure is told.
    LostAnswer,
    /// Carried out twice; the second answer is told.
    Duplicate,
    /// Carried out, and once more together with some later request.
    LateDuplicate,
    /// Carried out for the first half of its keys, and lost for the others, as by a store whose data lie in several
    /// places. A request that cannot be divided is lost.
    Part,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 7] = [
        Fault::Error,
        Fault::Delay,
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::Duplicate,
        Fault::LateDuplicate,
        Fault::Part,
    ];

    fn repeats(self) -> bool {
        matches!(
            self,
            Self::LostAnswer | Self::Duplicate | Self::LateDuplicate
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Error => "error",
            Fault::Delay => "delay",
            Fault::LostRequest => "lost request",
            Fault::LostAnswer => "lost answer",
            Fault::Duplicate => "duplicate",
            Fault::LateDuplicate => "late duplicate",
            Fault::Part => "part of the request lost",
        })
    }
}

/// How often each fault happens, drawn from a seed: the same seed gives the same faults to the same sequence of
/// requests.
///
/// A request that opens something ([`Begin`](Request::Begin), [`Hold`](Request::Hold)) is refused, delayed or lost, and
/// never carried out without its caller's knowing.
///
/// ```
/// use untorn_txn::store::faults::{Fault, FaultPlan, Request};
///
/// let plan = FaultPlan::new(7)
///     .chance(Fault::LostAnswer, 0.05)
///     .chance(Fault::Delay, 0.2)
///     .only([Request::Prewrite, Request::Commit]);
/// # let _ = plan;
/// ```
#[derive(Debug, Clone)]
pub struct FaultPlan {
    seed: u64,
    /// Cumulative, in order of [`Fault::ALL`].
    chances: [f64; Fault::ALL.len()],
    only: Option<Vec<Request>>,
}

impl FaultPlan {
    /// No fault, until chances are given.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            chances: [0.0; Fault::ALL.len()],
            only: None,
        }
    }

    /// Every fault with the same chance.
    pub fn all(seed: u64, chance: f64) -> Self {
        Fault::ALL
            .into_iter()
            .fold(Self::new(seed), |plan, fault| plan.chance(fault, chance))
    }

    /// The chance of a fault for each request, from 0 to 1. At most one fault happens to a request; if the chances
    /// add up to more than 1, later ones of [`Fault::ALL`] get what is left.
    #[must_use]
    pub fn chance(mut self, fault: Fault, chance: f64) -> Self {
        self.chances[fault as usize] = chance;
        self
    }

    /// Faults for these kinds of requests alone.
    #[must_use]
    pub fn only(mut self, requests: impl IntoIterator<Item = Request>) -> Self {
        self.only = Some(requests.into_iter().collect());
        self
    }
}

/// The plan at work.
#[derive(Debug)]
pub(super) struct Draws {
    plan: FaultPlan,
    drawn: AtomicU64,
    asked_for: Mutex<VecDeque<(Request, Fault)>>,
    happened: [AtomicU64; Fault::ALL.len()],
}

impl Draws {
    pub(super) fn new(plan: FaultPlan) -> Self {
        Self {
            plan,
            drawn: AtomicU64::new(0),
            asked_for: Mutex::default(),
            happened: Default::default(),
        }
    }

    pub(super) fn ask_for(&self, request: Request, fault: Fault) {
        lock(&self.asked_for).push_back((request, fault));
    }

    /// How often a fault has happened.
    pub(super) fn happened(&self, fault: Fault) -> u64 {
        self.happened[fault as usize].load(Ordering::Relaxed)
    }

    /// What happens to a request; `is_on` says whether the plan is at work.
    pub(super) fn draw(&self, request: Request, is_on: bool) -> Option<Fault> {
        let fault = self.first_asked_for(request).or_else(|| {
            let is_meant = self
                .plan
                .only
                .as_ref()
                .is_none_or(|only| only.contains(&request));
            (is_on && is_meant).then(|| self.next()).flatten()
        })?;
        if fault.repeats() && !request.is_idempotent() {
            return None;
        }
        self.happened[fault as usize].fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }

    fn first_asked_for(&self, request: Request) -> Option<Fault> {
        let mut asked_for = lock(&self.asked_for);
        let at = asked_for.iter().position(|each| each.0 == request)?;
        asked_for.remove(at).map(|each| each.1)
    }

    fn next(&self) -> Option<Fault> {
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut point = random(self.plan.seed, count) as f64 / u64::MAX as f64;
        Fault::ALL
            .into_iter()
            .zip(self.plan.chances)
            .find_map(|(fault, chance)| {
                let happens = point < chance;
                point -= chance;
                happens.then_some(fault)
            })
    }
}

/// The `count`th number of the sequence of a seed (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
fn random(seed: u64, count: u64) -> u64 {
    let mut state = seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(seed: u64) -> Vec<Option<Fault>> {
        let draws = Draws::new(FaultPlan::all(seed, 0.1));
        (0..2_000)
            .map(|_| draws.draw(Request::Commit, true))
            .collect()
    }

    #[test]
    fn a_seed_gives_the_same_faults_and_about_as_many_as_asked_for() {
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        for fault in Fault::ALL {
            let count = sequence(3)
                .iter()
                .filter(|each| **each == Some(fault))
                .count();
            assert!((100..300).contains(&count), "{fault}: {count} of 2000");
        }
    }

    #[test]
    fn a_fault_asked_for_comes_once_and_to_its_kind_of_request() {
        let draws = Draws::new(FaultPlan::new(0));
        draws.ask_for(Request::Commit, Fault::LostAnswer);
        assert_eq!(draws.draw(Request::Prewrite, true), None);
        assert_eq!(draws.draw(Request::Commit, false), Some(Fault::LostAnswer));
        assert_eq!(draws.draw(Request::Commit, true), None);
        assert_eq!(draws.happened(Fault::LostAnswer), 1);
    }

    #[test]
    fn what_opens_something_is_never_carried_out_behind_its_callers_back() {
        let draws = Draws::new(FaultPlan::all(5, 0.14));
        for _ in 0..2_000 {
            for request in [Request::Begin, Request::Hold] {
                let fault = draws.draw(request, true);
                assert!(fault.is_none_or(|fault| !fault.repeats()), "{fault:?}");
            }
        }
    }
}
