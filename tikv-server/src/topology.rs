//! Which region holds which keys, under which epoch, and who leads it.
//!
//! Every store has a peer of every region. Peers are numbered by region and store, so that a number that is stale
//! is never that of another.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use untorn_txn::store::tikv::codec::encode_key;
use untorn_txn::store::tikv::proto::errorpb::{
    EpochNotMatch, Error, KeyNotInRegion, NotLeader, RegionNotFound, StoreNotMatch,
};
use untorn_txn::store::tikv::proto::kvrpcpb::Context;
use untorn_txn::store::tikv::proto::metapb::{Peer, Region as Meta, RegionEpoch};

const PEERS_OF_A_REGION: u64 = 100;

#[derive(Debug)]
pub(crate) struct Topology {
    stores: u64,
    /// By first key.
    regions: BTreeMap<Bytes, Region>,
    numbered: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Region {
    id: u64,
    start: Bytes,
    end: Bytes,
    epoch: RegionEpoch,
    leader: u64,
}

impl Topology {
    /// One region that holds everything, led by the first of so many stores.
    pub(crate) fn new(stores: u64) -> Self {
        let whole = Region {
            id: 1,
            start: Bytes::new(),
            end: Bytes::new(),
            epoch: RegionEpoch {
                conf_ver: 1,
                version: 1,
            },
            leader: 1,
        };
        Self {
            stores,
            regions: BTreeMap::from([(Bytes::new(), whole)]),
            numbered: 1,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.regions.len()
    }

    fn around(&mut self, key: &[u8]) -> &mut Region {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let around = self.regions.range_mut::<[u8], _>(upto).next_back();
        around
            .map(|(_, region)| region)
            .expect("the regions cover all keys")
    }

    /// Cuts the region around a key in two: what stands before the key stays, what stands at it and behind it becomes a
    /// region of its own, under the next leader. Says whether there was something to cut.
    pub(crate) fn split(&mut self, key: &Bytes) -> bool {
        let (stores, id) = (self.stores, self.numbered + 1);
        let left = self.around(key);
        if left.start == key {
            return false;
        }
        let mut right = left.clone();
        left.end = key.clone();
        left.epoch.version += 1;
        right.id = id;
        right.start = key.clone();
        right.epoch.version += 1;
        right.leader = right.leader % stores + 1;
        self.numbered = id;
        self.regions.insert(key.clone(), right);
        true
    }

    /// Takes a border away: the region that begins at it becomes a part of the one before it. As in TiKV the version is then above
    /// that of both, the one that goes having raised its own. Says whether a region begins there.
    pub(crate) fn merge(&mut self, border: &[u8]) -> bool {
        if border.is_empty() {
            return false;
        }
        let Some(right) = self.regions.remove(border) else {
            return false;
        };
        let left = self.around(border);
        left.end = right.end;
        left.epoch.version = left.epoch.version.max(right.epoch.version + 1) + 1;
        true
    }

    /// Has the next store lead the region around a key.
    pub(crate) fn transfer_leader(&mut self, key: &[u8]) -> u64 {
        let stores = self.stores;
        let region = self.around(key);
        region.leader = region.leader % stores + 1;
        region.leader
    }

    /// The region around a key that PD encoded, with its leader.
    pub(crate) fn find(&self, encoded: &[u8]) -> (Meta, Peer) {
        let below = self.regions.values().rev();
        let region = below
            .into_iter()
            .find(|region| region.start.is_empty() || encode_key(&region.start) <= encoded);
        let region = region.expect("the regions cover all keys");
        (region.meta(self.stores), region.peer(region.leader))
    }

    /// The region before the one around a key that PD encoded.
    pub(crate) fn find_before(&self, encoded: &[u8]) -> Option<(Meta, Peer)> {
        let (around, _) = self.find(encoded);
        let mut before = self
            .regions
            .values()
            .filter(|region| region.end_encoded() == around.start_key);
        let region = before.find(|region| !region.end.is_empty())?;
        Some((region.meta(self.stores), region.peer(region.leader)))
    }

    /// The borders of a region; empty where there is none.
    pub(crate) fn borders(&self, id: u64) -> (Bytes, Bytes) {
        let mut regions = self.regions.values();
        let region = regions.find(|region| region.id == id);
        region.map_or_else(Default::default, |region| {
            (region.start.clone(), region.end.clone())
        })
    }

    /// Why a store does not serve a request for these keys, if it does not.
    pub(crate) fn refuses<'a>(
        &self,
        store: u64,
        context: &Context,
        mut keys: impl Iterator<Item = &'a Bytes>,
    ) -> Option<Error> {
        let asked = context.peer.as_ref().map_or(0, |peer| peer.store_id);
        if asked != store {
            return Some(Error {
                store_not_match: Some(StoreNotMatch {
                    request_store_id: asked,
                    actual_store_id: store,
                }),
                ..Error::default()
            });
        }
        let region_id = context.region_id;
        let Some(region) = self.regions.values().find(|region| region.id == region_id) else {
            return Some(Error {
                region_not_found: Some(RegionNotFound { region_id }),
                ..Error::default()
            });
        };
        if region.leader != store {
            return Some(Error {
                not_leader: Some(NotLeader {
                    region_id,
                    leader: Some(region.peer(region.leader)),
                }),
                ..Error::default()
            });
        }
        if context.region_epoch.as_ref() != Some(&region.epoch) {
            return Some(Error {
                epoch_not_match: Some(EpochNotMatch {
                    current_regions: self
                        .regions
                        .values()
                        .map(|region| region.meta(self.stores))
                        .collect(),
                }),
                ..Error::default()
            });
        }
        let outside = keys
            .find(|key| **key < region.start || !(region.end.is_empty() || **key < region.end))?;
        Some(Error {
            key_not_in_region: Some(KeyNotInRegion {
                key: outside.clone(),
                region_id,
                start_key: region.start.clone(),
                end_key: region.end.clone(),
            }),
            ..Error::default()
        })
    }
}

impl Region {
    fn peer(&self, store_id: u64) -> Peer {
        Peer {
            id: self.id * PEERS_OF_A_REGION + store_id,
            store_id,
            role: 0,
        }
    }

    fn end_encoded(&self) -> Bytes {
        border(&self.end)
    }

    fn meta(&self, stores: u64) -> Meta {
        Meta {
            id: self.id,
            start_key: border(&self.start),
            end_key: self.end_encoded(),
            region_epoch: Some(self.epoch.clone()),
            peers: (1..=stores).map(|store| self.peer(store)).collect(),
        }
    }
}

fn border(key: &Bytes) -> Bytes {
    if key.is_empty() {
        Bytes::new()
    } else {
        encode_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_covers_all_keys_and_is_found_from_both_sides() {
        let mut topology = Topology::new(3);
        assert!(topology.split(&"m".into()) && topology.split(&"d".into()));
        assert!(!topology.split(&"m".into()), "it is cut there already");
        assert_eq!(topology.count(), 3);
        let found = |key: &[u8]| topology.find(&encode_key(key)).0;
        assert_eq!(found(b"a").start_key, "");
        assert_eq!(found(b"d").start_key, encode_key(b"d"));
        assert_eq!(found(b"zz").end_key, "");
        let before = topology
            .find_before(&encode_key(b"m"))
            .map(|(meta, _)| meta.start_key);
        assert_eq!(before, Some(encode_key(b"d")));
        assert!(topology.find_before(&encode_key(b"a")).is_none());
    }

    #[test]
    fn a_merge_takes_back_a_split_under_a_newer_version() {
        let mut topology = Topology::new(3);
        assert!(!topology.merge(b"m"), "no region begins there");
        assert!(!topology.merge(b""), "none stands before the first");
        assert!(topology.split(&"m".into()) && topology.split(&"t".into()));
        let version = |meta: Meta| meta.region_epoch.map(|epoch| epoch.version);
        let before = version(topology.find(&encode_key(b"n")).0);
        assert!(topology.merge(b"m"));
        assert_eq!(topology.count(), 2);
        let (merged, _) = topology.find(&encode_key(b"n"));
        assert_eq!((merged.id, &merged.start_key[..]), (1, &b""[..]));
        assert_eq!(merged.end_key, encode_key(b"t"));
        assert!(version(merged) > before);
    }

    #[test]
    fn a_stale_request_is_refused_with_what_is_true_now() {
        let mut topology = Topology::new(2);
        let (meta, leader) = topology.find(b"");
        let context = Context {
            region_id: meta.id,
            region_epoch: meta.region_epoch,
            peer: Some(leader),
            ..Context::default()
        };
        let key = Bytes::from("k");
        let ask =
            |topology: &Topology, store| topology.refuses(store, &context, [&key].into_iter());
        assert_eq!(ask(&topology, 1), None);
        assert!(ask(&topology, 2).is_some_and(|error| error.store_not_match.is_some()));
        topology.split(&"d".into());
        assert!(ask(&topology, 1).is_some_and(|error| error.epoch_not_match.is_some()));
        topology.transfer_leader(b"a");
        assert!(ask(&topology, 1).is_some_and(|error| error.not_leader.is_some()));
    }
}
