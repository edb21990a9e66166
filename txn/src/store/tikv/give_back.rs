//! Locks that are given back.

use super::TikvCore;
use super::patience::LOOK_AFTER;
use super::proto::kvrpcpb::PessimisticRollbackRequest;
use super::registry::{Held, Known, Open};
use super::resolve::refused;
use super::retry::until_answered;
use crate::error::Error;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// For the way to TiKV, beyond the wait in its queue.
const MARGIN: Duration = Duration::from_millis(500);

impl TikvCore {
    /// Gives back what these attempts hold or still get.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        open: &Arc<Open>,
        locks: Vec<(Bytes, u64)>,
    ) -> Result<(), Error> {
        open.known(|known| {
            locks
                .iter()
                .for_each(|(_, attempt)| known.give_back(*attempt))
        });
        open.changed();
        // What is asked for right now is given back by who asks.
        let is_asked = |known: &mut Known| {
            locks
                .iter()
                .any(|(key, attempt)| known.is_asking(key, *attempt))
        };
        open.until(|known| (!is_asked(known)).then_some(())).await;
        let back = open.known(|known| {
            locks
                .iter()
                .for_each(|(key, attempt)| known.let_go(key, *attempt));
            // Also what was not answered the last time.
            let back = locks.iter().filter_map(|(key, attempt)| {
                let held = known.returning_from(key, *attempt)?;
                Some((key.clone(), held.clone()))
            });
            back.collect()
        });
        let sent = self.send_back(open, back).await;
        self.give_back_late(open);
        sent
    }

    /// Sends locks back to the cluster that are returning, and still are.
    pub(super) async fn send_back(
        self: &Arc<Self>,
        open: &Open,
        mut back: Vec<(Bytes, Held)>,
    ) -> Result<(), Error> {
        // A request beside the one that was granted may have moved the lock, as late as any that was sent.
        let (mut for_update_ts, may_be_forced) = open.known(|known| {
            back.retain(|(key, held)| known.is_returning(key, held));
            (known.for_update_ts, known.may_be_forced)
        });
        if back.is_empty() {
            return Ok(());
        }
        if may_be_forced {
            for_update_ts = for_update_ts.max(self.now().await?);
        }
        back.sort_by(|one, other| one.0.cmp(&other.0));
        let keys: Vec<Bytes> = back.iter().map(|(key, _)| key.clone()).collect();
        self.roll_back_locks(open, keys, for_update_ts).await?;
        open.known(|known| {
            for (key, held) in &back {
                if known.is_returning(key, held) {
                    known.returning.remove(key);
                }
            }
        });
        open.changed();
        Ok(())
    }

    /// Sends back what was not answered until it is.
    pub(super) fn send_back_again(self: &Arc<Self>, open: &Arc<Open>, back: Vec<(Bytes, Held)>) {
        let (core, open) = (Arc::clone(self), Arc::clone(open));
        self.background.spawn(async move {
            until_answered(open.start, || core.send_back(&open, back.clone())).await;
        });
    }

    /// Gives back what nobody wants and requests may still get that come late: once more, when hardly any can be granted any more.
    pub(super) fn give_back_late(self: &Arc<Self>, open: &Arc<Open>) {
        let late = open.known(Known::unwanted_late);
        if late.is_empty() {
            return;
        }
        let (core, open) = (Arc::clone(self), Arc::clone(open));
        self.background.spawn(async move {
            tokio::time::sleep(LOOK_AFTER + MARGIN).await;
            let back = open.known(|known| known.return_late(late));
            until_answered(open.start, || core.send_back(&open, back.clone())).await;
            open.known(|known| known.leave(&back));
            open.changed();
        });
    }

    /// Rolls back pessimistic locks that were asked for up to a timestamp.
    pub(super) async fn roll_back_locks(
        &self,
        open: &Open,
        keys: Vec<Bytes>,
        for_update_ts: u64,
    ) -> Result<(), Error> {
        let make = |keys: &[Bytes]| PessimisticRollbackRequest {
            context: None,
            start_version: open.start,
            for_update_ts,
            keys: keys.to_vec(),
        };
        for (_, answer) in self.cluster.spread(keys, make, Duration::ZERO).await? {
            if let Some(error) = answer.errors.into_iter().next() {
                return Err(refused("a lock's return", error).into());
            }
        }
        Ok(())
    }
}
