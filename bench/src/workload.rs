//! Workloads, under the names that LevelDB's and RocksDB's benchmarks gave them.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is done to a table. The order is the order in which one pass over a peer does them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Insert all keys in ascending order; threads take turns, so that they meet at the right edge.
    #[value(name = "fillseq")]
    FillSeq,
    /// Insert all keys in random order.
    #[value(name = "fillrandom")]
    FillRandom,
    /// As fillrandom, 64 keys a call: as one batch where there is such a thing; per key.
    #[value(name = "fillbatch")]
    FillBatch,
    /// Get every key once, in random order.
    #[value(name = "readrandom")]
    ReadRandom,
    /// As readrandom, but which key is next hangs on the value before: no get begins before the last has ended.
    #[value(name = "readdependent")]
    ReadDependent,
    /// As readrandom, 64 keys a call; per key.
    #[value(name = "multireadrandom")]
    MultiReadRandom,
    /// Get keys that are not there.
    #[value(name = "readmissing")]
    ReadMissing,
    /// Get by a Zipf law.
    #[value(name = "zipf")]
    Zipf,
    /// Read the whole table in order; per entry.
    #[value(name = "readseq")]
    ReadSeq,
    /// Find a random key and read 50 entries from there; per scan.
    #[value(name = "seekrandom")]
    SeekRandom,
    /// Replace the value of every key once, in random order.
    #[value(name = "overwrite")]
    Overwrite,
    /// As overwrite, 64 keys a call, as one batch; per key.
    #[value(name = "overwritebatch")]
    OverwriteBatch,
    /// 95 gets to 5 overwrites, in random order.
    #[value(name = "mixed95")]
    Mixed95,
    /// 50 gets to 50 overwrites, in random order.
    #[value(name = "mixed50")]
    Mixed50,
    /// Get in random order while one thread more overwrites without a pause; per get.
    #[value(name = "readwhilewriting")]
    ReadWhileWriting,
    /// Drop the table; per entry, on the caller's thread.
    #[value(name = "drop")]
    Drop,
    /// Make a table, insert 10 keys, drop it; per table.
    #[value(name = "tiny")]
    Tiny,
    /// Bytes that a freshly filled table holds, per entry.
    #[value(name = "memory")]
    Memory,
    /// Bytes that a new table holds before anything is in it.
    #[value(name = "empty")]
    Empty,
}

/// Entries that one scan of [`Workload::SeekRandom`] reads.
pub const SCAN_LEN: usize = 50;

/// Keys of one call of the workloads that take many.
pub const KEYS_A_CALL: usize = 64;

/// Keys in a table of [`Workload::Tiny`].
pub const TINY_KEYS: usize = 10;

impl Workload {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::FillSeq => "fillseq",
            Self::FillRandom => "fillrandom",
            Self::FillBatch => "fillbatch",
            Self::ReadRandom => "readrandom",
            Self::ReadDependent => "readdependent",
            Self::MultiReadRandom => "multireadrandom",
            Self::ReadMissing => "readmissing",
            Self::Zipf => "zipf",
            Self::ReadSeq => "readseq",
            Self::SeekRandom => "seekrandom",
            Self::Overwrite => "overwrite",
            Self::OverwriteBatch => "overwritebatch",
            Self::Mixed95 => "mixed95",
            Self::Mixed50 => "mixed50",
            Self::ReadWhileWriting => "readwhilewriting",
            Self::Drop => "drop",
            Self::Tiny => "tiny",
            Self::Memory => "memory",
            Self::Empty => "empty",
        }
    }

    /// What its figure is of.
    pub fn unit(self) -> &'static str {
        match self {
            Self::SeekRandom => "ns/scan of 50",
            Self::ReadSeq | Self::Drop => "ns/entry",
            Self::Tiny => "ns/table",
            Self::Memory => "bytes/entry",
            Self::Empty => "bytes/table",
            _ => "ns/op",
        }
    }

    /// It is weighed, not timed.
    pub fn is_size(self) -> bool {
        matches!(self, Self::Memory | Self::Empty)
    }

    /// Looks at a table as a whole: its memory, how it is made and dropped.
    pub fn is_of_whole_tables(self) -> bool {
        self.is_size() || matches!(self, Self::Drop | Self::Tiny)
    }

    /// Asks for entries in order.
    pub fn needs_order(self) -> bool {
        matches!(self, Self::SeekRandom | Self::ReadSeq)
    }

    /// Overwrites for as long as readers read.
    pub fn writes_without_end(self) -> bool {
        self == Self::ReadWhileWriting
    }
}
