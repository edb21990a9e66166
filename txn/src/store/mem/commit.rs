//! The two phases of a commit, and the way back. The protocol is told in the module of the store.

use super::collect::{Superseded, removed};
use super::core::{Core, Open, Standing};
use super::decision::Verdict;
use super::ended::End;
use super::flush::Generations;
use super::log::{Entry, Queue, Waiting};
use super::record::{Record, encode_old, old_key};
use crate::error::{ConflictReason, Error};
use crate::mutant::planted;
use crate::store::{Answer, AssertionLevel, Guard, Mutation, MutationOp, Prewrite, Timestamp};
use crate::sync::MutexGuard;
use bytes::Bytes;
use std::borrow::Cow;
use untorn_memtable::Update;

/// What a transaction has put down so far.
///
/// Its mutex is held through each phase, and through the end: a request that comes twice or late finds a phase
/// done, or not begun.
#[derive(Debug, Default)]
pub(super) struct PutDown {
    pub(super) keys: Vec<Written>,
    /// Of a pipelined transaction.
    pub(super) generations: Generations,
    /// The same for the log, where there is one.
    entry: Option<Entry>,
    ended: bool,
}

/// One key that was put down.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) key: Bytes,
    pub(super) what: What,
    /// When the record that the intent replaced was committed; `None` if there was none.
    pub(super) replaced: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Value,
    Deletion,
    /// No intent: the key is only touched.
    Touch,
}

impl Core {
    /// Checks the mutations and puts them down, all under the transaction's mutex: a rollback comes
    /// before all of it or after.
    pub(super) fn put_down(&self, open: &Open, request: &Prewrite) -> Result<(), Error> {
        let mutations = &request.mutations;
        let start = open.held.at;
        let mut put_down = open.put_down.lock();
        open.check_undecided()?;
        if !put_down.keys.is_empty() {
            return Ok(());
        }
        self.check_log()?;
        // All checks first: a transaction that fails leaves no traces to take back.
        let is_strict = request.assertions == AssertionLevel::Strict;
        let mut failed = None;
        for mutation in mutations {
            failed = failed.or(self.check(start, mutation, is_strict)?);
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        let done = self.put_down_all(start, mutations, &mut put_down);
        if done.is_err() {
            self.undo(std::mem::take(&mut put_down.keys));
        }
        done
    }

    fn put_down_all(
        &self,
        start: Timestamp,
        mutations: &[Mutation],
        put_down: &mut PutDown,
    ) -> Result<(), Error> {
        put_down.keys.reserve(mutations.len());
        let mut entry = self.log.is_some().then(|| Entry::new(start));
        for mutation in mutations {
            let (what, value) = match &mutation.op {
                MutationOp::Put(value) | MutationOp::Insert(value) => {
                    (What::Value, Some(value.as_ref()))
                }
                MutationOp::Delete => (What::Deletion, None),
                MutationOp::Lock => (What::Touch, None),
                MutationOp::CheckNotExists => continue,
            };
            let replaced = if what == What::Touch {
                None
            } else {
                let replaced = self.move_to_history(&mutation.key)?;
                self.write_intent(start, &mutation.key, value)?;
                if let Some(entry) = &mut entry {
                    entry.push(&mutation.key, value);
                }
                replaced
            };
            put_down.keys.push(Written {
                key: mutation.key.clone(),
                what,
                replaced,
            });
        }
        put_down.entry = entry.filter(|entry| !entry.is_empty());
        Ok(())
    }

    /// Refuses where no commit would be taken.
    pub(super) fn check_log(&self) -> Result<(), Error> {
        match self.log.as_ref().and_then(Queue::failure) {
            Some(failure) => Err(Error::log_failed(failure)),
            None => Ok(()),
        }
    }

    /// The conflict first, then what was presumed. A failed assertion is told back: a conflict of a later key
    /// comes first.
    pub(super) fn check(
        &self,
        start: Timestamp,
        mutation: &Mutation,
        is_strict: bool,
    ) -> Result<Option<Error>, Error> {
        let presumed_absent = matches!(
            mutation.op,
            MutationOp::Insert(_) | MutationOp::CheckNotExists
        );
        let is_checked = mutation.guard == Guard::Checked;
        if !is_checked && !presumed_absent && !is_strict {
            return Ok(None);
        }
        let seen = self.seen(&mutation.key, false);
        let key = || mutation.key.clone();
        if is_checked {
            if seen.time > start {
                return Err(Error::WriteConflict {
                    key: key(),
                    start_ts: start,
                    read_ts: start,
                    conflict_start_ts: seen.start,
                    conflict_commit_ts: seen.time,
                    reason: ConflictReason::Commit,
                });
            }
            // Asked after the look: what was dropped below the safe point might have been a conflict.
            self.still_kept(start)?;
        }
        if presumed_absent && seen.exists {
            return Err(Error::KeyExists { key: key() });
        }
        let holds = !is_strict || mutation.assertion.holds(seen.exists);
        Ok((!holds).then(|| Error::AssertionFailed {
            key: key(),
            start_ts: start,
            assertion: mutation.assertion,
        }))
    }

    /// Copies the committed record of a key into the history, before it is replaced.
    pub(super) fn move_to_history(&self, key: &Bytes) -> Result<Option<Timestamp>, Error> {
        let pinned = self.newest.pin();
        let Some(item) = pinned.entry(key) else {
            return Ok(None);
        };
        let record = Record::decode(item.tag, item.value);
        let (tag, bytes) = encode_old(record.start, record.value);
        write(
            &self.history,
            &old_key(key, record.time),
            tag,
            &bytes,
            key.len(),
        )?;
        Ok(Some(record.time))
    }

    pub(super) fn write_intent(
        &self,
        start: Timestamp,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let intent = Record {
            time: start,
            start,
            intent: true,
            value,
        };
        self.write_newest(key, intent)
    }

    pub(super) fn write_newest(&self, key: &[u8], record: Record<'_>) -> Result<(), Error> {
        write(&self.newest, key, record.tag(), &record.encode(), key.len())
    }

    /// Decides, resolves and ends the transaction: at once, or when its entry is in the log.
    pub(super) fn decide(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        let open = match self.standing(start) {
            Ok(Standing::Open(open)) => open,
            Ok(Standing::Ended(End::Committed(time))) => return Answer::ready(Ok(time)),
            Ok(Standing::Ended(end)) => return Answer::ready(Err(end.closed())),
            Err(error) => return Answer::ready(Err(error)),
        };
        let mut put_down = open.put_down.lock();
        if let Some(log) = &self.log
            && !open.fate.is_with_log()
            && let Some(entry) = self.entry(&open, &mut put_down)
            && open.decision.verdict() == Verdict::Undecided
            && let Err(failure) = log.push(&open, entry)
        {
            self.roll_back(&open, &mut put_down);
            return Answer::ready(Err(Error::log_failed(failure)));
        }
        if open.fate.is_with_log() {
            drop(put_down);
            return Answer::Waiting(Box::pin(Waiting::new(self, open)));
        }
        Answer::ready(match open.decision.commit(&self.oracle) {
            Verdict::Committed(time) => {
                self.resolve_all(&open, put_down, time);
                Ok(time)
            }
            _ => Err(End::RolledBack.closed()),
        })
    }

    /// What the log is to hold of the transaction, if it writes something that lasts.
    fn entry(&self, open: &Open, put_down: &mut PutDown) -> Option<Entry> {
        if put_down.generations.is_empty() {
            return put_down.entry.take();
        }
        let entry = self.entry_of_generations(open.held.at, put_down);
        Some(entry).filter(|entry| !entry.is_empty())
    }

    /// Resolves and ends a transaction that the log's thread has decided; nothing if that was done before.
    pub(super) fn finish(&self, open: &Open, time: Timestamp) {
        self.resolve_all(open, open.put_down.lock(), time);
    }

    fn resolve_all(&self, open: &Open, mut put_down: MutexGuard<'_, PutDown>, time: Timestamp) {
        if put_down.ended {
            return;
        }
        let start = open.held.at;
        let keys = std::mem::take(&mut put_down.keys);
        for written in &keys {
            self.resolve_intent(start, time, written);
        }
        self.leave(open, End::Committed(time));
        put_down.ended = true;
        drop(put_down);
        let limit = 2 * keys.len() + 1;
        let superseded = keys
            .into_iter()
            .filter(|written| written.what != What::Value || written.replaced.is_some())
            .map(|written| Superseded {
                key: written.key,
                time,
                version: written.what != What::Touch,
            });
        self.collect_along(superseded, limit);
    }

    /// Replaces an intent by the committed record, in place.
    fn resolve_intent(&self, start: Timestamp, time: Timestamp, written: &Written) {
        let resolved = if written.what == What::Touch {
            let touch = Record {
                time,
                start,
                intent: false,
                value: None,
            };
            // Holders of a shared lock may do this at the same time: the newest stays.
            self.touched.update(&written.key, |item| {
                if item.is_some_and(|item| Record::decode(item.tag, item.value).time > time) {
                    return Update::Keep;
                }
                Update::Put {
                    value: Cow::Owned(touch.encode()),
                    tag: touch.tag(),
                }
            })
        } else {
            self.newest.update(&written.key, |item| {
                let intent = item.map(|item| Record::decode(item.tag, item.value));
                let record = Record {
                    time,
                    start,
                    intent: false,
                    value: intent.and_then(|intent| intent.value),
                };
                Update::Put {
                    value: Cow::Owned(record.encode()),
                    tag: record.tag(),
                }
            })
        };
        debug_assert!(resolved.is_ok(), "a record of this size was there before");
    }

    /// Rolls back and ends the transaction; nothing if that was done before. One that the log has can only be
    /// waited for.
    pub(super) fn take_back(&self, start: Timestamp) -> Result<Option<Waiting<'_>>, Error> {
        let open = match self.standing(start)? {
            Standing::Open(open) => open,
            Standing::Ended(End::RolledBack) => return Ok(None),
            Standing::Ended(end) => return Err(end.closed()),
        };
        let mut put_down = open.put_down.lock();
        if open.fate.is_with_log() && !planted("log-passed-over-by-a-rollback") {
            drop(put_down);
            return Ok(Some(Waiting::new(self, open)));
        }
        if let Verdict::Committed(time) = open.decision.verdict() {
            return Err(End::Committed(time).closed());
        }
        self.roll_back(&open, &mut put_down);
        Ok(None)
    }

    /// Under the mutex under which a commit is decided or handed to the log.
    fn roll_back(&self, open: &Open, put_down: &mut PutDown) {
        open.decision.roll_back();
        if !put_down.ended {
            self.undo(std::mem::take(&mut put_down.keys));
            self.leave(open, End::RolledBack);
            put_down.ended = true;
        }
    }

    fn undo(&self, keys: Vec<Written>) {
        for written in keys {
            match (written.what, written.replaced) {
                (What::Touch, _) => {}
                (_, None) => {
                    removed(&self.newest, &written.key);
                }
                (_, Some(time)) => {
                    let old = old_key(&written.key, time);
                    let pinned = self.history.pin();
                    let Some(item) = pinned.entry(&old) else {
                        debug_assert!(false, "the copy stays while its intent stands");
                        continue;
                    };
                    let (old_start, value) = super::record::decode_old(item.tag, item.value);
                    let record = Record {
                        time,
                        start: old_start,
                        intent: false,
                        value,
                    };
                    let restored = self.write_newest(&written.key, record);
                    debug_assert!(restored.is_ok(), "a record of this size was there before");
                    drop(pinned);
                    removed(&self.history, &old);
                }
            }
        }
    }
}

fn write(
    table: &untorn_memtable::Memtable,
    key: &[u8],
    tag: u32,
    bytes: &[u8],
    user_key: usize,
) -> Result<(), Error> {
    table
        .update(key, |_| Update::Put {
            value: Cow::Borrowed(bytes),
            tag,
        })
        .map(drop)
        .map_err(|_| Error::EntryTooLarge {
            size: user_key + bytes.len(),
            limit: user_key + untorn_memtable::MAX_VALUE_LEN,
        })
}
