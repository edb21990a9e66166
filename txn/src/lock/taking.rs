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
    /// This one alone stands in the way.
    HeldBy(OwnerId),
    /// Several do: these, if they were to be named.
    Crowded(Vec<OwnerId>),
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
    ///
    /// A refusal takes as long as the queue is if it is to name all of those in the way (`named`).
    pub(crate) fn take(&mut self, key: &Bytes, attempt: u64, named: bool) -> Result<bool, Refused> {
        let (owner, mode) = (self.owner, self.mode);
        let taken = self.core.keys.change(key.clone(), |queue| {
            if mode == LockMode::Exclusive && queue.mode_of(owner) == Some(LockMode::Shared) {
                return Err(Refused::Upgrade);
            }
            if let Some(granted) = queue.ask(owner, mode, attempt) {
                return Ok(granted.already_held);
            }
            Err(match queue.sole_holder() {
                Some(holder) => Refused::HeldBy(holder),
                None if named => Refused::Crowded(queue.blockers(owner, mode)),
                None => Refused::Crowded(Vec::new()),
            })
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

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::super::table::LockTable;
    use super::*;

    /// Else a call that is going to join a queue would list it first.
    #[test]
    fn those_in_the_way_are_listed_only_where_they_are_to_be_named() {
        let table = LockTable::new();
        let key = Bytes::from_static(b"k");
        let ask = |owner| table.acquire(owner, &key, LockMode::Exclusive, &Default::default());
        let refused = |named| {
            let mut taking = table.taking(9, LockMode::Exclusive);
            taking.take(&key, 0, named).expect_err("the key is held")
        };
        let _held = ask(1);
        assert!(matches!(refused(true), Refused::HeldBy(1)));
        assert!(matches!(refused(false), Refused::HeldBy(1)));
        let _waiting = [ask(2), ask(3)];
        assert!(matches!(refused(true), Refused::Crowded(all) if all == [1, 3, 2]));
        assert!(matches!(refused(false), Refused::Crowded(none) if none.is_empty()));
    }
}
