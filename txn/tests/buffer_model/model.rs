//! The plain model: it keeps every accepted write for ever, and for each whether it was rolled back.
//!
//! What a key holds is found by replaying the log: content and write-owned flags from the writes that are left, persistent flags
//! from all of them, and the constraint check's implicit clear only from the writes that are left.

use std::collections::BTreeMap;
use untorn_txn::{Entry, Error, FlagOp, KeyFlags};

pub const KEYS: [&str; 6] = ["", "a", "ab", "b", "key-five", "z"];

#[derive(Debug, Clone)]
pub enum Content {
    Value(Vec<u8>),
    Tombstone,
    Keep,
}

pub struct Logged {
    key: usize,
    content: Content,
    ops: Vec<FlagOp>,
    alive: bool,
}

pub struct OpenStage {
    number: usize,
    /// Length of the log when it was opened.
    mark: usize,
    doomed: bool,
}

/// A savepoint that can be rolled back to, but for stages that are open.
pub struct LiveSavepoint {
    number: usize,
    mark: usize,
}

pub struct Model {
    pub log: Vec<Logged>,
    pub stages: Vec<OpenStage>,
    pub savepoints: Vec<LiveSavepoint>,
    /// Stages and savepoints that were ever made: the number of the next one.
    pub made: usize,
    pub dirty: bool,
    pub key_limit: usize,
    pub entry_limit: usize,
    pub buffer_limit: usize,
}

pub type State = (Option<Entry>, KeyFlags);

impl Model {
    pub fn new() -> Model {
        Model {
            log: Vec::new(),
            stages: Vec::new(),
            savepoints: Vec::new(),
            made: 0,
            dirty: false,
            key_limit: 65_535,
            entry_limit: usize::MAX,
            buffer_limit: usize::MAX,
        }
    }

    /// Replays the first `length` log entries for one key; `None`: absent.
    pub fn replay(&self, key: usize, length: usize) -> Option<State> {
        let check = KeyFlags::NEED_CONSTRAINT_CHECK;
        let (mut live, mut entry) = (false, None);
        let (mut persistent, mut own) = (KeyFlags::empty(), KeyFlags::empty());
        for write in self.log[..length].iter().filter(|write| write.key == key) {
            if write.alive {
                live = true;
                match &write.content {
                    Content::Value(value) => entry = Some(Entry::Value(value.clone().into())),
                    Content::Tombstone => entry = Some(Entry::Tombstone),
                    Content::Keep => {}
                }
                if !matches!(write.content, Content::Keep) {
                    persistent -= check;
                }
                own = own.apply(&write.ops) - KeyFlags::PERSISTENT;
            }
            persistent = persistent.apply(&write.ops) & KeyFlags::PERSISTENT;
        }
        (live || !persistent.is_empty()).then_some((entry, persistent | own))
    }

    pub fn contents(&self) -> BTreeMap<&'static str, State> {
        let state = |(index, key): (usize, &&'static str)| {
            Some((*key, self.replay(index, self.log.len())?))
        };
        KEYS.iter().enumerate().filter_map(state).collect()
    }

    pub fn bytes(key: &str, state: &State) -> usize {
        let value = state
            .0
            .as_ref()
            .and_then(Entry::value)
            .map_or(0, |value| value.len());
        key.len() + value
    }

    pub fn size(&self) -> usize {
        self.contents()
            .iter()
            .map(|(key, state)| Model::bytes(key, state))
            .sum()
    }

    pub fn write(&mut self, key: usize, content: Content, ops: Vec<FlagOp>) -> Result<(), Error> {
        let name = KEYS[key].len();
        let value = match &content {
            Content::Value(value) if value.is_empty() => return Err(Error::EmptyValue),
            Content::Value(value) => Some(value.len()),
            Content::Tombstone => Some(0),
            Content::Keep => None,
        };
        let before = self.replay(key, self.log.len());
        let kept = before
            .as_ref()
            .map_or(0, |state| Model::bytes(KEYS[key], state) - name);
        let grows = name + value.unwrap_or(kept) > before.map_or(0, |_| name + kept);
        if name > self.key_limit && grows {
            return Err(Error::KeyTooLarge {
                size: name,
                limit: self.key_limit,
            });
        }
        if value.is_some_and(|value| name + value > self.entry_limit) && grows {
            let size = name + value.unwrap();
            return Err(Error::EntryTooLarge {
                size,
                limit: self.entry_limit,
            });
        }
        let size = self.size();
        self.log.push(Logged {
            key,
            content,
            ops,
            alive: true,
        });
        let grown = self.size();
        if grown > size && grown > self.buffer_limit {
            self.log.pop();
            return Err(Error::TxnTooLarge {
                size: grown,
                limit: self.buffer_limit,
            });
        }
        let (_, flags) = self.replay(key, self.log.len()).unwrap();
        self.dirty |= self.stages.is_empty() || flags.intersects(KeyFlags::PERSISTENT);
        Ok(())
    }

    /// False if the stage is not the innermost open one.
    pub fn close(&mut self, number: usize, cleanup: bool) -> bool {
        if self
            .stages
            .last()
            .is_none_or(|stage| stage.number != number)
        {
            return false;
        }
        self.close_innermost(cleanup);
        while self.stages.last().is_some_and(|stage| stage.doomed) {
            self.close_innermost(true);
        }
        true
    }

    pub fn close_innermost(&mut self, cleanup: bool) {
        let stage = self.stages.pop().unwrap();
        let writes = &mut self.log[stage.mark..];
        if cleanup {
            writes.iter_mut().for_each(|write| write.alive = false);
            self.savepoints
                .retain(|savepoint| savepoint.number < stage.number);
        } else if self.stages.is_empty() {
            let content = |write: &Logged| !matches!(write.content, Content::Keep);
            self.dirty |= writes.iter().any(|write| write.alive && content(write));
        }
    }

    pub fn next_number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    pub fn stage(&mut self) -> usize {
        let number = self.next_number();
        self.stages.push(OpenStage {
            number,
            mark: self.log.len(),
            doomed: false,
        });
        number
    }

    pub fn savepoint(&mut self) -> usize {
        let number = self.next_number();
        self.savepoints.push(LiveSavepoint {
            number,
            mark: self.log.len(),
        });
        number
    }

    pub fn rollback_to(&mut self, number: usize) -> Result<(), Error> {
        let is_it = |savepoint: &LiveSavepoint| savepoint.number == number;
        let place = self.savepoints.iter().position(is_it);
        let place = place.ok_or(Error::StaleSavepoint)?;
        if self.stages.iter().any(|stage| stage.number > number) {
            return Err(Error::StageOpen);
        }
        let writes = &mut self.log[self.savepoints[place].mark..];
        writes.iter_mut().for_each(|write| write.alive = false);
        self.savepoints.truncate(place + 1);
        Ok(())
    }

    pub fn drop_savepoint(&mut self, number: usize) {
        self.savepoints
            .retain(|savepoint| savepoint.number != number);
    }

    pub fn drop_stage(&mut self, number: usize) {
        if !self.close(number, true)
            && let Some(stage) = self.stages.iter_mut().find(|stage| stage.number == number)
        {
            stage.doomed = true;
        }
    }

    /// Values and tombstones before the outermost open stage.
    pub fn snapshot(&self) -> BTreeMap<&'static str, Entry> {
        let outermost = self.stages.first();
        self.entries_at(outermost.map_or(self.log.len(), |stage| stage.mark))
    }

    /// Values and tombstones now.
    pub fn entries(&self) -> BTreeMap<&'static str, Entry> {
        self.entries_at(self.log.len())
    }

    fn entries_at(&self, mark: usize) -> BTreeMap<&'static str, Entry> {
        let held =
            |(index, key): (usize, &&'static str)| Some((*key, self.replay(index, mark)?.0?));
        KEYS.iter().enumerate().filter_map(held).collect()
    }

    /// What `history` shows of a key, but for versions that look alike and follow each other.
    pub fn history(&self, key: usize) -> Vec<State> {
        let stages = self.stages.iter().map(|stage| stage.mark);
        let savepoints = self.savepoints.iter().map(|savepoint| savepoint.mark);
        let mut marks: Vec<_> = stages.chain(savepoints).chain([self.log.len()]).collect();
        marks.sort_by_key(|&mark| std::cmp::Reverse(mark));
        let now = self.replay(key, self.log.len());
        let locks = now.map_or(KeyFlags::empty(), |(_, flags)| flags & KeyFlags::PERSISTENT);
        let check = KeyFlags::NEED_CONSTRAINT_CHECK;
        let version = |mark: usize| {
            let written = |write: &Logged| write.alive && write.key == key;
            if !self.log[..mark].iter().any(written) {
                return None;
            }
            let (entry, flags) = self.replay(key, mark)?;
            let own = flags - KeyFlags::PERSISTENT;
            Some((entry, own | (locks - check)))
        };
        let mut shown: Vec<_> = marks.into_iter().filter_map(version).collect();
        shown.dedup();
        shown
    }

    /// What `inspect_stage` shows of a stage.
    pub fn written_in(&self, number: usize) -> Option<Vec<(&'static str, State)>> {
        let mark = self
            .stages
            .iter()
            .find(|stage| stage.number == number)?
            .mark;
        let newest = |key: usize| {
            let is_content = |write: &Logged| {
                write.alive && write.key == key && !matches!(write.content, Content::Keep)
            };
            self.log.iter().rposition(is_content)
        };
        let mut written: Vec<_> = (0..KEYS.len())
            .filter_map(|key| Some((newest(key).filter(|&place| place >= mark)?, key)))
            .collect();
        written.sort_by_key(|&(place, _)| std::cmp::Reverse(place));
        let state =
            |(_, key): (usize, usize)| (KEYS[key], self.replay(key, self.log.len()).unwrap());
        Some(written.into_iter().map(state).collect())
    }

    pub fn reset(&mut self) {
        self.log.clear();
        self.stages.clear();
        self.savepoints.clear();
        self.dirty = false;
    }
}
