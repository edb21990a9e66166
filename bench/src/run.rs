//! The clock: one stream of operations, dealt out to threads, under a cap.
//!
//! Thread `t` of `T` does the operations `t`, `t + T`, `t + 2T`, ... so that with several threads an ascending stream
//! stays ascending for all of them together. The caller's thread is one of them: with one thread nothing is spawned.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A stream of operations.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Operations of all threads together.
    pub ops: usize,
    /// Threads.
    pub threads: usize,
    /// Operations between two looks at the clock, per thread.
    pub look_every: usize,
    /// How long the stream may take.
    pub cap: Duration,
}

/// What came of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All operations were done.
    Timed {
        /// Wall time per operation, in nanoseconds.
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
    start: Instant,
    end: Instant,
    done: usize,
    wrong: usize,
}

impl Stream {
    fn share(&self, thread: usize, op: &impl Fn(usize) -> bool) -> Share {
        let start = Instant::now();
        let (mut done, mut wrong) = (0, 0);
        let mut next = thread;
        while next < self.ops {
            for _ in 0..self.look_every {
                if next >= self.ops {
                    break;
                }
                wrong += usize::from(!op(next));
                done += 1;
                next += self.threads;
            }
            if next < self.ops && start.elapsed() > self.cap {
                break;
            }
        }
        Share {
            start,
            end: Instant::now(),
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

    fn sum_up(&self, shares: &[Share]) -> Outcome {
        let wrong: usize = shares.iter().map(|share| share.wrong).sum();
        let done: usize = shares.iter().map(|share| share.done).sum();
        let start = shares.iter().map(|share| share.start).min();
        let end = shares.iter().map(|share| share.end).max();
        match (start, end) {
            (Some(start), Some(end)) if done == self.ops && done > 0 => Outcome::Timed {
                ns: (end - start).as_nanos() as f64 / done as f64,
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn stream(threads: usize) -> Stream {
        Stream {
            ops: 1001,
            threads,
            look_every: 64,
            cap: Duration::from_secs(60),
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
