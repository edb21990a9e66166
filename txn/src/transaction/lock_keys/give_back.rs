//! Locks that nobody wants go back to the store.

use super::super::Core;
use super::super::register::Withdrawn;
use super::super::to_the_end::ToTheEnd;
use crate::error::Error;
use crate::store::Answer;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon a give-back that was not answered is sent again.
const SEND_AGAIN: Duration = Duration::from_millis(20);

impl Core {
    /// Gives locks back: at once where the store answers at once, else in the background.
    #[inline]
    pub(in crate::transaction) fn give_back(self: &Arc<Self>, withdrawn: Withdrawn) {
        if !withdrawn.is_empty() {
            self.give_back_locks(withdrawn);
        }
    }

    fn give_back_locks(self: &Arc<Self>, locks: Withdrawn) {
        let answer = self.store().unlock(self.start_ts, locks.clone());
        if let Answer::Ready(Some(Ok(()))) = answer {
            return self.register.returned(&locks);
        }
        drop(answer);
        self.db.worker.spawn(self.until_returned(locks));
    }

    /// Gives locks back. Ready once that is answered or the transaction has ended; it goes on if it is dropped.
    pub(in crate::transaction) fn give_back_now(
        self: &Arc<Self>,
        locks: Withdrawn,
    ) -> ToTheEnd<()> {
        ToTheEnd::new(&self.db, self.until_returned(locks))
    }

    /// The transaction is not held meanwhile: an answer that never comes must not keep it open.
    fn until_returned(self: &Arc<Self>, locks: Withdrawn) -> impl Future<Output = ()> + use<> {
        let (db, core, start_ts) = (Arc::clone(&self.db), Arc::downgrade(self), self.start_ts);
        async move {
            let is_open = |core: Arc<Self>| core.life.check_open().is_ok();
            while !locks.is_empty() && core.upgrade().is_some_and(is_open) {
                let answer = db.store.unlock(start_ts, locks.clone()).await;
                let Some(core) = core.upgrade() else { return };
                if !matches!(answer, Err(Error::Store { .. })) {
                    return core.register.returned(&locks);
                }
                core.register.not_returned(&locks);
                drop(core);
                db.worker.sleep_until(Instant::now() + SEND_AGAIN).await;
            }
        }
    }
}
