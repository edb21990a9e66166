//! How a call begins, waits and ends: what the table, its futures and its timer thread have in common.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::LockError;
use super::queue::{Joined, KeyQueue};
use super::request::{Granted, LockMode, LockRequest, OwnerId, Wait};
use super::shards::Shards;
use super::stats::{Counters, Refusal};
use super::timer::Timer;
use super::wait_graph::{Explored, WaitGraph, Walk};
use super::waiter::{Ended, Failure, Limit, Outcome, Waiter};
use crate::spin::Waiting;
use crate::sync::{Mutex, Parker};

/// How many owners and their calls a call looks at before it waits, itself. Most deadlocks are of two; the timer thread looks at all.
const NEAR: usize = 16;
/// How often a search starts again because what it found was gone, before it makes way for others.
const ROUNDS: u32 = 4;
/// When a search that made way goes on.
const PAUSE: Duration = Duration::from_millis(1);

/// The state of a table. The timer thread has a share of it, so it may outlive the handle.
pub(super) struct Core {
    pub(super) keys: Shards<Bytes, KeyQueue>,
    pub(super) graph: WaitGraph,
    pub(super) counters: Counters,
    pub(super) timer: Timer,
    /// One search at a time reads its cycle again and chooses: two on one cycle must not choose twice.
    choosing: Mutex<()>,
    deadlock_delay: Duration,
}

/// Calls that are searched for one after another, all of which had joined before the first search begins.
#[derive(Default)]
struct Batch {
    calls: VecDeque<Arc<Waiter>>,
    explored: Explored,
}

/// How a call began.
#[derive(Debug)]
pub(super) enum Begun {
    Ended(Result<Granted, LockError>),
    Waiting(Arc<Waiter>),
}

impl Core {
    pub(super) fn new(deadlock_delay: Duration) -> Self {
        Self {
            keys: Shards::new(),
            graph: WaitGraph::new(),
            counters: Counters::default(),
            timer: Timer::default(),
            choosing: Mutex::new(()),
            deadlock_delay,
        }
    }

    /// Grants, refuses, or puts the call into the queue.
    pub(super) fn begin(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        request: &LockRequest,
    ) -> Begun {
        let no_wait = matches!(request.wait, Wait::NoWait | Wait::For(Duration::ZERO));
        let asked = self.keys.change(key.clone(), |queue| {
            let granted = queue.ask(owner, mode, request.attempt);
            let holders = || {
                if no_wait {
                    queue.blockers(owner, mode)
                } else {
                    Vec::new()
                }
            };
            granted.ok_or_else(holders)
        });
        match asked {
            Ok(granted) => {
                self.counters.granted(owner, 1);
                Begun::Ended(Ok(granted))
            }
            Err(holders) if no_wait => {
                self.counters.refused(Refusal::NotAvailable);
                Begun::Ended(Err(LockError::NotAvailable {
                    key: key.clone(),
                    holders,
                }))
            }
            Err(_) => self.begin_to_wait(owner, key, mode, request),
        }
    }

    fn begin_to_wait(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        request: &LockRequest,
    ) -> Begun {
        let since = Instant::now();
        if request.deadline.is_some_and(|deadline| deadline <= since) {
            self.counters.refused(Refusal::TimedOut);
            let holders = self.keys.look(key, |queue| queue.blockers(owner, mode));
            return Begun::Ended(Err(LockError::DeadlineExceeded {
                key: key.clone(),
                holders: holders.unwrap_or_default(),
                waited: Duration::ZERO,
            }));
        }
        let ends = ends(since, request);
        let waiter = Waiter::new(owner, request.attempt, mode, key.clone(), since, ends);
        // Into the graph first: a search that meets the call in the queue must find it, and who grants to the owner
        // must know that it may have another call in the queue.
        if let Some(sibling) = self.graph.insert(&waiter) {
            self.keys
                .change_present(&sibling.key, |queue| queue.note_sibling_of(&sibling));
        }
        let mut ended = Ended::default();
        let joined = self
            .keys
            .change(key.clone(), |queue| queue.join(&waiter, &mut ended));
        self.wake(ended);
        match joined {
            Joined::Granted(granted) => {
                self.graph.remove(&waiter);
                self.counters.granted(owner, 1);
                Begun::Ended(Ok(granted))
            }
            Joined::Waiting => Begun::Waiting(waiter),
        }
    }

    /// Looks for a deadlock in sight of a call that begins to wait.
    pub(super) fn look_near(&self, waiter: &Arc<Waiter>) {
        if !cfg!(untorn_loom) {
            self.search(waiter, &mut Explored::default(), NEAR);
        }
    }

    /// Has the timer thread look after a waiting call, and search for it.
    pub(super) fn arm(&self, waiter: &Arc<Waiter>) {
        if cfg!(untorn_loom) {
            return;
        }
        waiter.is_search_due.store(true, Relaxed);
        let first = waiter.since.checked_add(self.deadlock_delay);
        self.arm_at(waiter, earlier(first, waiter.ends));
    }

    fn arm_at(&self, waiter: &Arc<Waiter>, at: Option<Instant>) {
        if let Some(at) = at {
            self.timer.arm(waiter, at);
        }
    }

    /// The timer thread. Between two searches it looks at the clock, so that nobody's time waits for more than one.
    ///
    /// A call is searched for once in a batch, and not because it has to be woken: else searches that take longer than it is from
    /// one to the next would only grow.
    pub(super) fn run_timer(&self) {
        let (mut batch, mut next) = (Batch::default(), VecDeque::new());
        while let Some(due) = self
            .timer
            .next_due(batch.calls.is_empty() && next.is_empty())
        {
            for waiter in due {
                if !self.end_if_over(&waiter) {
                    let wake_up = self.wake_up(&waiter);
                    self.arm_at(&waiter, earlier(wake_up, waiter.ends));
                    let is_due = waiter.is_search_due.swap(false, Relaxed);
                    if is_due && !waiter.is_in_line.swap(true, Relaxed) {
                        next.push_back(waiter);
                    }
                }
            }
            if batch.calls.is_empty() {
                batch.calls = std::mem::take(&mut next);
                for waiter in &batch.calls {
                    waiter.is_in_line.store(false, Relaxed);
                }
            }
            if let Some(waiter) = batch.calls.pop_front() {
                let again = self.search_again_at(&waiter, &mut batch.explored);
                waiter.is_search_due.fetch_or(again.is_some(), Relaxed);
                self.arm_at(&waiter, again);
            }
            if batch.calls.is_empty() {
                // The next one explores anew, and while nothing is due nothing is kept.
                batch = Batch::default();
            }
        }
    }

    /// Parks the thread until the wait has ended. `is_timed` is asked once, before the thread parks, whether the timer
    /// thread looks after the call; if it does not, the call looks after itself, at the price of a slower wake-up.
    pub(super) fn park(&self, waiter: &Arc<Waiter>, is_timed: impl FnOnce() -> bool) -> Outcome {
        let waiting = Waiting::begin();
        if waiting.spin_until(|| !waiter.is_waiting())
            && let Some(outcome) = waiter.outcome()
        {
            return outcome;
        }
        let parker = Parker::new();
        waiter.wake_thread(parker.unparker());
        let mut next = None;
        if !is_timed() {
            next = earlier(waiter.since.checked_add(self.deadlock_delay), waiter.ends);
        }
        loop {
            if let Some(outcome) = waiter.outcome() {
                return outcome;
            }
            // In a model time does not pass; threads of the model do what a clock would.
            if !cfg!(untorn_loom) && next.is_some_and(|next| next <= Instant::now()) {
                next = match self.end_if_over(waiter) {
                    true => None,
                    false => {
                        let again = self.search_again_at(waiter, &mut Default::default());
                        earlier(again, waiter.ends)
                    }
                };
            } else {
                parker.park_until(next);
            }
        }
    }

    /// Ends the wait if its time is up.
    fn end_if_over(&self, waiter: &Arc<Waiter>) -> bool {
        let is_over = waiter.ends.is_some_and(|(at, _)| at <= Instant::now());
        if is_over {
            self.time_out(waiter);
        }
        is_over
    }

    /// Looks for a deadlock; says when to do it again, if that is due.
    fn search_again_at(&self, waiter: &Arc<Waiter>, explored: &mut Explored) -> Option<Instant> {
        let again = self.search(waiter, explored, usize::MAX);
        again.then(|| Instant::now().checked_add(PAUSE)).flatten()
    }

    /// Wakes a task that wanted to be by now; else says when it wants to be.
    fn wake_up(&self, waiter: &Waiter) -> Option<Instant> {
        let mut wake_up = waiter.wake_up.lock();
        if wake_up.is_none_or(|at| at > Instant::now()) {
            return *wake_up;
        }
        *wake_up = None;
        drop(wake_up);
        waiter.wake();
        None
    }

    /// Ends a wait whose time is up.
    pub(super) fn time_out(&self, waiter: &Arc<Waiter>) {
        let too_late = matches!(waiter.ends, Some((_, Limit::Deadline)));
        let why = if too_late {
            Failure::TooLate
        } else {
            Failure::TimedOut
        };
        self.fail(waiter, |queue| why(queue.reported_blockers_of(waiter)));
    }

    /// Withdraws a call; false if its wait had ended before.
    pub(super) fn cancel(&self, waiter: &Arc<Waiter>) -> bool {
        self.fail(waiter, |_| Failure::Cancelled)
    }

    /// Looks for a deadlock that this call is part of, and breaks it, until there is none. True if it should look
    /// again, since what it found kept vanishing.
    pub(super) fn search(
        &self,
        waiter: &Arc<Waiter>,
        explored: &mut Explored,
        most: usize,
    ) -> bool {
        for _ in 0..ROUNDS {
            if !waiter.is_waiting() {
                return false;
            }
            let cycle = match self.graph.find_cycle(waiter, &self.keys, explored, most) {
                Walk::Found(cycle) => cycle,
                Walk::Nothing | Walk::TooFar => return false,
                Walk::Moved => continue,
            };
            let choosing = self.choosing.lock();
            // Read twice more: see the opening comment of the module above on upgrades that come back.
            if !cycle.stands(&self.keys) || !cycle.stands(&self.keys) {
                continue;
            }
            let Some((victim, edges)) = cycle.victim() else {
                return false;
            };
            let mut ended = Ended::default();
            let failure = Failure::Victim(edges);
            self.keys.change_present(&victim.key, |queue| {
                queue.fail(&victim, failure, &mut ended)
            });
            drop(choosing);
            self.wake(ended);
        }
        true
    }

    /// The future of a waiting call was dropped.
    pub(super) fn abandon(&self, waiter: &Arc<Waiter>) {
        let mut ended = Ended::default();
        self.keys
            .change_present(&waiter.key, |queue| queue.abandon(waiter, &mut ended));
        self.wake(ended);
        if let Some(outcome) = waiter.outcome() {
            // Nobody is left to hear of it; it is counted all the same.
            let _ = self.finish(waiter, outcome);
        }
    }

    /// A grant that its caller never heard of goes back.
    pub(super) fn forget(&self, owner: OwnerId, key: &[u8], attempt: u64) {
        self.change_and_wake(key, |queue, ended| queue.forget(owner, attempt, ended));
    }

    /// Runs a change on a key that is there and wakes the calls whose waits it ended.
    pub(super) fn change_and_wake<R>(
        &self,
        key: &[u8],
        f: impl FnOnce(&mut KeyQueue, &mut Ended) -> R,
    ) -> Option<R> {
        let mut ended = Ended::default();
        let answer = self.keys.change_present(key, |queue| f(queue, &mut ended));
        self.wake(ended);
        answer
    }

    /// The call's own last step after its wait has ended: out of the graph, counted, told.
    pub(super) fn finish(
        &self,
        waiter: &Arc<Waiter>,
        outcome: Outcome,
    ) -> Result<Granted, LockError> {
        self.graph.remove(waiter);
        let waited = waiter.since.elapsed();
        self.counters.waited(waited);
        match outcome {
            Outcome::Granted {
                already_held,
                waiters,
            } => {
                self.counters.granted(waiter.owner, 1);
                Ok(Granted {
                    already_held,
                    waited,
                    waiters,
                })
            }
            Outcome::Failed(failure) => {
                self.counters.refused(match &failure {
                    Failure::TimedOut(_) | Failure::TooLate(_) => Refusal::TimedOut,
                    Failure::Victim(_) => Refusal::Deadlock,
                    Failure::Cancelled => Refusal::Cancelled,
                });
                let error = waiter.error(failure, waited);
                tracing::debug!(owner = waiter.owner, %error, "lock wait failed");
                Err(error)
            }
        }
    }

    fn fail(&self, waiter: &Arc<Waiter>, why: impl FnOnce(&KeyQueue) -> Failure) -> bool {
        let failed = self.change_and_wake(&waiter.key, |queue, ended| {
            let failure = why(queue);
            queue.fail(waiter, failure, ended)
        });
        failed.unwrap_or(false)
    }

    /// Wakes the calls whose waits one step ended, and has what this made their owners wait for looked at.
    fn wake(&self, ended: Ended) {
        let repeats = ended.owners_of_repeats();
        ended.wake();
        for owner in repeats {
            for call in self.graph.calls(owner) {
                self.arm(&call);
            }
        }
    }
}

/// When the wait ends by itself: the earlier of budget and deadline.
fn ends(since: Instant, request: &LockRequest) -> Option<(Instant, Limit)> {
    let budget = match request.wait {
        Wait::For(budget) => since.checked_add(budget).map(|at| (at, Limit::Budget)),
        Wait::Forever | Wait::NoWait => None,
    };
    let deadline = request.deadline.map(|at| (at, Limit::Deadline));
    match (budget, deadline) {
        (Some(budget), Some(deadline)) => Some(if deadline.0 < budget.0 {
            deadline
        } else {
            budget
        }),
        (budget, deadline) => budget.or(deadline),
    }
}

fn earlier(a: Option<Instant>, b: Option<(Instant, Limit)>) -> Option<Instant> {
    match (a, b.map(|(at, _)| at)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
