//! Several locks of one owner, taken one after another and without waiting.

use bytes::Bytes;

use super::core::Core;
use super::request::{LockMode, OwnerId};
use super::stats::Refusal;

/// What the takes of one request have in common. Grants are counted when it ends, all at once.
pub(crate) struct Taking<'t> {
    core: &'t Core,
    owner: OwnerId,
    mode: LockMode,
    granted: u64,
}

/// Why a lock was not taken at once.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The owner holds the key shared.
    Upgrade,
    /// These stand in the way.
    HeldBy(Vec<OwnerId>),
}

impl<'t> Taking<'t> {
    pub(super) fn new(core: &'t Core, owner: OwnerId, mode: LockMode) -> Self {
        Self {
            core,
            owner,
            mode,
            granted: 0,
        }
    }

    /// Grants the key or refuses it, an upgrade always. Says whether the owner held it before.
    pub(crate) fn take(&mut self, key: &Bytes, attempt: u64) -> Result<bool, Refused> {
        let (owner, mode) = (self.owner, self.mode);
        let taken = self.core.keys.change(key.clone(), |queue| {
            if mode == LockMode::Exclusive && queue.mode_of(owner) == Some(LockMode::Shared) {
                return Err(Refused::Upgrade);
            }
            match queue.ask(owner, mode, attempt) {
                Some(granted) => Ok(granted.already_held),
                None => Err(Refused::HeldBy(queue.blockers(owner, mode))),
            }
        });
        match taken {
            Ok(_) => self.granted += 1,
            Err(_) => self.core.counters.refused(Refusal::NotAvailable),
        }
        taken
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.core.counters.granted(self.owner, self.granted);
    }
}
