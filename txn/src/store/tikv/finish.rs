//! What is left to do once a transaction is decided.
//!
//! Its locks are cleared away in the background: what was put down becomes data or nothing, what was only locked is
//! released. Whoever meets one meanwhile finds the decision by the primary or, in this process, by a note; but may have
//! to wait for a time to live where the primary is not reached. So what is not answered is sent again until it is.

use super::TikvCore;
use super::ended::End;
use super::proto::kvrpcpb::CommitRequest;
use super::registry::Open;
use super::retry::{is_transient, until_answered};
use crate::error::Error;
use crate::store::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl TikvCore {
    /// Clears away what a transaction of this end has left in the cluster. `with_primary` is whether its primary may be a part
    /// of that.
    pub(super) fn finish_in_background(
        self: &Arc<Self>,
        open: &Arc<Open>,
        end: End,
        with_primary: bool,
    ) {
        if end.is_one_phase() && open.known(|known| known.is_all_put_down()) {
            return;
        }
        self.cluster.decided.note(open.start, end.commit_ts());
        let (core, open) = (Arc::clone(self), Arc::clone(open));
        self.background.spawn(async move {
            until_answered(open.start, || core.finish(&open, end, with_primary)).await;
        });
    }

    /// Forgets a transaction but for how it ended, and for what may come late.
    pub(super) fn end(self: &Arc<Self>, open: &Arc<Open>, end: End) {
        self.registry.end(open, end);
        self.give_back_late(open);
    }

    async fn finish(
        self: &Arc<Self>,
        open: &Open,
        end: End,
        with_primary: bool,
    ) -> Result<(), Error> {
        let write = async {
            match end {
                _ if end.is_one_phase() => Ok(()),
                End::Committed { at, .. } => self.commit_rest(open, at, with_primary).await,
                End::RolledBack => self.roll_back_for_good(open).await.map(drop),
            }
        };
        let (written, released) = tokio::join!(write, self.release_rest(open));
        let failed = [written, released].into_iter().filter_map(Result::err);
        // As long as another attempt may help there is one.
        failed.max_by_key(is_transient).map_or(Ok(()), Err)
    }

    /// Turns the locks that were put down into data.
    async fn commit_rest(
        self: &Arc<Self>,
        open: &Open,
        at: Timestamp,
        with_primary: bool,
    ) -> Result<(), Error> {
        self.resolve_flushed(open, at).await?;
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
        let answers = self.cluster.spread(keys, make, Duration::ZERO).await?;
        for error in answers.into_iter().filter_map(|(_, answer)| answer.error) {
            tracing::debug!(
                start_ts = open.start,
                ?error,
                "a secondary was resolved by somebody else"
            );
        }
        Ok(())
    }

    /// Releases what a transaction that is over still holds without having written it; also what it may still get.
    pub(super) async fn release_rest(self: &Arc<Self>, open: &Open) -> Result<(), Error> {
        let (asking, asked_at, back) = open.known(|known| {
            known.let_go_of_all();
            let back = known.returning.clone().into_iter().collect();
            let asking = known.asking.keys();
            let asking = asking.filter(|key| !known.put_down.contains(*key));
            let mut asking: Vec<Bytes> = asking.cloned().collect();
            asking.sort_unstable();
            (asking, known.for_update_ts, back)
        });
        self.roll_back_locks(open, asking, asked_at).await?;
        self.send_back(open, back).await
    }
}
