//! Signs of life, and how far a transaction has come.

use super::TikvCore;
use super::ended::End;
use super::proto::kvrpcpb::TxnHeartBeatRequest;
use super::registry::Open;
use super::resolve::{Inquiry, Standing, refused};
use crate::error::Error;
use crate::store::{Timestamp, TxnStatus};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl TikvCore {
    pub(super) async fn heartbeat(
        self: &Arc<Self>,
        open: &Arc<Open>,
        primary: Bytes,
        ttl: Duration,
    ) -> Result<(), Error> {
        let (primary, is_anything_sent) = open.known(|known| {
            let primary = known.primary.clone().unwrap_or(primary);
            (primary, known.is_anything_sent())
        });
        if !is_anything_sent {
            return Ok(());
        }
        let request = TxnHeartBeatRequest {
            context: None,
            primary_lock: primary.clone(),
            start_version: open.start,
            advise_lock_ttl: open.ttl_ms(ttl),
        };
        let answer = self
            .cluster
            .at_key(&primary, &request, Duration::ZERO)
            .await?;
        let Some(error) = answer.error else {
            return Ok(());
        };
        match self.status_of(open.start, primary).await? {
            TxnStatus::Committed(at) => Err(End::Committed {
                at,
                by_prewrite: None,
            }
            .closed()),
            TxnStatus::RolledBack => Err(End::RolledBack.closed()),
            TxnStatus::Open => Err(refused("a heartbeat", error).into()),
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
        let primary = match &open {
            Some(open) => {
                let sent = open.known(|known| (known.is_anything_sent(), known.primary.clone()));
                match sent {
                    (false, _) => return Ok(TxnStatus::Open),
                    (true, primary) => primary.unwrap_or(given),
                }
            }
            None => given,
        };
        let now = self.now().await?;
        let inquiry = Inquiry {
            primary,
            start,
            now,
            rolls_back_unknown: open.is_none(),
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
            Standing::Committed(at) => End::Committed {
                at,
                by_prewrite: None,
            },
            Standing::RolledBack | Standing::Unknown => End::RolledBack,
        };
        if let Some(open) = open {
            self.ended_elsewhere(&open, end);
        }
        Ok(end.into())
    }

    /// Notes an end that the cluster knows of, unless somebody is about to find it out.
    fn ended_elsewhere(self: &Arc<Self>, open: &Arc<Open>, end: End) {
        let Ok(mut decision) = open.decision.try_lock() else {
            return;
        };
        if decision.end.is_some() {
            return;
        }
        decision.end = Some(end);
        match end {
            End::Committed { at, .. } => self.commit_in_background(open, at, true),
            End::RolledBack => self.release_in_background(open),
        }
        self.registry.end(open, end);
    }
}
