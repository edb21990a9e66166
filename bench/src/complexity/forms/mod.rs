//! The forms of use: one file for each thing that is done again and again.
//!
//! A form is a name and a function. It makes what it works on, does its operations within [`Trial::time`](super::Trial::time), and holds
//! what it finds afterwards against what must be there.

mod batches;
mod buffers;
mod engines;
mod nested;
mod overwrites;
mod queues;
mod reads;
mod savepoints;
mod snapshots;
mod stages;
mod statements;
mod transactions;

use serde::{Deserialize, Serialize};
use untorn_memtable::Memtable;

use super::trial::Trial;

/// Something that a user of a storage engine or of transactions does many times.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What is done.
    pub name: &'static str,
    /// Why it is not flat, where that is known.
    pub known: Option<&'static str>,
    /// Does it.
    pub(super) run: fn(&mut Trial),
}

impl Form {
    pub(super) const fn new(name: &'static str, run: fn(&mut Trial)) -> Self {
        Self {
            name,
            known: None,
            run,
        }
    }

    /// That it grows is known, and why.
    const fn known(self, why: &'static str) -> Self {
        Self {
            known: Some(why),
            ..self
        }
    }
}

/// What forms are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// `untorn_memtable::Memtable`.
    Memtable,
    /// What an engine builds of memtables: `MemtableSet` and `SequencedMemtable`.
    Engine,
    /// `untorn_txn::MemBuffer`.
    Buffer,
    /// `untorn_txn::Transaction` on the embedded store.
    Transaction,
}

impl Subject {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memtable => "memtable",
            Self::Engine => "engine",
            Self::Buffer => "buffer",
            Self::Transaction => "transaction",
        }
    }
}

/// Every form.
pub fn all() -> impl Iterator<Item = (Subject, &'static Form)> {
    let files: [(Subject, &[Form]); 12] = [
        (Subject::Memtable, overwrites::FORMS),
        (Subject::Memtable, snapshots::FORMS),
        (Subject::Memtable, stages::FORMS),
        (Subject::Memtable, nested::FORMS),
        (Subject::Memtable, savepoints::FORMS),
        (Subject::Memtable, batches::FORMS),
        (Subject::Memtable, queues::FORMS),
        (Subject::Memtable, reads::FORMS),
        (Subject::Engine, engines::FORMS),
        (Subject::Buffer, buffers::FORMS),
        (Subject::Buffer, statements::FORMS),
        (Subject::Transaction, transactions::FORMS),
    ];
    let of = |(subject, forms): (Subject, &'static [Form])| {
        forms.iter().map(move |form| (subject, form))
    };
    files.into_iter().flat_map(of)
}

/// Why writes grow beside marks that part every version from the next.
const MANY_VERSIONS: &str = "a write looks at 16 versions of its key that are kept, and ever more seldom at more; a row has n / 1,000 \
     of them here, anywhere in memory";

/// Why rollbacks grow beside snapshots of what they take back.
const SHOWN_HOLES: &str = "what was taken back stays in the view for as long as a snapshot shows it, and who opens or closes a stage copies that";

const SHORT: &str = "short keys and values, and no limit";

const INNERMOST: &str = "it is the innermost stage";

const VALID: &str = "no stage is open, and no older savepoint was rolled back";

/// The row that is written again and again.
const HOT: u64 = 5;

/// Rows of a table before a form begins.
const ROWS: u64 = 1_000;

/// What they hold.
const OLD: &[u8] = b"old";

/// What a form writes.
const NEW: &[u8] = b"new";

/// The key of a row.
fn key(row: u64) -> [u8; 8] {
    row.to_be_bytes()
}

/// A table of [`ROWS`] rows.
fn rows() -> Memtable {
    let table = Memtable::new();
    for row in 0..ROWS {
        put(&table, row, OLD);
    }
    table
}

fn put(table: &Memtable, row: u64, value: &[u8]) {
    table.insert(key(row), value).expect(SHORT);
}

/// Writes [`NEW`] into some of the rows.
fn touch(table: &Memtable, rows: impl IntoIterator<Item = u64>) {
    rows.into_iter().for_each(|row| put(table, row, NEW));
}

/// What a row holds.
fn value(table: &Memtable, row: u64) -> Option<Vec<u8>> {
    table.get(key(row)).map(Vec::from)
}

fn is(value: &[u8]) -> Option<Vec<u8>> {
    Some(value.to_vec())
}
