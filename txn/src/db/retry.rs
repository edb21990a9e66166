//! How often, and after which pauses, a transaction that failed is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// How [`Db::run_with`](crate::Db::run_with) tries again. Each pause is drawn at random up to a bound that doubles with each
/// attempt (full jitter), so that those that met do not meet again.
///
/// ```
/// use std::time::Duration;
/// use untorn_txn::RetryPolicy;
///
/// let patient = RetryPolicy::default().attempts(100).longest_pause(Duration::from_secs(5));
/// assert_eq!(patient.first_pause, Duration::from_millis(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all; the first is made in any case. By default 10.
    pub attempts: u32,
    /// The bound of the pause after the first attempt. By default 2 milliseconds.
    pub first_pause: Duration,
    /// What the bound grows to. By default 500 milliseconds.
    pub longest_pause: Duration,
    /// When no attempt is begun any more, but for the first. One that is under way is not ended by it.
    pub deadline: Option<Instant>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 10,
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(500),
            deadline: None,
        }
    }
}

impl RetryPolicy {
    /// Sets [`Self::attempts`].
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets [`Self::first_pause`].
    #[must_use]
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// Sets [`Self::longest_pause`].
    #[must_use]
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    /// Sets [`Self::deadline`].
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// When the attempt after this one begins, counted from 1; `None` where there is to be none.
    pub(super) fn next_after(&self, attempt: u32, now: Instant) -> Option<Instant> {
        if attempt >= self.attempts {
            return None;
        }
        let next = now.checked_add(self.pause_after(attempt))?;
        (self.deadline.is_none_or(|deadline| next < deadline)).then_some(next)
    }

    fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        let grown = self.first_pause.saturating_mul(doubled);
        // A fresh state has fresh keys: as random as a pause needs to be.
        let random = RandomState::new().hash_one(attempt) as u16;
        grown.min(self.longest_pause) / (1 << u16::BITS) * u32::from(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_their_bounds() {
        let policy = RetryPolicy::default();
        for attempt in 1..80 {
            let grown = 2_u64.saturating_pow(attempt).min(500);
            assert!(policy.pause_after(attempt) <= Duration::from_millis(grown));
        }
        let many = 0..100;
        let is_long = |_| policy.pause_after(9) > Duration::from_millis(250);
        assert!(many.into_iter().any(is_long));
        let steep = policy.first_pause(Duration::MAX);
        assert!(steep.pause_after(1) <= Duration::from_millis(500));
        let endless = steep.longest_pause(Duration::MAX);
        assert!(endless.pause_after(1) < Duration::MAX);
        let none = policy.first_pause(Duration::ZERO);
        assert_eq!(none.pause_after(40), Duration::ZERO);
    }

    #[test]
    fn there_is_no_next_attempt_beyond_the_last_or_the_deadline() {
        let now = Instant::now();
        let policy = RetryPolicy::default().first_pause(Duration::ZERO);
        assert_eq!(policy.next_after(9, now), Some(now));
        assert_eq!(policy.next_after(10, now), None);
        assert_eq!(policy.attempts(0).next_after(1, now), None);
        let later = now + Duration::from_nanos(1);
        assert_eq!(policy.deadline(later).next_after(1, now), Some(now));
        assert_eq!(policy.deadline(now).next_after(1, now), None);
    }
}
