//! What an insert does to the table's counters, without the insert.

use untorn_memtable::{__measure, Memtable};

use crate::keys::VALUE_LEN;

/// Inserts that one call of the loop counts. It looks for the key first, which is not to tell.
pub(super) const A_CALL: usize = 1_000;

/// Keys between those of two threads, whose entries are to have no line in common.
const APART: usize = 16;

/// A table that counts inserts which are not made: of one key for each thread.
pub(super) struct Counters {
    table: Memtable,
    threads: usize,
}

fn key(number: usize) -> [u8; 16] {
    (number as u128).to_be_bytes()
}

impl Counters {
    pub(super) fn new(threads: usize) -> Self {
        let table = Memtable::new();
        for number in 0..threads * APART {
            table
                .insert(key(number), [0; VALUE_LEN])
                .expect("benchmark keys and values are far below the limits");
        }
        Self { table, threads }
    }

    /// Of the call's thread.
    pub(super) fn count(&self, call: usize) -> bool {
        __measure::count_again(&self.table, &key(call % self.threads * APART), A_CALL)
    }
}

#[cfg(test)]
mod tests {
    use super::{A_CALL, APART, Counters, key};
    use untorn_memtable::__measure;

    #[test]
    fn what_is_counted_again_is_counted_and_not_there() {
        let counters = Counters::new(2);
        assert!((0..3).all(|call| counters.count(call)));
        let stats = counters.table.stats();
        assert_eq!(stats.len, 2 * APART + 3 * A_CALL);
        assert_eq!(stats.size, stats.len * (16 + 64));
        let there = counters.table.pin().range::<&[u8]>(..).count();
        assert_eq!(there, 2 * APART);
    }

    #[test]
    fn a_key_that_is_not_there_is_not_counted() {
        let counters = Counters::new(1);
        assert!(!__measure::count_again(&counters.table, &key(APART), 1));
        assert_eq!(counters.table.stats().len, APART);
    }
}
