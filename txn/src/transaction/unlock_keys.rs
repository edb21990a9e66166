//! Giving locks back before the transaction ends.
//!
//! A lock that goes loses its flag, then its place in the [register](super::register), both behind the gate that calls publish in:
//! so a sibling that shares the lock finds both or neither, and sets both again where it publishes later.

use super::lock_keys::Ordered;
use super::options::{Mode, UnlockedWrites};
use super::{Core, Keys, Transaction, all_owned};
use crate::buffer::Content;
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::mutant::planted;
use bytes::Bytes;
use std::sync::Arc;
use tracing::Instrument;

const UNLOCKED: [FlagOp; 3] = [
    FlagOp::ClearLocked,
    FlagOp::SetLockedValueNotExists,
    FlagOp::SetLockedExclusive,
];

impl Transaction {
    /// Gives back locks that were taken by calls that have succeeded, so that others may lock and change the keys before this
    /// transaction ends; for rows that a statement locked on its way and does not want. Says how many of the keys are no longer
    /// locked for this transaction. Once it has returned, the store has heard of it.
    ///
    /// A key that was written (with a value or a tombstone, in any stage that is open) or is presumed absent stays locked, and
    /// so does one whose lock is pending in [fair mode](Self::fair_begin); a key that is not locked is passed over. A lock that a
    /// lock call in flight shares stays until that ends, and is that call's then. The [primary](Self::lock_keys) goes with
    /// the last lock that names it.
    ///
    /// [`len`](Self::len) goes on counting the keys.
    ///
    /// What was read under the lock may be outdated from now on: the transaction is not two-phase locked any more. A key that is
    /// written later without being locked again is checked at commit against commits since the start. In an optimistic
    /// transaction the marks of [`lock_keys`](Self::lock_keys) are taken away.
    ///
    /// Takes one request for all keys, also if the future is dropped. As `TransactionDB`'s `UndoGetForUpdate`.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db, LockOptions};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// txn.put("kept", "v")?;
    /// txn.blocking().lock_keys(["kept", "looked at"], LockOptions::default())?;
    /// assert_eq!(txn.blocking().unlock_keys(["kept", "looked at"])?, 1);
    ///
    /// let other = db.blocking().begin(BeginOptions::default())?;
    /// other.blocking().lock_keys(["looked at"], LockOptions::default())?;
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OptionConflict`] with [`UnlockedWrites::Trusted`], where nobody would check a write that a sibling makes meanwhile;
    /// [`Error::TransactionClosed`]; [`Error::LockLost`]. Nothing is given back then.
    pub async fn unlock_keys<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<usize, Error> {
        let keys = all_owned(keys);
        let span =
            tracing::debug_span!("unlock_keys", start_ts = self.start_ts(), keys = keys.len());
        let unlocked = self.core.unlock_keys(keys).instrument(span).await;
        // Behind no gate: the hook is the user's code.
        self.core.buffer.report_memory();
        unlocked.map_err(|error| self.core.as_of_now(error))
    }
}

impl Core {
    async fn unlock_keys(self: &Arc<Self>, given: Keys) -> Result<usize, Error> {
        self.life.check_open()?;
        let is_pessimistic = self.options.mode == Mode::Pessimistic;
        if is_pessimistic && self.options.unlocked_writes == UnlockedWrites::Trusted {
            return Err(Error::OptionConflict {
                reason: "locks guard writes that are trusted: they stay",
            });
        }
        self.check_alive()?;
        let ordered = Ordered::of(given);
        let (unlocked, withdrawn) = {
            let _gate = (!planted("unlock-beside-the-gate")).then(|| self.gate.write());
            self.life.check_open()?;
            let mut unlocked = ordered.keys;
            unlocked.retain(|key| self.is_locked_alone(key));
            for key in &unlocked {
                self.buffer
                    .write_unreported(key, Content::Keep, &UNLOCKED)?;
            }
            let withdrawn = self.register.unkeep(&unlocked);
            (unlocked.len(), withdrawn)
        };
        if !withdrawn.is_empty() {
            self.give_back_now(withdrawn).await;
        }
        Ok(unlocked)
    }

    /// Whether a call that has succeeded locked the key, and nothing but its lock is there.
    fn is_locked_alone(&self, key: &Bytes) -> bool {
        let flags = self.buffer.get_flags(key).unwrap_or_default();
        flags.contains(KeyFlags::LOCKED)
            && !flags.presumes_not_exists()
            && self.buffer.get(key).is_none()
            && (self.options.mode == Mode::Optimistic || self.register.kept(key).is_some())
    }
}
