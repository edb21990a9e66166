//! One call: what it claims, what it has found, and how both end. It is published whole, or withdrawn.

use super::super::Core;
use super::super::options::LockOutcome;
use super::super::register::{Claimed, Hold, Known, Pending, Slot, Withdrawn};
use super::Asking;
use crate::buffer::Reservation;
use crate::error::Error;
use crate::flags::FlagOp;
use crate::lock::LockMode;
use crate::mutant::planted;
use crate::store::ForUpdate;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// What a call knows of one of its keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The lock, unless the store left the key unlocked.
    pub(super) hold: Option<Hold>,
    /// Whether it has a value, where the key is unlocked.
    pub(super) exists: Option<bool>,
    pub(super) for_update_ts: u64,
    pub(super) already: bool,
    pub(super) kept: bool,
    /// The request, or the look, carried the presumption.
    pub(super) checked: bool,
    pub(super) value: Option<Bytes>,
}

/// The claims of a call. Withdrawn when it fails; a call that succeeds has turned them into locks.
pub(super) struct Call<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) keys: &'a [Bytes],
    pub(super) claimed: Claimed,
    pub(super) round: Option<u64>,
    pub(super) room: Option<Reservation<'a>>,
    pub(super) found: SmallVec<[Found; 1]>,
}

impl<'a> Call<'a> {
    /// Of keys that are claimed, in this round of fair mode if it is on.
    pub(super) fn new(
        core: &'a Arc<Core>,
        keys: &'a [Bytes],
        (claimed, round): (Claimed, Option<u64>),
    ) -> Self {
        Self {
            core,
            keys,
            claimed,
            round,
            room: None,
            found: SmallVec::from_elem(Found::default(), keys.len()),
        }
    }

    /// Reserves room for the keys. One that is pending has its room, and stays so while the call is there.
    pub(super) fn reserve(&mut self) -> Result<(), Error> {
        let core = self.core;
        let has_room = self.round.is_some() && core.register.is_pending(self.claimed[0]);
        let roomless = if has_room { &[] } else { self.keys };
        self.room = Some(core.buffer.reserve(roomless)?);
        Ok(())
    }

    /// Flags first, then the register: as long as the claims stand no sibling gives the keys back. The room for
    /// them is reserved, so nothing can stop it halfway. In fair mode flags wait until it is done.
    pub(super) fn publish(&mut self) -> Result<(), Error> {
        let core = self.core;
        let _gate = (!planted("publish-outside-the-gate")).then(|| core.gate.read());
        core.life.check_open()?;
        let Some(mut room) = self.room.take() else {
            return Ok(());
        };
        if self.round.is_none() {
            let flags = |(key, found): (&'a Bytes, &Found)| {
                let hold = found.hold.as_ref()?;
                let is_there = found.kept && !found.checked && core.is_flagged(key);
                (!is_there).then(|| (key, flags_of(hold, found.checked)))
            };
            room.update_all(self.keys.iter().zip(&self.found).filter_map(flags))?;
        }
        let claimed = std::mem::take(&mut self.claimed);
        let is_locked = |at: usize| self.found[at].hold.is_some();
        let locked = (0..claimed.len()).filter(|&at| is_locked(at));
        let pending = self.round.take().map(|round| Pending {
            round,
            room: room.into_owned(),
            // A fair call has one key.
            checked: self.found[0].checked,
        });
        core.register.keep(locked.map(|at| claimed[at]), pending);
        let unlocked = || (0..claimed.len()).filter(|&at| !is_locked(at));
        if unlocked().next().is_some() {
            let unlocked: Vec<Slot> = unlocked().map(|at| claimed[at]).collect();
            core.give_back(core.register.withdraw(&unlocked, None));
        }
        Ok(())
    }

    /// What is told to the caller, once it is published.
    pub(super) fn outcomes(&mut self, asking: &Asking<'_>) -> Vec<LockOutcome> {
        let conflict = |hold: &Hold| {
            hold.conflict_ts
                .filter(|_| asking.force)
                .filter(|&ts| matches!(asking.for_update, ForUpdate::At(at) if at < ts))
        };
        let outcome = |found: &mut Found| LockOutcome {
            locked: found.hold.is_some(),
            already_locked: found.already,
            exists: match &found.hold {
                Some(hold) => hold.known.exists(),
                None => found.exists,
            },
            value: found.value.take(),
            for_update_ts: found.for_update_ts,
            locked_with_conflict_ts: found.hold.as_ref().and_then(conflict),
        };
        self.found.iter_mut().map(outcome).collect()
    }

    /// Withdraws the claims; the second time there are none.
    pub(super) fn withdraw(&mut self) -> Withdrawn {
        let claimed = std::mem::take(&mut self.claimed);
        let round = self.round.take();
        if claimed.is_empty() {
            return Withdrawn::new();
        }
        self.core.register.withdraw(&claimed, round)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.claimed.is_empty() {
            let withdrawn = self.withdraw();
            self.core.give_back(withdrawn);
        }
    }
}

/// The flags of a lock. Nothing to say is said by repeating what was said.
pub(in crate::transaction) fn flags_of(hold: &Hold, checked: bool) -> [FlagOp; 3] {
    let mode = match hold.mode {
        LockMode::Shared => FlagOp::SetLockedShared,
        LockMode::Exclusive => FlagOp::SetLocked,
    };
    let value = match hold.known {
        Known::Exists => FlagOp::SetLockedValueExists,
        Known::Absent => FlagOp::SetLockedValueNotExists,
        Known::Unknown => mode,
    };
    let check = if checked {
        FlagOp::ClearNeedCheckExists
    } else {
        mode
    };
    [mode, value, check]
}
