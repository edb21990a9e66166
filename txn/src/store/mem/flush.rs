//! The generations of a pipelined transaction.
//!
//! Each is put down like a prewrite, under the transaction's mutex. What is new: a key may have an intent of the same
//! transaction already. A larger generation replaces that in place, where readers see nothing but an intent as before; a
//! smaller or equal one, which comes late or twice, leaves it. The key has been locked since its first generation, so
//! conflicts are looked for only then; what was committed of it lies in the history until the end.

use super::commit::{PutDown, What, Written};
use super::core::{Core, Open};
use super::log;
use super::record::{Record, decode_old, old_key};
use crate::Entry;
use crate::error::Error;
use crate::store::{AssertionLevel, Flush, Mutation, MutationOp, Timestamp};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Which generation each key is of, and its place among what was put down.
#[derive(Debug, Default)]
pub(super) struct Generations {
    places: BTreeMap<Bytes, Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    generation: u64,
    at: usize,
}

impl Generations {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether this generation or a later one has written the key.
    fn is_past(&self, key: &Bytes, generation: u64) -> bool {
        let place = self.places.get(key);
        place.is_some_and(|place| place.generation >= generation)
    }
}

impl Core {
    /// Checks a generation and puts it down: a rollback comes before all of it or after.
    pub(super) fn put_generation_down(&self, open: &Open, request: &Flush) -> Result<(), Error> {
        let start = open.held.at;
        let prewrite = &request.prewrite;
        let mut put_down = open.put_down.lock();
        open.check_undecided()?;
        if !put_down.keys.is_empty() && put_down.generations.is_empty() {
            return Err(Error::OptionConflict {
                reason: "the transaction was prewritten, and is not pipelined",
            });
        }
        if open.fate.is_with_log() {
            // Only one that comes again can come now: a transaction has flushed all before it commits.
            return Ok(());
        }
        self.check_log()?;
        let is_due = |mutation: &&Mutation| {
            !put_down
                .generations
                .is_past(&mutation.key, request.generation)
        };
        let due: Vec<&Mutation> = prewrite.mutations.iter().filter(is_due).collect();
        let is_strict = prewrite.assertions == AssertionLevel::Strict;
        let mut failed = None;
        for mutation in &due {
            let own = put_down.generations.places.get(&mutation.key);
            let found = match own.map(|place| &put_down.keys[place.at]) {
                None => self.check(start, mutation, is_strict)?,
                Some(written) => self.check_again(start, mutation, written, is_strict)?,
            };
            failed = failed.or(found);
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        for mutation in due {
            self.put_one_down(start, request.generation, mutation, &mut put_down)?;
        }
        Ok(())
    }

    /// What was committed below an intent of the transaction itself, against what is asserted.
    fn check_again(
        &self,
        start_ts: Timestamp,
        mutation: &Mutation,
        written: &Written,
        is_strict: bool,
    ) -> Result<Option<Error>, Error> {
        if matches!(
            mutation.op,
            MutationOp::Insert(_) | MutationOp::CheckNotExists
        ) {
            return Err(Error::OptionConflict {
                reason: "a generation has written the key that is to be absent",
            });
        }
        if !is_strict {
            return Ok(None);
        }
        let exists = written.replaced.is_some_and(|time| {
            let pinned = self.history.pin();
            let old = pinned.entry(old_key(&written.key, time));
            old.is_some_and(|item| decode_old(item.tag, item.value).1.is_some())
        });
        let holds = mutation.assertion.holds(exists);
        Ok((!holds).then(|| Error::AssertionFailed {
            key: mutation.key.clone(),
            start_ts,
            assertion: mutation.assertion,
        }))
    }

    fn put_one_down(
        &self,
        start: Timestamp,
        generation: u64,
        mutation: &Mutation,
        put_down: &mut PutDown,
    ) -> Result<(), Error> {
        let key = &mutation.key;
        let (what, value) = match &mutation.op {
            MutationOp::Put(value) | MutationOp::Insert(value) => {
                (What::Value, Some(value.as_ref()))
            }
            MutationOp::Delete => (What::Deletion, None),
            MutationOp::CheckNotExists => return Ok(()),
            MutationOp::Lock => {
                return Err(Error::OptionConflict {
                    reason: "a generation holds no locks without writes",
                });
            }
        };
        let PutDown {
            keys, generations, ..
        } = put_down;
        if let Some(place) = generations.places.get_mut(key) {
            self.write_intent(start, key, value)?;
            place.generation = generation;
            keys[place.at].what = what;
            return Ok(());
        }
        let replaced = self.move_to_history(key)?;
        self.write_intent(start, key, value)?;
        let at = keys.len();
        generations
            .places
            .insert(key.clone(), Place { generation, at });
        keys.push(Written {
            key: key.clone(),
            what,
            replaced,
        });
        Ok(())
    }

    /// The transaction's own intents.
    pub(super) fn flushed(
        &self,
        start: Timestamp,
        keys: &[Bytes],
    ) -> Result<Vec<Option<Entry>>, Error> {
        let open = self.open(start)?;
        let found = keys.iter().map(|key| self.own_intent(start, key)).collect();
        // Asked after the look: a rollback takes intents out.
        open.check_undecided()?;
        Ok(found)
    }

    fn own_intent(&self, start: Timestamp, key: &[u8]) -> Option<Entry> {
        let pinned = self.newest.pin();
        let item = pinned.entry(key)?;
        let record = Record::decode(item.tag, item.value);
        (record.intent && record.start == start).then(|| match record.value {
            Some(value) => Entry::Value(Bytes::copy_from_slice(value)),
            None => Entry::Tombstone,
        })
    }

    /// What the log is to hold: the newest generation of each key.
    pub(super) fn entry_of_generations(&self, start: Timestamp, put_down: &PutDown) -> log::Entry {
        let mut entry = log::Entry::new(start);
        let pinned = self.newest.pin();
        for written in &put_down.keys {
            if let Some(item) = pinned.entry(&written.key) {
                entry.push(&written.key, Record::decode(item.tag, item.value).value);
            }
        }
        entry
    }
}
