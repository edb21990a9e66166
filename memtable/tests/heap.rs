//! What a table holds on the heap.

#![allow(clippy::unwrap_used)]

use untorn_memtable::Memtable;

#[test]
fn an_empty_table_owns_no_heap() {
    // The thread's participant in the collector is the process's, not the table's.
    untorn_memtable::reclaim_garbage();
    // Of this thread alone: the test harness has one, too.
    let touched = allocation_counter::measure(|| {
        let table = Memtable::new();
        assert_eq!(table.len(), 0);
        assert_eq!(table.get("k"), None);
        assert_eq!(table.pin().range::<&[u8]>(..).next(), None);
        assert_eq!(table.pin().range::<&[u8]>(..).next_back(), None);
        assert_eq!(table.remove("k").unwrap(), None);
    });
    assert_eq!((touched.count_total, touched.count_current), (0, 0));
}
