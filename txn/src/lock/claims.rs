//! Who holds one key: a claim for each attempt that was granted.
//!
//! Sorted by owner and attempt. If one claim is exclusive, all are of one owner: so a look at the first and the last
//! tells whether a key is free for somebody.

use std::ops::Range;

use smallvec::SmallVec;

use super::request::{Holder, LockMode, OwnerId};

/// What one attempt of one owner was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    owner: OwnerId,
    attempt: u64,
    mode: LockMode,
    /// Calls that were granted under this attempt: one, unless a request came twice.
    calls: u32,
}

/// The claims on one key. One claim needs no allocation.
#[derive(Debug, Default)]
pub(super) struct Claims(SmallVec<[Claim; 1]>);

impl Claims {
    /// Those on a key that was free.
    pub(super) fn one(owner: OwnerId, mode: LockMode, attempt: u64) -> Self {
        Self(SmallVec::from_buf([Claim {
            owner,
            attempt,
            mode,
            calls: 1,
        }]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose all claims are.
    pub(super) fn sole_owner(&self) -> Option<OwnerId> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        (first.owner == last.owner).then_some(first.owner)
    }

    /// The strongest mode in which `owner` holds the key.
    pub(super) fn mode_of(&self, owner: OwnerId) -> Option<LockMode> {
        self.0[self.of(owner)].iter().map(|claim| claim.mode).max()
    }

    /// The holders, ascending.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let holder = |claims: &[Claim]| Holder {
            owner: claims[0].owner,
            mode: claims
                .iter()
                .map(|claim| claim.mode)
                .max()
                .unwrap_or(LockMode::Shared),
            attempts: claims.iter().map(|claim| claim.attempt).collect(),
        };
        self.0
            .chunk_by(|a, b| a.owner == b.owner)
            .map(holder)
            .collect()
    }

    /// Whether no other owner's claim excludes `mode`.
    pub(super) fn allow(&self, owner: OwnerId, mode: LockMode) -> bool {
        let own = |claim: Option<&Claim>| claim.is_none_or(|claim| claim.owner == owner);
        own(self.0.first()) && own(self.0.last())
            || mode == LockMode::Shared && !self.is_exclusive()
    }

    /// The owners whose claims exclude `mode`, ascending.
    pub(super) fn excluding(
        &self,
        owner: OwnerId,
        mode: LockMode,
    ) -> impl Iterator<Item = OwnerId> {
        let excludes = move |claim: &Claim| claim.owner != owner && !claim.mode.is_compatible(mode);
        let all = if mode == LockMode::Shared && !self.is_exclusive() {
            &[]
        } else {
            &self.0[..]
        };
        let owners = all.chunk_by(|a, b| a.owner == b.owner);
        owners
            .filter(move |claims| claims.iter().any(excludes))
            .map(|claims| claims[0].owner)
    }

    /// Whether `holder`, another owner, has a claim that excludes `mode`.
    pub(super) fn exclude(&self, holder: OwnerId, mode: LockMode) -> bool {
        let held = self.mode_of(holder);
        held.is_some_and(|held| !held.is_compatible(mode))
    }

    /// Adds a granted call. The caller has seen that [`Self::allow`] allows it.
    pub(super) fn add(&mut self, owner: OwnerId, mode: LockMode, attempt: u64) {
        match self.find(owner, attempt) {
            Ok(at) => {
                let claim = &mut self.0[at];
                claim.mode = claim.mode.max(mode);
                claim.calls = claim.calls.saturating_add(1);
            }
            Err(at) => self.0.insert(
                at,
                Claim {
                    owner,
                    attempt,
                    mode,
                    calls: 1,
                },
            ),
        }
    }

    /// Takes away one attempt's claim; false if there is none.
    pub(super) fn remove(&mut self, owner: OwnerId, attempt: u64) -> bool {
        self.find(owner, attempt)
            .map(|at| self.0.remove(at))
            .is_ok()
    }

    /// Takes away an owner's claims; false if there are none.
    pub(super) fn remove_owner(&mut self, owner: OwnerId) -> bool {
        let own = self.of(owner);
        let any = !own.is_empty();
        self.0.drain(own);
        any
    }

    /// Takes back one call's grant; true if that was the attempt's last.
    pub(super) fn forget(&mut self, owner: OwnerId, attempt: u64) -> bool {
        let Ok(at) = self.find(owner, attempt) else {
            return false;
        };
        self.0[at].calls -= 1;
        let last = self.0[at].calls == 0;
        if last {
            self.0.remove(at);
        }
        last
    }

    fn of(&self, owner: OwnerId) -> Range<usize> {
        let start = self.0.partition_point(|claim| claim.owner < owner);
        let len = self.0[start..]
            .iter()
            .take_while(|claim| claim.owner == owner)
            .count();
        start..start + len
    }

    fn find(&self, owner: OwnerId, attempt: u64) -> Result<usize, usize> {
        self.0
            .binary_search_by_key(&(owner, attempt), |claim| (claim.owner, claim.attempt))
    }

    fn is_exclusive(&self) -> bool {
        // Then all claims are of the first one's owner.
        let owner = self.0.first().map(|claim| claim.owner);
        owner.and_then(|owner| self.mode_of(owner)) == Some(LockMode::Exclusive)
    }
}
