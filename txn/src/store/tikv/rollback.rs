//! The ways out.
//!
//! What was put down is rolled back for good: nothing of the transaction can come to those keys any more. What was only
//! locked is released. A prewrite that may have decided and was not answered is looked up first: if the cluster
//! has everything that makes it committed, then it is.

use super::TikvCore;
use super::ended::End;
use super::proto::kvrpcpb::BatchRollbackRequest;
use super::registry::Open;
use super::resolve::{Inquiry, Standing, refused, strayed};
use crate::error::Error;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl TikvCore {
    pub(super) async fn rollback(self: &Arc<Self>, open: &Arc<Open>) -> Result<(), Error> {
        let mut decision = open.decision.lock().await;
        match decision.end {
            Some(End::RolledBack) => return Ok(()),
            Some(end) => return Err(end.closed()),
            None => {}
        }
        let may_be_decided = open.known(|known| {
            known.is_closed = true;
            known.may_be_decided
        });
        open.changed();
        let committed = if may_be_decided {
            self.look_up(open).await?
        } else {
            None
        };
        let end = match committed {
            Some(end) => end,
            None => self.roll_back_for_good(open).await?,
        };
        match end {
            // What stays locked is released when the rollback comes again.
            End::RolledBack => self.release_rest(open).await?,
            End::Committed { .. } => self.finish_in_background(open, end, true),
        }
        decision.end = Some(end);
        self.end(open, end);
        match end {
            End::RolledBack => Ok(()),
            end => Err(end.closed()),
        }
    }

    /// Rolls back everything that was put down, unless it turns out to be committed.
    pub(super) async fn roll_back_for_good(self: &Arc<Self>, open: &Open) -> Result<End, Error> {
        let keys: Vec<Bytes> = open.known(|known| known.put_down.iter().cloned().collect());
        let make = |keys: &[Bytes]| BatchRollbackRequest {
            context: None,
            start_version: open.start,
            keys: keys.to_vec(),
        };
        let answers = self.cluster.spread(keys, make, Duration::ZERO).await?;
        let Some(error) = answers.into_iter().find_map(|(_, answer)| answer.error) else {
            self.resolve_flushed(open, 0).await?;
            return Ok(End::RolledBack);
        };
        // By a commit whose answer was lost.
        let committed = self.look_up(open).await?;
        committed.ok_or_else(|| refused("a rollback", error).into())
    }

    /// Whether the cluster has committed a transaction whose prewrite or commit was not answered. If not, it cannot be
    /// committed any more once all that was put down is rolled back.
    async fn look_up(self: &Arc<Self>, open: &Open) -> Result<Option<End>, Error> {
        let Some(primary) = open.known(|known| known.primary.clone()) else {
            return Ok(None);
        };
        let inquiry = Inquiry {
            primary,
            start: open.start,
            rolls_back_unknown: true,
            ..Inquiry::default()
        };
        let standing = match self.cluster.inquire(&inquiry).await? {
            Standing::Locked {
                primary: Some(primary),
                ..
            } if primary.use_async_commit => {
                self.cluster
                    .decide_by_secondaries(&primary, &inquiry)
                    .await?
            }
            standing => standing,
        };
        Ok(match standing {
            Standing::Committed(at) => Some(End::committed(at)),
            Standing::RolledBack | Standing::Unknown | Standing::Locked { .. } => None,
            Standing::Elsewhere => return Err(strayed(&inquiry).into()),
        })
    }
}
