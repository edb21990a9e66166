//! What an object promises, and the object.

use std::fmt::Debug;
use std::hash::Hash;

/// What an object answers that is used by one thread alone.
pub trait Specification: Sync {
    /// One operation with its arguments.
    type Op: Clone + Debug + Send + Sync;
    /// What an operation answers.
    type Answer: Clone + Debug + PartialEq + Send + Sync;
    /// Everything that later answers depend on.
    type State: Clone + Eq + Hash;

    /// The state of a new object.
    fn initial(&self) -> Self::State;

    /// Does `op` in `state` and answers.
    fn apply(&self, state: &mut Self::State, op: &Self::Op) -> Self::Answer;

    /// The state after `op`, if it may answer `answer` in `state`; `None` if it may not. Without an answer, what `op` leaves
    /// whatever it answers.
    ///
    /// To be written only for an object that has a choice of answers; the effect of an operation without an answer must
    /// then be that of its choice which has one.
    fn next(
        &self,
        state: &Self::State,
        op: &Self::Op,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State> {
        let mut next = state.clone();
        let specified = self.apply(&mut next, op);
        answer
            .is_none_or(|answer| *answer == specified)
            .then_some(next)
    }

    /// The part of the object that `op` is about, if it is about one alone: a key of a map. A history in which every operation
    /// has a part is linearizable if those of each part are (Herlihy and Wing: linearizability is local).
    fn part(&self, _op: &Self::Op) -> Option<u64> {
        None
    }

    /// Whether `op` changes nothing in any state, so that it can be left out where its answer does not matter.
    fn only_reads(&self, _op: &Self::Op) -> bool {
        false
    }
}

/// An object that is put to the test.
pub trait Object<S: Specification>: Sync {
    /// A new one.
    fn new() -> Self;

    /// Does `op`, in the thread of this number.
    fn apply(&self, thread: usize, op: &S::Op) -> S::Answer;
}
