//! Locks that are given back.

use super::TikvCore;
use super::patience::LOOK_AFTER;
use super::proto::kvrpcpb::PessimisticRollbackRequest;
use super::registry::{Held, Open};
use super::resolve::refused;
use crate::error::Error;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How soon what was not answered is sent again.
const SEND_AGAIN: Duration = Duration::from_millis(100);
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
        let is_asked = |known: &mut super::registry::Known| {
            locks
                .iter()
                .any(|(key, attempt)| known.is_asking(key, *attempt))
        };
        open.until(|known| (!is_asked(known)).then_some(())).await;
        let back = open.known(|known| {
            let mut back = Vec::new();
            for (key, attempt) in &locks {
                if let Some(held) = known.let_go(key, *attempt) {
                    known.returning.insert(key.clone(), held);
                }
                // Also what was not answered the last time.
                if let Some(held) = known
                    .returning
                    .get(key)
                    .filter(|held| held.attempt == *attempt)
                {
                    back.push((key.clone(), *held));
                }
            }
            back
        });
        self.send_back(open, back).await
    }

    /// Sends locks that are noted as returning back to the cluster.
    pub(super) async fn send_back(
        self: &Arc<Self>,
        open: &Arc<Open>,
        mut back: Vec<(Bytes, Held)>,
    ) -> Result<(), Error> {
        back.sort_by(|one, other| one.0.cmp(&other.0));
        let for_update_ts = back
            .iter()
            .map(|(_, held)| held.for_update_ts)
            .max()
            .unwrap_or(0);
        let keys: Vec<Bytes> = back.iter().map(|(key, _)| key.clone()).collect();
        self.roll_back_locks(open, keys, for_update_ts).await?;
        open.known(|known| {
            for (key, held) in &back {
                if known
                    .returning
                    .get(key)
                    .is_some_and(|returning| returning.attempt == held.attempt)
                {
                    known.returning.remove(key);
                }
            }
        });
        open.changed();
        Ok(())
    }

    /// Sends back what was not answered until it is, or is not to go back any more.
    pub(super) fn send_back_again(
        self: &Arc<Self>,
        open: &Arc<Open>,
        mut back: Vec<(Bytes, Held)>,
    ) {
        let (core, open) = (Arc::clone(self), Arc::clone(open));
        self.background.spawn(async move {
            loop {
                tokio::time::sleep(SEND_AGAIN).await;
                open.known(|known| {
                    back.retain(|(key, held)| {
                        let returning = known.returning.get(key);
                        // The end of the transaction gives back what is left.
                        !known.is_closed && returning.is_some_and(|now| now.attempt == held.attempt)
                    });
                });
                if back.is_empty() || core.send_back(&open, back.clone()).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Once more, when no request that was withdrawn can be granted any more.
    pub(super) fn give_back_later(
        self: &Arc<Self>,
        open: &Arc<Open>,
        mut back: Vec<(Bytes, Held)>,
    ) {
        let (core, open) = (Arc::clone(self), Arc::clone(open));
        self.background.spawn(async move {
            tokio::time::sleep(LOOK_AFTER + MARGIN).await;
            open.known(|known| {
                back.retain(|(key, _)| {
                    !known.held.contains_key(key) && !known.asking.contains_key(key)
                });
            });
            for (key, held) in back {
                // A forced lock stands as late as it was granted.
                let returned = async {
                    let at = if held.is_forced {
                        core.now().await?
                    } else {
                        held.for_update_ts
                    };
                    core.roll_back_locks(&open, vec![key], at).await
                };
                if let Err(error) = returned.await {
                    tracing::warn!(start_ts = open.start, %error, "a lock may be left to who meets it");
                }
            }
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
