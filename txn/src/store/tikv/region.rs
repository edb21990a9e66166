//! Which region holds a key, as far as it is known.
//!
//! Regions are remembered as PD tells them, by their first key; a newer one takes the place of all that it overlaps.
//! What is remembered may be stale at any time: the store that is asked says so, and [`RegionCache`] is told what
//! it said. Nothing is right because it stands here; it only saves a question.

use super::TikvError;
use super::codec;
use super::pd::Pd;
use super::proto::errorpb;
use super::proto::metapb::{self, Peer, RegionEpoch};
use super::retry::Retry;
use crate::store::lock;
use bytes::Bytes;
use dashmap::DashMap;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A region, with plain keys.
#[derive(Debug, Clone)]
pub(super) struct Region {
    pub(super) id: u64,
    pub(super) epoch: RegionEpoch,
    pub(super) start: Bytes,
    /// Behind its last key; empty where there is no end.
    pub(super) end: Bytes,
    pub(super) leader: Peer,
}

impl Region {
    fn new(region: metapb::Region, leader: Option<Peer>) -> Result<Self, TikvError> {
        let leader = leader.filter(|leader| leader.store_id != 0);
        let leader = leader
            // One that learns never leads.
            .or_else(|| {
                let votes = |peer: &&Peer| peer.role != metapb::PeerRole::Learner as i32;
                region.peers.iter().find(votes).cloned()
            })
            .ok_or_else(|| TikvError::Pd {
                message: format!("region {} has no peers", region.id),
            })?;
        Ok(Self {
            id: region.id,
            epoch: region.region_epoch.unwrap_or_default(),
            start: codec::decode_key(&region.start_key)?,
            end: codec::decode_key(&region.end_key)?,
            leader,
        })
    }

    pub(super) fn holds(&self, key: &[u8]) -> bool {
        self.start <= key && (self.end.is_empty() || key < &self.end[..])
    }

    /// Whether it holds the keys right before a border, or is the last region of all.
    fn reaches(&self, border: Option<&[u8]>) -> bool {
        match border {
            Some(border) => self.start < border && (self.end.is_empty() || border <= &self.end[..]),
            None => self.end.is_empty(),
        }
    }

    fn is_older_than(&self, other: &Region) -> bool {
        (self.epoch.version, self.epoch.conf_ver) < (other.epoch.version, other.epoch.conf_ver)
    }
}

/// What is known of regions and stores.
#[derive(Debug)]
pub(super) struct RegionCache {
    pd: Arc<Pd>,
    by_start: Mutex<BTreeMap<Bytes, Arc<Region>>>,
    /// Addresses.
    stores: DashMap<u64, String>,
}

impl RegionCache {
    pub(super) fn new(pd: &Arc<Pd>) -> Self {
        Self {
            pd: Arc::clone(pd),
            by_start: Mutex::default(),
            stores: DashMap::new(),
        }
    }

    /// The region that holds a key.
    pub(super) async fn locate(&self, key: &[u8]) -> Result<Arc<Region>, TikvError> {
        let mut retry = Retry::new(self.pd.options.patience);
        loop {
            let known = self.last_within(Bound::Included(key));
            if let Some(region) = known.filter(|region| region.holds(key)) {
                return Ok(region);
            }
            let told = self.pd.region(key).await?;
            match self.learn(told.region, told.leader) {
                Ok(region) => return Ok(region),
                // PD may not have heard of it yet.
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// The region that holds the keys right before a border, or the last region of all.
    pub(super) async fn locate_before(
        &self,
        border: Option<&[u8]>,
    ) -> Result<Arc<Region>, TikvError> {
        let mut retry = Retry::new(self.pd.options.patience);
        loop {
            let known = self.last_within(border.map_or(Bound::Unbounded, Bound::Excluded));
            if let Some(region) = known.filter(|region| region.reaches(border)) {
                return Ok(region);
            }
            let around = match border {
                Some(border) => Some(self.locate(border).await?),
                None => None,
            };
            if let Some(around) = around.as_ref().filter(|around| around.reaches(border)) {
                return Ok(Arc::clone(around));
            }
            let told = self.pd.region_before(border).await?;
            let missed = match self.learn(told.region, told.leader) {
                Ok(region) if region.reaches(border) => return Ok(region),
                Ok(region) => TikvError::Pd {
                    message: format!("region {} does not reach the border", region.id),
                },
                Err(error) => error,
            };
            // To PD the border lies in another region, or it has become the inside of one.
            if let Some(around) = around {
                self.forget(&around);
            }
            retry.pause(missed).await?;
        }
    }

    /// The last of the remembered regions whose first keys lie within a bound.
    fn last_within(&self, upto: Bound<&[u8]>) -> Option<Arc<Region>> {
        let regions = lock(&self.by_start);
        let below = regions.range::<[u8], _>((Bound::Unbounded, upto));
        let last = below.map(|(_, region)| region).next_back();
        last.cloned()
    }

    fn learn(
        &self,
        region: Option<metapb::Region>,
        leader: Option<Peer>,
    ) -> Result<Arc<Region>, TikvError> {
        let region = region.ok_or_else(|| TikvError::Pd {
            message: "no region holds the key".to_owned(),
        })?;
        let region = Arc::new(Region::new(region, leader)?);
        let mut regions = lock(&self.by_start);
        let upto = if region.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(region.end.clone())
        };
        // Those that are remembered do not overlap each other.
        let below = regions.range((Bound::Unbounded, upto)).rev();
        let overlapping: Vec<Arc<Region>> = below
            .map(|(_, known)| Arc::clone(known))
            .take_while(|known| known.end.is_empty() || known.end > region.start)
            .collect();
        if !overlapping.iter().any(|known| region.is_older_than(known)) {
            overlapping
                .iter()
                .for_each(|known| drop(regions.remove(&known.start)));
            regions.insert(region.start.clone(), Arc::clone(&region));
        }
        Ok(region)
    }

    /// The next question for its keys goes to PD.
    pub(super) fn forget(&self, region: &Region) {
        let mut regions = lock(&self.by_start);
        if regions
            .get(&region.start)
            .is_some_and(|known| known.id == region.id)
        {
            regions.remove(&region.start);
        }
    }

    /// The address of the store that leads a region.
    pub(super) async fn address(&self, region: &Region) -> Result<String, TikvError> {
        let store_id = region.leader.store_id;
        if let Some(address) = self.stores.view(&store_id, |_, address| address.clone()) {
            return Ok(address);
        }
        let store = self.pd.store(store_id).await?;
        self.stores.insert(store_id, store.address.clone());
        Ok(store.address)
    }

    /// The store of a region did not answer: it may have moved, and somebody else may lead.
    pub(super) fn unanswered(&self, region: &Region) {
        self.stores.remove(&region.leader.store_id);
        self.forget(region);
    }

    /// What a store said of a region that it did not serve. Gives how long it wants to be left alone, if it does.
    pub(super) fn refused(&self, region: &Region, error: errorpb::Error) -> Option<Duration> {
        let refusal = match error {
            errorpb::Error {
                not_leader: Some(not_leader),
                ..
            } => match not_leader.leader.filter(|leader| leader.store_id != 0) {
                Some(leader) => {
                    let mut moved = region.clone();
                    moved.leader = leader;
                    let mut regions = lock(&self.by_start);
                    if regions
                        .get(&region.start)
                        .is_some_and(|known| known.id == region.id)
                    {
                        regions.insert(region.start.clone(), Arc::new(moved));
                    }
                    return None;
                }
                None => None,
            },
            errorpb::Error {
                epoch_not_match: Some(mismatch),
                ..
            } if !mismatch.current_regions.is_empty() => {
                self.forget(region);
                for current in mismatch.current_regions {
                    let same_store = |peer: &&Peer| peer.store_id == region.leader.store_id;
                    let leader = current.peers.iter().find(same_store).cloned();
                    // One that makes no sense is asked of PD.
                    drop(self.learn(Some(current), leader));
                }
                return None;
            }
            errorpb::Error {
                store_not_match: Some(_),
                ..
            } => {
                // Somebody else has its address now.
                self.stores.remove(&region.leader.store_id);
                None
            }
            errorpb::Error {
                server_is_busy: Some(busy),
                ..
            } => return Some(Duration::from_millis(busy.backoff_ms)),
            _ => None,
        };
        self.forget(region);
        refusal
    }
}
