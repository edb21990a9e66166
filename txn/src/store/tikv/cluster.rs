//! Requests to regions: sent to who leads, and again wherever the keys have gone.
//!
//! A store that does not lead the region, or knows it under another epoch, refuses the request without having looked
//! at it, and a request whose answer is lost may have been carried out. TiKV gives every request of a transaction the
//! effect of one however often it comes, so both are answered in the same way: the keys are looked up anew and the
//! request is sent again, until [`patience`](super::TikvOptions::patience) is over.

use super::decided::Decided;
use super::oracle::Oracle;
use super::pd::Pd;
use super::proto::{RegionRequest, RegionResponse};
use super::region::{Region, RegionCache};
use super::retry::Retry;
use super::{TikvError, TikvOptions};
use crate::DisplayKey;
use crate::store::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Bytes of one request (rule 54).
const BATCH_BYTES: usize = 16 << 10;
/// Requests that are under way at once for one operation (rule 54).
const IN_FLIGHT: usize = 128;

/// A cluster, with what is known of it.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) pd: Arc<Pd>,
    pub(super) oracle: Oracle,
    pub(super) regions: RegionCache,
    pub(super) decided: Decided,
    pub(super) options: TikvOptions,
}

/// What belongs to a key.
pub(super) trait Keyed: Send + 'static {
    fn key(&self) -> &Bytes;

    /// How much it adds to a request.
    fn size(&self) -> usize {
        self.key().len()
    }
}

impl Keyed for Bytes {
    fn key(&self) -> &Bytes {
        self
    }
}

/// A request that a region did not answer, and how long to leave it alone.
struct Missed {
    error: TikvError,
    pause: Option<Duration>,
    /// It may have come through, or still come.
    may_be_carried_out: bool,
}

impl Cluster {
    pub(super) async fn timestamp(&self) -> Result<Timestamp, TikvError> {
        self.oracle.next().await
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry_after(Duration::ZERO)
    }

    /// Of a request that the region itself may let wait for so long.
    pub(super) fn retry_after(&self, wait: Duration) -> Retry {
        Retry::new(self.options.patience.saturating_add(wait))
    }

    /// Sends a request to the region of a key until it is answered. `wait` is how long the region itself may take.
    pub(super) async fn at_key<R: RegionRequest>(
        &self,
        key: &[u8],
        request: &R,
        wait: Duration,
    ) -> Result<R::Response, TikvError> {
        let mut retry = self.retry_after(wait);
        loop {
            let region = self.regions.locate(key).await?;
            match self.at_region(&region, request.clone(), &retry, wait).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed.pause(&mut retry, key).await?,
            }
        }
    }

    /// Sends items, in key order, to the regions of their keys, many at once, until all are answered. Gives the
    /// answers, each with the items that it is about.
    pub(super) async fn spread<I: Keyed, R: RegionRequest>(
        self: &Arc<Self>,
        items: Vec<I>,
        make: impl Fn(&[I]) -> R,
        wait: Duration,
    ) -> Result<Vec<(Vec<I>, R::Response)>, TikvError> {
        let mut retry = self.retry_after(wait);
        self.spread_by(&mut retry, items, make, wait, |_| ()).await
    }

    /// As [`spread`](Self::spread), by attempts of the caller. Told of the batches of which nothing is known, which may be carried
    /// out yet, is `unanswered`.
    pub(super) async fn spread_by<I: Keyed, R: RegionRequest>(
        self: &Arc<Self>,
        retry: &mut Retry,
        mut items: Vec<I>,
        make: impl Fn(&[I]) -> R,
        wait: Duration,
        mut unanswered: impl FnMut(&[I]),
    ) -> Result<Vec<(Vec<I>, R::Response)>, TikvError> {
        let mut answers = Vec::new();
        while !items.is_empty() {
            let mut missed = None;
            let mut batches = self.batches(items).await?.into_iter().peekable();
            items = Vec::new();
            while batches.peek().is_some() {
                let mut sent = JoinSet::new();
                for (region, batch) in batches.by_ref().take(IN_FLIGHT) {
                    let cluster = Arc::clone(self);
                    let (request, retry) = (make(&batch), retry.clone());
                    sent.spawn(async move {
                        let answer = cluster.at_region(&region, request, &retry, wait).await;
                        (batch, answer)
                    });
                }
                while let Some(joined) = sent.join_next().await {
                    match joined.map_err(|_| TikvError::ShutDown)? {
                        (batch, Ok(answer)) => answers.push((batch, answer)),
                        (batch, Err(why)) => {
                            if why.may_be_carried_out {
                                unanswered(&batch);
                            }
                            items.extend(batch);
                            missed = Some(why);
                        }
                    }
                }
            }
            if let Some(missed) = missed {
                items.sort_by(|one, other| one.key().cmp(other.key()));
                let key = items
                    .first()
                    .map_or_else(Bytes::new, |item| item.key().clone());
                missed.pause(retry, &key).await?;
            }
        }
        Ok(answers)
    }

    /// Items in key order by region, no more in one batch than a request should carry.
    pub(super) async fn batches<I: Keyed>(
        &self,
        items: Vec<I>,
    ) -> Result<Vec<(Arc<Region>, Vec<I>)>, TikvError> {
        let mut batches: Vec<(Arc<Region>, Vec<I>)> = Vec::new();
        let mut bytes = 0;
        for item in items {
            bytes += item.size();
            match batches.last_mut() {
                Some((region, batch)) if region.holds(item.key()) && bytes <= BATCH_BYTES => {
                    batch.push(item)
                }
                _ => {
                    bytes = item.size();
                    let region = self.regions.locate(item.key()).await?;
                    batches.push((region, vec![item]));
                }
            }
        }
        Ok(batches)
    }

    /// One attempt at a region as it is known.
    async fn at_region<R: RegionRequest>(
        &self,
        region: &Region,
        mut request: R,
        retry: &Retry,
        wait: Duration,
    ) -> Result<R::Response, Missed> {
        let timeout = retry.left(self.options.call_timeout.saturating_add(wait));
        let missed = |error| Missed {
            error,
            pause: None,
            may_be_carried_out: false,
        };
        let address = self.regions.address(region).await.map_err(missed)?;
        let context = request.context_mut();
        context.region_id = region.id;
        context.region_epoch = Some(region.epoch.clone());
        context.peer = Some(region.leader.clone());
        context.is_retry_request = retry.is_retried();
        let answer = self
            .pd
            .channels
            .call::<R, R::Response>(&address, R::PATH, request, timeout)
            .await;
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.regions.unanswered(region);
                return Err(Missed {
                    may_be_carried_out: true,
                    ..missed(error)
                });
            }
        };
        let Some(refusal) = answer.region_error_mut().take() else {
            return Ok(answer);
        };
        if let Some(entry) = &refusal.raft_entry_too_large {
            return Err(missed(TikvError::TooLarge {
                region: entry.region_id,
                size: entry.entry_size,
            }));
        }
        let error = TikvError::Rpc {
            method: R::PATH,
            address,
            status: format!("refused by the region: {refusal:?}"),
        };
        let pause = self.regions.refused(region, refusal);
        Err(Missed {
            pause,
            ..missed(error)
        })
    }

    /// As [`at_key`](Self::at_key), to a region that the caller has chosen; `None` where it has to choose anew.
    pub(super) async fn at_chosen<R: RegionRequest>(
        &self,
        region: &Region,
        request: R,
        retry: &mut Retry,
    ) -> Result<Option<R::Response>, TikvError> {
        match self.at_region(region, request, retry, Duration::ZERO).await {
            Ok(answer) => Ok(Some(answer)),
            Err(missed) => missed.pause(retry, &region.start).await.map(|()| None),
        }
    }
}

impl Missed {
    /// Waits before the next attempt, or tells that there is none.
    async fn pause(self, retry: &mut Retry, key: &[u8]) -> Result<(), TikvError> {
        if let Some(pause) = self.pause {
            tokio::time::sleep(retry.left(pause)).await;
        }
        match retry.pause(self.error).await {
            Err(error @ TikvError::Rpc { .. }) => Err(TikvError::RegionUnavailable {
                key: DisplayKey(key).to_string(),
                waited: retry.waited(),
                last: error.to_string(),
            }),
            paused => paused,
        }
    }
}
