//! The clock: one stream of operations, dealt out to threads, under a cap.
//!
//! Thread `t` of `T` does the operations `t`, `t + T`, `t + 2T`, ... so that with several threads an ascending stream
//! stays ascending for all of them together. The caller's thread is one of them: with one thread nothing is spawned.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::clock::{Moment, TimeSource};

/// A stream of operations.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Operations of all threads together.
    pub ops: usize,
    /// Threads.
    pub threads: usize,
    /// Operations between two looks at the clock, per thread.
    pub look_every: usize,
    /// How long the stream may take, on the wall.
    pub cap: Duration,
    /// The clock that counts.
    pub clock: TimeSource,
}

/// What came of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All operations were done.
    Timed {
        /// Time per operation, in nanoseconds.
        ns: f64,
        /// Operations that gave a wrong answer.
        wrong: usize,
    },
    /// The cap came first.
    OverCap {
        /// Operations done by then.
        done: usize,
        /// Operations planned.
        planned: usize,
    },
}

struct Share {
    start: Moment,
    end: Moment,
    done: usize,
    wrong: usize,
}

impl Stream {
    fn share(&self, thread: usize, op: &impl Fn(usize) -> bool) -> Share {
        let start = Moment::now();
        let (mut done, mut wrong) = (0, 0);
        let mut next = thread;
        // As little as can be: what goes on here between two operations keeps the processor from beginning the second one early.
        while next < self.ops {
            let until = self.ops.min(next + self.look_every * self.threads);
            done += (until - next).div_ceil(self.threads);
            while next < until {
                wrong += usize::from(!op(next));
                next += self.threads;
            }
            if next < self.ops && start.wall().elapsed() > self.cap {
                break;
            }
        }
        Share {
            start,
            end: Moment::now(),
            done,
            wrong,
        }
    }

    /// Does operation after operation; `op` is given its number and says whether the answer was right.
    pub fn run(&self, op: impl Fn(usize) -> bool + Sync) -> Outcome {
        let shares = if self.threads <= 1 {
            vec![self.share(0, &op)]
        } else {
            let barrier = Barrier::new(self.threads);
            thread::scope(|scope| {
                let others: Vec<_> = (1..self.threads)
                    .map(|thread| {
                        let (barrier, op) = (&barrier, &op);
                        scope.spawn(move || {
                            barrier.wait();
                            self.share(thread, op)
                        })
                    })
                    .collect();
                barrier.wait();
                let mut shares = vec![self.share(0, &op)];
                for other in others {
                    match other.join() {
                        Ok(share) => shares.push(share),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                shares
            })
        };
        self.sum_up(&shares)
    }

    fn elapsed(&self, shares: &[Share]) -> Option<Duration> {
        match self.clock {
            TimeSource::Wall => {
                let start = shares.iter().map(|share| share.start.wall()).min()?;
                let end = shares.iter().map(|share| share.end.wall()).max()?;
                Some(end - start)
            }
            TimeSource::Cpu => {
                let each = |share: &Share| share.end.since(&share.start, TimeSource::Cpu);
                shares.iter().map(each).max()
            }
        }
    }

    fn sum_up(&self, shares: &[Share]) -> Outcome {
        let wrong: usize = shares.iter().map(|share| share.wrong).sum();
        let done: usize = shares.iter().map(|share| share.done).sum();
        match self.elapsed(shares) {
            Some(elapsed) if done == self.ops && done > 0 => Outcome::Timed {
                ns: elapsed.as_nanos() as f64 / done as f64,
                wrong,
            },
            _ => Outcome::OverCap {
                done,
                planned: self.ops,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Stream};
    use crate::clock::TimeSource;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn stream(threads: usize) -> Stream {
        Stream {
            ops: 1001,
            threads,
            look_every: 64,
            cap: Duration::from_secs(60),
            clock: TimeSource::Wall,
        }
    }

    #[test]
    fn threads_share_all_operations_between_them() {
        for threads in [1, 2, 3] {
            let sum = AtomicUsize::new(0);
            let outcome = stream(threads).run(|op| {
                sum.fetch_add(op, Ordering::Relaxed);
                true
            });
            assert!(matches!(outcome, Outcome::Timed { ns, wrong: 0 } if ns > 0.0));
            assert_eq!(sum.into_inner(), 1000 * 1001 / 2, "{threads} threads");
        }
    }

    #[test]
    fn processor_time_is_told_too() {
        let timed = Stream {
            clock: TimeSource::Cpu,
            ..stream(2)
        };
        let outcome = timed.run(|op| std::hint::black_box(op) < 1001);
        assert!(matches!(outcome, Outcome::Timed { ns, wrong: 0 } if ns > 0.0));
    }

    #[test]
    fn wrong_answers_are_counted() {
        let outcome = stream(2).run(|op| op != 17);
        assert!(matches!(outcome, Outcome::Timed { wrong: 1, .. }));
    }

    #[test]
    fn a_stream_over_its_cap_stops_at_the_next_look() {
        let capped = Stream {
            cap: Duration::ZERO,
            ..stream(1)
        };
        let outcome = capped.run(|_| true);
        assert_eq!(
            outcome,
            Outcome::OverCap {
                done: 64,
                planned: 1001
            }
        );
    }
}
