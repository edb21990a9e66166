//! The counters without the write that they count. Exists with the feature `measure` alone, for `untorn-bench`, and is no API.

use crate::account::{Announced, delta_of};
use crate::entry::Head;
use crate::memtable::Memtable;
use crate::reclaim;
use crate::stamp::Stamp;

/// Does `times` to the counters what an insert of the key does: claims a stripe, announces the key's newest version, books it,
/// and lets the stripe go. So the table counts the key `times` more than it holds it. False if it does not hold it.
pub fn count_again(table: &Memtable, key: &[u8], times: usize) -> bool {
    let guard = reclaim::pin();
    let table = table.table();
    let Some(Head::Live(version)) = table.find(key, &guard).map(|entry| entry.head()) else {
        return false;
    };
    let Stamp::At(segment) = version.stamp() else {
        return false;
    };
    for _ in 0..times {
        let mut claim = table.account.claim();
        claim.announce(Announced::version(version));
        let delta = delta_of(version, table.persistent_mask);
        claim.fold(delta, segment, &table.clock.now(&guard), &guard);
        version.mark_booked();
    }
    true
}
