//! Whether the files, merged, hold what was written.

use crate::Failure;
use crate::rows::Row;
use crate::sorted_file::{Record, Records, SortedFile};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Merges the files, of which a later name holds newer rows, and compares each row with what must be left of it.
/// Answers how many are left.
pub fn merged_equals_input(
    files: &[SortedFile],
    rows: u64,
    value_len: usize,
) -> Result<u64, Failure> {
    let mut left = 0;
    let mut deleted = 0;
    for merged in Merged::new(files)? {
        let (key, value) = merged?;
        let row = Row::of_key(&key).filter(|row| row.number() < rows);
        let row = row.ok_or("a key that nobody wrote")?;
        let expected = row
            .last_version()
            .map(|version| row.value(version, value_len));
        if value != expected {
            return Err(format!("row {} is not what was written last", row.number()).into());
        }
        match value {
            Some(_) => left += 1,
            None => deleted += 1,
        }
    }
    match left + deleted == rows {
        true => Ok(left),
        false => Err(format!("{} rows of {rows} are in the files", left + deleted).into()),
    }
}

/// The next record of a source, in the order in which records are wanted: by key, then from the newest source on.
type Next = (Vec<u8>, Reverse<usize>, Option<Vec<u8>>);

/// All files in order of keys, the newest record of each.
struct Merged {
    /// From the oldest to the newest.
    sources: Vec<Records>,
    next: BinaryHeap<Reverse<Next>>,
    last: Option<Vec<u8>>,
}

impl Merged {
    fn new(files: &[SortedFile]) -> Result<Merged, Failure> {
        let mut oldest_first: Vec<_> = files.iter().collect();
        oldest_first.sort_by_key(|file| file.name());
        let sources: Result<Vec<_>, _> = oldest_first.into_iter().map(SortedFile::read).collect();
        let sources = sources?;
        let mut merged = Merged {
            next: BinaryHeap::with_capacity(sources.len()),
            sources,
            last: None,
        };
        for source in 0..merged.sources.len() {
            merged.refill(source)?;
        }
        Ok(merged)
    }

    fn refill(&mut self, source: usize) -> Result<(), Failure> {
        if let Some(record) = self.sources[source].next() {
            let (key, value) = record?;
            self.next.push(Reverse((key, Reverse(source), value)));
        }
        Ok(())
    }

    fn record(&mut self) -> Result<Option<Record>, Failure> {
        while let Some(Reverse((key, Reverse(source), value))) = self.next.pop() {
            self.refill(source)?;
            if self.last.as_ref() == Some(&key) {
                continue;
            }
            if self.last.as_ref() > Some(&key) {
                return Err("a file is not sorted".into());
            }
            self.last = Some(key.clone());
            return Ok(Some((key, value)));
        }
        Ok(None)
    }
}

impl Iterator for Merged {
    type Item = Result<Record, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.record().transpose()
    }
}
