//! Runs made of runs: with a slot more, in its place, or less; of two; and two of one.
//!
//! Who makes them has sealed what they are made of ([`tail`](super::tail)).

use super::builder::{Builder, NewRun};
use super::{Range, RunRef, Slot};
use crate::cells::Cell;
use crate::fence::Fence;
use std::cmp::Ordering;

impl<S: Slot> RunRef<'_, S> {
    /// A copy with `slot` under `key` at `at`. If that is behind all others, it can grow to `capacity`.
    pub(crate) fn inserted(&self, at: usize, key: &[u8], slot: S, capacity: usize) -> NewRun<S> {
        let len = self.len() + 1;
        let room = match at + 1 == len {
            true => (2 * len).min(capacity),
            false => len,
        };
        Builder::edited(self, at..at, Some((key, slot)), room).finish()
    }

    /// A copy with `slot`, of the same key, at `at`.
    pub(crate) fn replaced(&self, at: usize, slot: S) -> NewRun<S> {
        // SAFETY: the slot is the caller's, and what it leads to outlives the call.
        let key = unsafe { slot.key() };
        Builder::edited(self, at..at + 1, Some((key, slot)), 0).finish()
    }

    /// A copy without the slot at `at`.
    pub(crate) fn removed(&self, at: usize) -> NewRun<S> {
        Builder::edited(self, at..at + 1, None, 0).finish()
    }

    /// A copy that is final.
    pub(crate) fn dying(&self) -> NewRun<S> {
        Builder::edited(self, 0..0, None, 0).dead().finish()
    }

    /// A run of both contents, where `right` follows this one.
    pub(crate) fn joined(&self, right: RunRef<'_, S>) -> NewRun<S> {
        let range = Range {
            low: self.range().low,
            ..right.range()
        };
        let mut run = Builder::new(range, self.len() + right.len(), 0);
        run.copy(self, 0, self.len());
        run.copy(&right, 0, right.len());
        run.finish()
    }

    /// As [`RunRef::joined`], in two runs of equal length; `cell` is for the right one.
    pub(crate) fn joined_and_split(&self, right: RunRef<'_, S>, cell: *const Cell<S>) -> Split<S> {
        let len = self.len();
        let nth = |n: usize| match n.checked_sub(len) {
            None => self.slots()[n],
            Some(n) => right.slots()[n],
        };
        let range = Range {
            low: self.range().low,
            ..right.range()
        };
        let total = len + right.len();
        Split::at(
            total.div_ceil(2),
            total,
            0,
            range,
            cell,
            nth,
            |run, from, to| {
                run.copy(self, from.min(len), to.min(len));
                run.copy(&right, from.max(len) - len, to.max(len) - len);
            },
        )
    }

    /// Two runs that together are a copy with `slot` under `key` at `at`; `cell` is for the right one. Keys that come in
    /// ascending or in descending order leave full runs behind; the right one of ascending ones can grow to as many.
    pub(crate) fn split(&self, at: usize, slot: S, cell: *const Cell<S>) -> Split<S> {
        let len = self.len();
        let room = if at == len { len } else { 0 };
        // The first slots go left: all, none, or half of them.
        let left_len = match at {
            _ if at == len => len,
            0 => 1,
            _ => len.div_ceil(2),
        };
        let nth = |n: usize| match n.cmp(&at) {
            Ordering::Less => self.slots()[n],
            Ordering::Equal => slot,
            Ordering::Greater => self.slots()[n - 1],
        };
        Split::at(
            left_len,
            len + 1,
            room,
            self.range(),
            cell,
            nth,
            |run, from, to| {
                run.copy(self, from.min(at), to.min(at));
                if from <= at && at < to {
                    // SAFETY: the slot is the caller's, and what it leads to outlives the call.
                    run.push(unsafe { slot.key() }, slot);
                }
                run.copy(self, from.max(at + 1) - 1, to.max(at + 1) - 1);
            },
        )
    }
}

/// Two runs in place of one, and the fence between them.
pub(crate) struct Split<S> {
    pub(crate) left: NewRun<S>,
    pub(crate) right: NewRun<S>,
    pub(crate) fence: *const Fence,
}

impl<S: Slot> Split<S> {
    /// The first `left_len` of `len` slots go left; `fill` copies those from one number to another. The right run gets `room` for
    /// so many at least.
    #[allow(clippy::too_many_arguments)]
    fn at(
        left_len: usize,
        len: usize,
        room: usize,
        range: Range<S>,
        cell: *const Cell<S>,
        nth: impl Fn(usize) -> S,
        fill: impl Fn(&mut Builder<S>, usize, usize),
    ) -> Split<S> {
        // SAFETY: the slots are those of runs that the caller's guard keeps, or his own.
        let fence = unsafe { S::fence_between(nth(left_len - 1), nth(left_len)) };
        let half = |range: Range<S>, from: usize, to: usize, room: usize| {
            let mut run = Builder::new(range, to - from, room);
            fill(&mut run, from, to);
            run.finish()
        };
        let Range { low, high, next } = range;
        let left = Range {
            low,
            high: fence,
            next: cell,
        };
        let right = Range {
            low: fence,
            high,
            next,
        };
        Split {
            left: half(left, 0, left_len, 0),
            right: half(right, left_len, len, room),
            fence,
        }
    }
}
