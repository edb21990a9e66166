//! One colour for each peer, the same in every chart. After Okabe and Ito: apart for colour-blind eyes, too.

use plotters::style::RGBColor;

use crate::roster::PeerKind;

/// The colours of Okabe and Ito, Untorn's first.
pub(super) const COLORS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(120, 120, 120),
    RGBColor(60, 60, 60),
];

/// A peer's colour.
pub fn color_of(peer: PeerKind) -> RGBColor {
    use PeerKind as P;
    let at = match peer {
        P::Untorn | P::MemBuffer => 0,
        P::Crossbeam | P::CrossbeamVec | P::CrossbeamArray | P::ClientBuffer => 1,
        P::Artmap | P::ArtmapArray => 2,
        P::ArtmapArena => 7,
        #[cfg(feature = "rocksdb")]
        P::Rocksdb => 7,
        P::Masstree => 3,
        P::Scc => 4,
        P::Btree => 5,
        P::Dashmap | P::Papaya => 6,
    };
    COLORS[at]
}
