//! What threads did to an object, and when.

use crate::{Object, Specification, reduce, search};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// One operation of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<Op, Answer> {
    /// The thread that called.
    pub thread: usize,
    /// What was called.
    pub op: Op,
    /// The instant of the call.
    pub called: u64,
    /// What came back, and the instant when it did. `None` if that is not known: the operation may have taken effect at any
    /// instant since its call, or never.
    pub returned: Option<(Answer, u64)>,
}

/// What several threads did to one object.
#[derive(Clone)]
pub struct History<S: Specification> {
    /// The events, each lane in the order of its calls. A lane holds what one thread did, or one event that never returned.
    lanes: Vec<Vec<Event<S::Op, S::Answer>>>,
}

impl<S: Specification> History<S> {
    /// A history of these events.
    ///
    /// # Panics
    ///
    /// If an event returned before it was called, or two of one thread overlap.
    pub fn new(events: impl IntoIterator<Item = Event<S::Op, S::Answer>>) -> Self {
        let mut events: Vec<_> = events.into_iter().collect();
        events.sort_by_key(|event| event.called);
        let threads = events.iter().map(|event| event.thread + 1).max();
        let mut lanes: Vec<Vec<Event<_, _>>> = Vec::new();
        lanes.resize_with(threads.unwrap_or(0), Vec::new);
        for event in events {
            let Some((_, returned)) = &event.returned else {
                lanes.push(vec![event]);
                continue;
            };
            assert!(event.called <= *returned, "{event:?} returned too early");
            let lane = &mut lanes[event.thread];
            if let Some((_, before)) = lane.last().and_then(|last| last.returned.as_ref()) {
                assert!(*before <= event.called, "{event:?} overlaps");
            }
            lane.push(event);
        }
        History { lanes }
    }

    /// Lets one thread for each list of `plan` do what is in it, all at the same time, to a new object.
    ///
    /// # Panics
    ///
    /// If a thread does.
    pub fn record<O: Object<S>>(plan: Vec<Vec<S::Op>>) -> Self {
        let object = O::new();
        let waiting = AtomicUsize::new(plan.len());
        let began = Instant::now();
        let now = || began.elapsed().as_nanos() as u64;
        let lanes = thread::scope(|scope| {
            let start = |(thread, ops): (usize, Vec<S::Op>)| {
                let (object, waiting) = (&object, &waiting);
                scope.spawn(move || {
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    while waiting.load(Ordering::SeqCst) > 0 {
                        thread::yield_now();
                    }
                    ops.into_iter()
                        .map(|op| {
                            let called = now();
                            let answer = object.apply(thread, &op);
                            Event {
                                thread,
                                op,
                                called,
                                returned: Some((answer, now())),
                            }
                        })
                        .collect()
                })
            };
            let threads: Vec<_> = plan.into_iter().enumerate().map(start).collect();
            let done = threads.into_iter().map(|thread| match thread.join() {
                Ok(lane) => lane,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            done.collect()
        });
        History { lanes }
    }

    /// All events, in the order of their calls.
    pub fn events(&self) -> Vec<&Event<S::Op, S::Answer>> {
        let mut events: Vec<_> = self.lanes.iter().flatten().collect();
        events.sort_by_key(|event| event.called);
        events
    }

    pub(crate) fn lanes(&self) -> &[Vec<Event<S::Op, S::Answer>>] {
        &self.lanes
    }

    /// Whether there is an order of the operations that agrees with time and with the specification.
    pub fn is_linearizable(&self, specification: &S) -> bool {
        !search::is_refuted(specification, self, usize::MAX)
    }

    /// What is left of a history that is not linearizable when all is taken out that does not matter. What is left is not
    /// linearizable either.
    pub fn reduced(&self, specification: &S) -> Self {
        reduce::reduced(specification, self)
    }
}

/// One event a line, in the order of the calls.
impl<S: Specification> fmt::Debug for History<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in self.events() {
            write!(f, "thread {} {:>9}..", event.thread, event.called)?;
            match &event.returned {
                Some((answer, at)) => writeln!(f, "{at:<9} {:?} -> {answer:?}", event.op)?,
                None => writeln!(f, "          {:?}, perhaps", event.op)?,
            }
        }
        Ok(())
    }
}
