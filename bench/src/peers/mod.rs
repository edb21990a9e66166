//! One file per peer, each through the interface that its authors recommend for speed.

mod artmap;
mod btree;
mod client_buffer;
mod crossbeam;
mod dashmap;
mod masstree;
mod mem_buffer;
mod papaya;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod scc;
mod untorn;

pub use artmap::{ArenaPeer, ArtPeer};
pub use btree::BTreePeer;
pub use client_buffer::ClientBufferPeer;
pub use crossbeam::SkipMapPeer;
pub use dashmap::DashPeer;
pub use masstree::MasstreePeer;
pub use mem_buffer::MemBufferPeer;
pub use papaya::PapayaPeer;
#[cfg(feature = "rocksdb")]
pub use rocksdb::RocksPeer;
#[cfg(feature = "rocksdb")]
pub(crate) use rocksdb::WRITE_BUFFER;
pub use scc::TreeIndexPeer;
pub use untorn::UntornPeer;
