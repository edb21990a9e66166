//! One file per peer, each through the interface that its authors recommend for speed.

mod artmap;
mod btree;
mod crossbeam;
mod dashmap;
mod masstree;
mod papaya;
mod scc;
mod untorn;

pub use artmap::{ArenaPeer, ArtPeer};
pub use btree::BTreePeer;
pub use crossbeam::SkipMapPeer;
pub use dashmap::DashPeer;
pub use masstree::MasstreePeer;
pub use papaya::PapayaPeer;
pub use scc::TreeIndexPeer;
pub use untorn::UntornPeer;
