//! Signs of life, and how far a transaction has come.
//!
//! Whoever meets a lock of a transaction whose time to live is over ends it. As long as that time, from the last sign of life that was
//! answered, is surely not over, nobody has; after that the primary tells.

use super::TikvCore;
use super::ended::End;
use super::proto::kvrpcpb::TxnHeartBeatRequest;
use super::registry::{Decision, Open};
use super::resolve::{Inquiry, Standing, strayed};
use crate::error::Error;
use crate::store::{Timestamp, TxnStatus};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl TikvCore {
    pub(super) async fn heartbeat(
        self: &Arc<Self>,
        open: &Arc<Open>,
        ttl: Duration,
    ) -> Result<(), Error> {
        let Some(primary) = open.known(|known| known.standing_primary()) else {
            return Ok(());
        };
        let request = TxnHeartBeatRequest {
            context: None,
            primary_lock: primary.clone(),
            start_version: open.start,
            advise_lock_ttl: open.ttl_ms(ttl),
        };
        let sent = Instant::now();
        let answer = self
            .cluster
            .at_key(&primary, &request, Duration::ZERO)
            .await?;
        if answer.error.is_none() {
            open.known(|known| known.lives_from(sent, ttl));
            return Ok(());
        }
        match self.status_of(open.start, primary).await? {
            TxnStatus::Committed(at) => Err(End::committed(at).closed()),
            TxnStatus::RolledBack => Err(End::RolledBack.closed()),
            // Its primary, which waits for locks of others, may not be there yet.
            TxnStatus::Open => Ok(()),
        }
    }

    /// Whether nobody has ended a transaction that has put down its primary, so that its locks still stand.
    pub(super) async fn check_alive(&self, open: &Open) -> Result<(), Error> {
        self.registry.open(open.start)?;
        let now = Instant::now();
        let asked = open.known(|known| match known.alive_until {
            // Its own rollback takes its locks away.
            _ if known.is_closed => Err(End::RolledBack.closed()),
            Some(end) if now < end => Ok(None),
            _ => Ok(known.standing_primary()),
        });
        let Some(primary) = asked? else { return Ok(()) };
        // As of no time: the question itself ends nothing.
        let inquiry = Inquiry {
            primary,
            start: open.start,
            ..Inquiry::default()
        };
        match self.cluster.inquire(&inquiry).await? {
            Standing::Locked { .. } => Ok(()),
            Standing::Committed(at) => Err(End::committed(at).closed()),
            Standing::RolledBack | Standing::Unknown => Err(End::RolledBack.closed()),
            Standing::Elsewhere => Err(strayed(&inquiry).into()),
        }
    }

    /// Asks the cluster where it may know more than is known here.
    pub(super) async fn status_of(
        self: &Arc<Self>,
        start: Timestamp,
        given: Bytes,
    ) -> Result<TxnStatus, Error> {
        if let Some(end) = self.registry.end_of(start) {
            return Ok(end.into());
        }
        let open = self.registry.open(start).ok();
        let standing_now = |open: &Arc<Open>| open.known(|known| known.standing_attempt());
        let stands = open.as_ref().map(standing_now);
        let primary = match &stands {
            Some(Some((primary, _))) => primary.clone(),
            Some(None) => return Ok(TxnStatus::Open),
            None => given,
        };
        // None while it is about to be decided.
        let decision = open.as_ref().map(|open| open.decision.try_lock());
        let is_busy = matches!(decision, Some(Err(_)));
        // A prewrite that may decide and was not answered may still come, unless its primary is rolled back.
        let may_be_decided =
            |open: &Arc<Open>| open.known(|known| known.may_be_decided) && !is_busy;
        let now = self.now().await?;
        let inquiry = Inquiry {
            primary,
            start,
            now,
            rolls_back_unknown: open.as_ref().is_none_or(may_be_decided),
            ..Inquiry::default()
        };
        let standing = match self.cluster.inquire(&inquiry).await? {
            Standing::Locked {
                primary: Some(primary),
                ttl,
                ..
            } if primary.use_async_commit && ttl.is_zero() => {
                self.cluster
                    .decide_by_secondaries(&primary, &inquiry)
                    .await?
            }
            standing => standing,
        };
        let end = match standing {
            Standing::Locked { .. } => return Ok(TxnStatus::Open),
            Standing::Unknown if is_busy => return Ok(TxnStatus::Open),
            // It was given back meanwhile.
            Standing::Unknown if open.as_ref().map(standing_now) != stands => {
                return Ok(TxnStatus::Open);
            }
            Standing::Committed(at) => End::committed(at),
            Standing::RolledBack | Standing::Unknown => End::RolledBack,
            Standing::Elsewhere => return Err(strayed(&inquiry).into()),
        };
        if let (Some(open), Some(Ok(mut decision))) = (&open, decision) {
            self.ended_elsewhere(open, &mut decision, end);
        }
        Ok(end.into())
    }

    /// Notes an end that the cluster knows of.
    fn ended_elsewhere(self: &Arc<Self>, open: &Arc<Open>, decision: &mut Decision, end: End) {
        if decision.end.is_some() {
            return;
        }
        decision.end = Some(end);
        self.finish_in_background(open, end, true);
        self.end(open, end);
    }
}
