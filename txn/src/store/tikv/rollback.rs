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
            End::Committed { at, .. } => self.commit_in_background(open, at, true),
        }
        decision.end = Some(end);
        self.registry.end(open, end);
        match end {
            End::RolledBack => Ok(()),
            end => Err(end.closed()),
        }
    }

    /// Rolls back everything that was put down, unless it turns out to be committed.
    async fn roll_back_for_good(self: &Arc<Self>, open: &Open) -> Result<End, Error> {
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
            Standing::Committed(at) => Some(End::Committed {
                at,
                by_prewrite: None,
            }),
            Standing::RolledBack | Standing::Unknown | Standing::Locked { .. } => None,
            Standing::Elsewhere => return Err(strayed(&inquiry).into()),
        })
    }

    /// Releases what a transaction that is over still holds without having written it; also what it may still get.
    pub(super) async fn release_rest(self: &Arc<Self>, open: &Open) -> Result<(), Error> {
        let (mut keys, for_update_ts) = open.known(|known| {
            let asking = known.asking.keys();
            let rest = known
                .held
                .keys()
                .chain(known.returning.keys())
                .chain(asking);
            let rest = rest.filter(|key| !known.put_down.contains(*key));
            (rest.cloned().collect::<Vec<Bytes>>(), known.for_update_ts)
        });
        keys.sort_unstable();
        keys.dedup();
        self.roll_back_locks(open, keys, for_update_ts).await?;
        open.known(|known| {
            known.held.clear();
            known.returning.clear();
        });
        open.changed();
        Ok(())
    }

    pub(super) fn release_in_background(self: &Arc<Self>, open: &Arc<Open>) {
        let (core, open) = (Arc::clone(self), Arc::clone(open));
        self.background.spawn(async move {
            let released = async {
                core.roll_back_for_good(&open).await?;
                core.release_rest(&open).await
            };
            if let Err(error) = released.await {
                tracing::warn!(start_ts = open.start, %error, "locks are left to who meets them");
            }
        });
    }
}
