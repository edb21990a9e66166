//! Who is compared: the peers by name, and the way from a name to its type.

use bytes::Bytes;
use byteslice::ByteSlice;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::keys::{KeyKind, VALUE_LEN};
use crate::peer::Peer;
#[cfg(feature = "rocksdb")]
use crate::peers::RocksPeer;
use crate::peers::{
    ArenaPeer, ArtPeer, BTreePeer, ClientBufferPeer, DashPeer, MasstreePeer, MemBufferPeer,
    PapayaPeer, SkipMapPeer, TreeIndexPeer, UntornPeer,
};
use crate::workload::Workload;

/// A peer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerKind {
    /// Untorn's memtable.
    Untorn,
    /// `crossbeam_skiplist::SkipMap<Bytes, Bytes>`.
    Crossbeam,
    /// The same with `Vec<u8>`.
    CrossbeamVec,
    /// The same with keys of 16 and values of 64 bytes in the nodes: no other length fits.
    CrossbeamArray,
    /// `artmap::ArtMap<ByteSlice, Box<[u8]>>`: keys of up to 20 bytes lie in the leaf.
    Artmap,
    /// The same with keys of 16 and values of 64 bytes in the leaf: no other length fits.
    ArtmapArray,
    /// `artmap::ArenaArtMap`, in a fixed arena.
    ArtmapArena,
    /// `masstree::MassTree15<Box<[u8]>>`.
    Masstree,
    /// `scc::TreeIndex<Box<[u8]>, Box<[u8]>>`.
    Scc,
    /// `RwLock<BTreeMap<Box<[u8]>, Box<[u8]>>>`.
    Btree,
    /// `dashmap::DashMap`: unordered.
    Dashmap,
    /// `papaya::HashMap`: unordered.
    Papaya,
    /// RocksDB, all of it in the skiplist of its memtable.
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    /// Untorn's transaction buffer, `untorn_txn::MemBuffer`.
    MemBuffer,
    /// The buffer of TiKV's client for Rust, made anew: `Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>>`.
    ClientBuffer,
}

/// What a peer is for. Ratios are taken within a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Maps of a storage engine.
    Memtable,
    /// Buffers of a transaction's writes.
    Buffer,
}

impl Family {
    /// Untorn's own in this family.
    pub fn ours(self) -> PeerKind {
        match self {
            Self::Memtable => PeerKind::Untorn,
            Self::Buffer => PeerKind::MemBuffer,
        }
    }
}

/// Something to do with the type behind a name.
pub trait WithPeer {
    /// What comes of it.
    type Out;
    /// Does it with `P`.
    fn with<P: Peer>(self) -> Self::Out;
}

struct Traits;

struct TraitsOf {
    ordered: bool,
    is_table: bool,
    reclaims: bool,
    key_len: Option<usize>,
}

impl WithPeer for Traits {
    type Out = TraitsOf;
    fn with<P: Peer>(self) -> TraitsOf {
        TraitsOf {
            ordered: P::ORDERED,
            is_table: P::IS_TABLE,
            reclaims: P::RECLAIMS,
            key_len: P::KEY_LEN,
        }
    }
}

impl PeerKind {
    /// Who is compared when nobody is named: maps, without the variants with arrays or vectors.
    pub const USUAL: [PeerKind; 9] = [
        Self::Untorn,
        Self::Crossbeam,
        Self::Artmap,
        Self::ArtmapArena,
        Self::Masstree,
        Self::Scc,
        Self::Btree,
        Self::Dashmap,
        Self::Papaya,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Untorn => "untorn",
            Self::Crossbeam => "crossbeam",
            Self::CrossbeamVec => "crossbeam-vec",
            Self::CrossbeamArray => "crossbeam-array",
            Self::Artmap => "artmap",
            Self::ArtmapArray => "artmap-array",
            Self::ArtmapArena => "artmap-arena",
            Self::Masstree => "masstree",
            Self::Scc => "scc",
            Self::Btree => "btree",
            Self::Dashmap => "dashmap",
            Self::Papaya => "papaya",
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => "rocksdb",
            Self::MemBuffer => "mem-buffer",
            Self::ClientBuffer => "client-buffer",
        }
    }

    /// Does something with the peer's type.
    pub fn dispatch<W: WithPeer>(self, what: W) -> W::Out {
        type Key16 = [u8; 16];
        type Value = [u8; VALUE_LEN];
        match self {
            Self::Untorn => what.with::<UntornPeer>(),
            Self::Crossbeam => what.with::<SkipMapPeer<Bytes, Bytes>>(),
            Self::CrossbeamVec => what.with::<SkipMapPeer<Vec<u8>, Vec<u8>>>(),
            Self::CrossbeamArray => what.with::<SkipMapPeer<Key16, Value>>(),
            Self::Artmap => what.with::<ArtPeer<ByteSlice, Box<[u8]>>>(),
            Self::ArtmapArray => what.with::<ArtPeer<Key16, Value>>(),
            Self::ArtmapArena => what.with::<ArenaPeer<ByteSlice, Box<[u8]>>>(),
            Self::Masstree => what.with::<MasstreePeer>(),
            Self::Scc => what.with::<TreeIndexPeer>(),
            Self::Btree => what.with::<BTreePeer>(),
            Self::Dashmap => what.with::<DashPeer>(),
            Self::Papaya => what.with::<PapayaPeer>(),
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => what.with::<RocksPeer>(),
            Self::MemBuffer => what.with::<MemBufferPeer>(),
            Self::ClientBuffer => what.with::<ClientBufferPeer>(),
        }
    }

    /// What it is for.
    pub fn family(self) -> Family {
        match self {
            Self::MemBuffer | Self::ClientBuffer => Family::Buffer,
            _ => Family::Memtable,
        }
    }

    /// This one is Untorn's.
    pub fn is_ours(self) -> bool {
        self == self.family().ours()
    }

    /// Why this peer cannot do that workload on those keys; `None` if it can.
    pub fn cannot(self, workload: Workload, keys: KeyKind) -> Option<&'static str> {
        let traits = self.dispatch(Traits);
        if traits.key_len.is_some() && traits.key_len != keys.key_len() {
            Some("keys of one fixed length only")
        } else if workload.is_of_whole_tables() && !traits.is_table {
            Some("more than a table")
        } else if workload.needs_order() && !traits.ordered {
            Some("unordered")
        } else if workload.writes_without_end() && !traits.reclaims {
            Some("its fixed arena would run full")
        } else {
            None
        }
    }
}
