//! What counts as time: the wall's clock, or the processor time of the threads at work.
//!
//! On a machine that does nothing else the wall's clock is right. On a busy one it counts the time in which other
//! programs ran. Processor time does not, and so ratios stay comparable there, but it leaves out the time in which a
//! thread waits for a lock: with several threads it flatters the peers that block.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which clock figures are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// Time as it passes.
    #[default]
    Wall,
    /// Processor time of each thread; of several threads the longest counts. The wall's time where the system has no
    /// such clock.
    Cpu,
}

impl TimeSource {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Cpu => "cpu",
        }
    }
}

/// A moment on a thread.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall: Instant,
    cpu: Option<Duration>,
}

#[cfg(unix)]
fn thread_cpu() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).ok()?;
    Some(Duration::new(seconds, u32::try_from(now.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn thread_cpu() -> Option<Duration> {
    None
}

impl Moment {
    /// Now, on the calling thread.
    pub fn now() -> Self {
        Self {
            wall: Instant::now(),
            cpu: thread_cpu(),
        }
    }

    /// On the wall.
    pub fn wall(&self) -> Instant {
        self.wall
    }

    /// Time from an earlier moment of the same thread to this one.
    pub fn since(&self, earlier: &Self, source: TimeSource) -> Duration {
        match (source, self.cpu, earlier.cpu) {
            (TimeSource::Cpu, Some(now), Some(then)) => now.saturating_sub(then),
            _ => self.wall.saturating_duration_since(earlier.wall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, TimeSource};

    #[test]
    fn processor_time_passes_while_a_thread_works_and_never_faster_than_the_walls() {
        let start = Moment::now();
        let mut work = 1u64;
        while Moment::now().since(&start, TimeSource::Cpu).as_micros() < 200 {
            work = std::hint::black_box(work.wrapping_mul(3));
        }
        let end = Moment::now();
        let (cpu, wall) = (
            end.since(&start, TimeSource::Cpu),
            end.since(&start, TimeSource::Wall),
        );
        assert!(cpu.as_micros() >= 200, "{cpu:?}");
        assert!(
            wall.as_micros() + 1_000 >= cpu.as_micros(),
            "{wall:?} {cpu:?}"
        );
    }
}
