//! The second phase: the commit of the primary decides.
//!
//! A commit timestamp that was sent is kept until the region refuses it (a reader has pushed past it) or answers: a
//! commit that comes again is the same commit. What a region says besides that is not believed but
//! looked up, since the transaction may have been ended by who took it for dead.

use super::TikvCore;
use super::ended::End;
use super::proto::kvrpcpb::CommitRequest;
use super::registry::{Decision, Open};
use super::resolve::{Inquiry, Standing};
use crate::error::Error;
use crate::store::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl TikvCore {
    pub(super) async fn commit(self: &Arc<Self>, open: &Arc<Open>) -> Result<Timestamp, Error> {
        let mut decision = open.decision.lock().await;
        match decision.end {
            Some(End::Committed { at, .. }) => return Ok(at),
            Some(end) => return Err(end.closed()),
            None => {}
        }
        let end = self.commit_primary(open, &mut decision).await?;
        decision.end = Some(end);
        self.finish_in_background(open, end, false);
        self.end(open, end);
        match end {
            End::Committed { at, .. } => Ok(at),
            End::RolledBack => Err(end.closed()),
        }
    }

    async fn commit_primary(&self, open: &Open, decision: &mut Decision) -> Result<End, Error> {
        let primary = open.known(|known| {
            known
                .primary
                .clone()
                .filter(|primary| known.put_down.contains(primary))
        });
        let Some(primary) = primary else {
            // Nothing was put down: there is nothing to decide.
            let at = self.now().await?;
            return Ok(End::committed(at));
        };
        loop {
            let at = match decision.candidate {
                Some(at) => at,
                None => self.now().await?,
            };
            decision.candidate = Some(at);
            let request = CommitRequest {
                context: None,
                start_version: open.start,
                keys: vec![primary.clone()],
                commit_version: at,
            };
            let answer = self
                .cluster
                .at_key(&primary, &request, Duration::ZERO)
                .await?;
            match answer.error {
                None => {
                    return Ok(End::committed(self.committed_at(open, primary, at).await?));
                }
                Some(error) if error.commit_ts_expired.is_some() => decision.candidate = None,
                Some(error) => {
                    tracing::debug!(start_ts = open.start, ?error, "a commit is refused");
                    let inquiry = Inquiry {
                        primary: primary.clone(),
                        start: open.start,
                        now: self.now().await?,
                        ..Inquiry::default()
                    };
                    return match self.cluster.inquire(&inquiry).await? {
                        Standing::Committed(at) => Ok(End::committed(at)),
                        Standing::RolledBack | Standing::Unknown => Ok(End::RolledBack),
                        Standing::Locked { .. } | Standing::Elsewhere => {
                            Err(super::resolve::refused("a commit", error).into())
                        }
                    };
                }
            }
        }
    }

    /// When a transaction was committed whose commit at a timestamp succeeded: earlier, if a copy of its prewrite did it.
    async fn committed_at(
        &self,
        open: &Open,
        primary: Bytes,
        at: Timestamp,
    ) -> Result<Timestamp, Error> {
        if !open.known(|known| known.may_be_one_phase) {
            return Ok(at);
        }
        let inquiry = Inquiry {
            primary,
            start: open.start,
            ..Inquiry::default()
        };
        Ok(match self.cluster.inquire(&inquiry).await? {
            Standing::Committed(earlier) => earlier,
            _ => at,
        })
    }
}
