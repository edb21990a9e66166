//! The second phase: the commit of the primary decides, that of all others follows in the background.
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
        let committed = match end {
            End::Committed { at, .. } => {
                self.commit_in_background(open, at, false);
                Ok(at)
            }
            End::RolledBack => {
                self.release_in_background(open);
                Err(end.closed())
            }
        };
        self.registry.end(open, end);
        committed
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
            return Ok(End::Committed {
                at,
                by_prewrite: None,
            });
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
                    return Ok(End::Committed {
                        at: self.committed_at(open, primary, at).await?,
                        by_prewrite: None,
                    });
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
                        Standing::Committed(at) => Ok(End::Committed {
                            at,
                            by_prewrite: None,
                        }),
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

    /// Turns the locks that were put down into data, those of the primary too where the prewrite has decided.
    pub(super) fn commit_in_background(
        self: &Arc<Self>,
        open: &Arc<Open>,
        at: Timestamp,
        with_primary: bool,
    ) {
        let core = Arc::clone(self);
        let open = Arc::clone(open);
        self.background.spawn(async move {
            let keys: Vec<Bytes> = open.known(|known| {
                let is_due = |key: &&Bytes| with_primary || known.primary.as_ref() != Some(*key);
                known.put_down.iter().filter(is_due).cloned().collect()
            });
            let make = |keys: &[Bytes]| CommitRequest {
                context: None,
                start_version: open.start,
                keys: keys.to_vec(),
                commit_version: at,
            };
            // Whoever meets what is left resolves it by the primary.
            if let Err(error) = core.resolve_flushed(&open, at).await {
                tracing::warn!(start_ts = open.start, %error, "what was flushed is left to who meets it");
            }
            match core.cluster.spread(keys, make, Duration::ZERO).await {
                Ok(answers) => {
                    for error in answers.into_iter().filter_map(|(_, answer)| answer.error) {
                        tracing::debug!(
                            start_ts = open.start,
                            ?error,
                            "a secondary was resolved by somebody else"
                        );
                    }
                }
                Err(error) => {
                    tracing::warn!(start_ts = open.start, %error, "secondaries are left to who meets them")
                }
            }
            if let Err(error) = core.release_rest(&open).await {
                tracing::warn!(start_ts = open.start, %error, "locks are left to who meets them");
            }
        });
    }
}
