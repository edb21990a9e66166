//! How transactions ended whose locks may be in the way: those of others, as the cluster has told, and those of this process that
//! left locks behind.

use crate::store::{Timestamp, lock};
use std::collections::HashMap;
use std::sync::Mutex;

/// How many transactions one half remembers.
const MOST: usize = 4096;

/// The ends of the last few thousand.
#[derive(Debug, Default)]
pub(super) struct Decided {
    notes: Mutex<Notes>,
}

/// Commit timestamps by start timestamps; zero for rolled back. The older half is forgotten once the newer one is full.
#[derive(Debug, Default)]
struct Notes {
    newer: HashMap<Timestamp, Timestamp>,
    older: HashMap<Timestamp, Timestamp>,
}

impl Decided {
    pub(super) fn of(&self, start: Timestamp) -> Option<Timestamp> {
        let notes = lock(&self.notes);
        let note = notes.newer.get(&start).or_else(|| notes.older.get(&start));
        note.copied()
    }

    pub(super) fn note(&self, start: Timestamp, decided: Timestamp) {
        let mut notes = lock(&self.notes);
        if notes.newer.len() >= MOST {
            notes.older = std::mem::take(&mut notes.newer);
        }
        notes.newer.insert(start, decided);
    }
}
