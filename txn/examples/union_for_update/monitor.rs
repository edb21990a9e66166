//! The observer: reads length, size and dirtiness while the branches lock, and checks every reading.
//!
//! While the transaction only locks, its buffer holds one flags-only key per locked row. So what can be read is
//! known beforehand:
//!
//! - the length never falls, is never below the rows whose lock calls had returned before the reading, and never
//!   above the rows asked for or in the table;
//! - the size of a pair *length, size* lies between the sum of the shortest and the sum of the longest keys of
//!   that number; with keys of one length, as in the bundled table, it is exactly determined;
//! - length and size read by themselves lie between the pairs read before and after;
//! - once dirty, always dirty; dirty as soon as there is a key; read-only is the contrary of dirty.
//!
//! A reading that breaks one of these is counted as torn.

use super::round::Progress;
use super::table::Row;
use serde::Serialize;
use std::sync::atomic::Ordering;
use untorn_txn::Transaction;
use untorn_txn::buffer::Stats;

/// What the monitor saw.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// Readings taken; each is two pairs, a length, a size, and two flags.
    pub readings: u64,
    pub smallest_len: usize,
    pub largest_len: usize,
    pub smallest_size: usize,
    pub largest_size: usize,
    /// Readings taken while the buffer was growing: neither empty nor complete.
    pub halfway: u64,
    /// Readings that cannot be.
    pub torn: u64,
    /// The first of them.
    pub first_torn: Option<String>,
}

impl Seen {
    fn torn(&mut self, what: impl FnOnce() -> String) {
        self.torn += 1;
        self.first_torn.get_or_insert_with(what);
    }

    /// Adds what was seen in another round.
    pub fn add(&mut self, other: Seen) {
        if self.readings == 0 {
            *self = other;
            return;
        }
        self.readings += other.readings;
        self.smallest_len = self.smallest_len.min(other.smallest_len);
        self.largest_len = self.largest_len.max(other.largest_len);
        self.smallest_size = self.smallest_size.min(other.smallest_size);
        self.largest_size = self.largest_size.max(other.largest_size);
        self.halfway += other.halfway;
        self.torn += other.torn;
        self.first_torn = self.first_torn.take().or(other.first_torn);
    }
}

/// The least and the most that `n` keys of a table can add up to.
pub struct Sizes {
    least: Vec<usize>,
    most: Vec<usize>,
}

impl Sizes {
    pub fn of(table: &[Row]) -> Self {
        let mut lengths: Vec<usize> = table.iter().map(|(key, _)| key.len()).collect();
        lengths.sort_unstable();
        let sums = |lengths: &mut dyn Iterator<Item = &usize>| {
            let mut sums = vec![0];
            for length in lengths {
                sums.push(sums[sums.len() - 1] + length);
            }
            sums
        };
        Self {
            least: sums(&mut lengths.iter()),
            most: sums(&mut lengths.iter().rev()),
        }
    }

    fn allow(&self, stats: Stats) -> bool {
        stats.len < self.least.len()
            && (self.least[stats.len]..=self.most[stats.len]).contains(&stats.size)
    }
}

/// Reads until the branches are done, and once more then.
pub fn run(txn: &Transaction, rows: usize, sizes: &Sizes, progress: &Progress) -> Seen {
    let mut seen = Seen {
        smallest_len: usize::MAX,
        smallest_size: usize::MAX,
        ..Seen::default()
    };
    let mut last = Stats::default();
    let mut was_dirty = false;
    loop {
        let is_last = progress.is_done();
        let locked = progress.locked.load(Ordering::SeqCst) as usize;
        let first = txn.stats();
        let len = txn.len();
        let size = txn.size();
        let dirty = txn.is_dirty();
        let read_only = txn.is_read_only();
        let second = txn.stats();
        let asked = progress.asked.load(Ordering::SeqCst) as usize;
        seen.readings += 1;
        seen.smallest_len = seen.smallest_len.min(first.len);
        seen.largest_len = seen.largest_len.max(second.len);
        seen.smallest_size = seen.smallest_size.min(first.size);
        seen.largest_size = seen.largest_size.max(second.size);
        seen.halfway += u64::from(first.len > 0 && first.len < rows);

        let rises = last.len <= first.len && first.len <= second.len;
        let within = locked <= first.len && second.len <= asked.min(rows);
        let paired = sizes.allow(first) && sizes.allow(second);
        let between =
            (first.len..=second.len).contains(&len) && (first.size..=second.size).contains(&size);
        let flags = (dirty || !(was_dirty || first.len > 0)) && !(dirty && read_only);
        if !(rises && within && paired && between && flags) {
            seen.torn(|| {
                format!(
                    "after {last:?}: {first:?}, len {len}, size {size}, dirty {dirty}, read-only {read_only}, \
                     {second:?}, with {locked} locked before and {asked} asked for after"
                )
            });
        }
        last = second;
        was_dirty |= dirty;
        if is_last {
            return seen;
        }
        std::hint::spin_loop();
    }
}
