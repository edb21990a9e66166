//! Trying again, with longer and longer pauses: with jitter and up to a deadline where somebody waits, else until it is done.

use super::TikvError;
use crate::error::Error;
use crate::store::Timestamp;
use std::future::Future;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);
const FIRST_PAUSE_OF_NOBODY: Duration = Duration::from_millis(100);
const LONGEST_PAUSE_OF_NOBODY: Duration = Duration::from_secs(5);

/// The attempts of one operation.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    began: Instant,
    /// If there is an end to it.
    until: Option<Instant>,
    pause: Duration,
    is_retried: bool,
}

impl Retry {
    pub(super) fn new(patience: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            until: began.checked_add(patience),
            pause: FIRST_PAUSE,
            is_retried: false,
        }
    }

    /// Of a request that was sent before.
    pub(super) fn again(self) -> Self {
        Self {
            is_retried: true,
            ..self
        }
    }

    /// For how long it has been tried.
    pub(super) fn waited(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether this is not the first attempt, or there was another.
    pub(super) fn is_retried(&self) -> bool {
        self.is_retried
    }

    /// What is left of the time, and at most `longest`.
    pub(super) fn left(&self, longest: Duration) -> Duration {
        let now = Instant::now();
        self.until.map_or(longest, |until| {
            until.saturating_duration_since(now).min(longest)
        })
    }

    /// Waits before the next attempt; the failure of the last one where none is left.
    pub(super) async fn pause(&mut self, last: TikvError) -> Result<(), TikvError> {
        let next = Instant::now() + self.pause;
        if !last.is_transient() || self.until.is_some_and(|until| next >= until) {
            return Err(last);
        }
        tracing::debug!(error = %last, pause = ?self.pause, "tried again");
        tokio::time::sleep(jittered(self.pause)).await;
        self.is_retried = true;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Does what nobody waits for until it succeeds, or fails for a reason that stays. Each attempt has a patience of its own.
pub(super) async fn until_answered<F>(start_ts: Timestamp, mut attempt: impl FnMut() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    let mut pause = FIRST_PAUSE_OF_NOBODY;
    while let Err(error) = attempt().await {
        tracing::warn!(start_ts, %error, "locks stay where they are");
        if !is_transient(&error) {
            return;
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE_OF_NOBODY);
    }
}

pub(super) fn is_transient(error: &Error) -> bool {
    matches!(
        error,
        Error::Store {
            transient: true,
            ..
        }
    )
}

/// Between half of a pause and the whole of it, so that those who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let drawn = RandomState::new().hash_one(0_u8);
    pause / 2 + (pause / 2).mul_f64(drawn as f64 / u64::MAX as f64)
}
