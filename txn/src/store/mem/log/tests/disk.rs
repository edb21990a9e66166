//! A directory in memory that fails, waits and forgets on demand, as a disk may.

use crate::store::lock;
use crate::store::mem::log::directory::{Append, Directory};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

/// A handle: a clone is the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// As of the last sync of the directory, and what was done to them since.
    synced_names: BTreeMap<String, usize>,
    renamings: Vec<Renaming>,
    /// Writes, syncs and changes of names that succeeded.
    done: usize,
    syncs: usize,
    /// After so many nothing succeeds any more; a write that fails leaves this part of its bytes.
    fails_after: Option<(usize, f64)>,
    is_syncing_held: bool,
    held: usize,
}

/// A change of names: one is gone, one is another file's, or both.
#[derive(Debug, Clone)]
struct Renaming {
    gone: Option<String>,
    there: Option<(String, usize)>,
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        names.extend(self.there.clone());
    }
}

#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

impl Disk {
    /// Nothing succeeds after so many operations more; the write among them leaves `part` of its bytes.
    pub(super) fn fail_after(&self, operations: usize, part: f64) {
        let mut state = lock(&self.shared.state);
        state.fails_after = Some((state.done + operations, part));
    }

    /// Syncs of files do not return until they are let go.
    pub(super) fn hold_syncs(&self) {
        lock(&self.shared.state).is_syncing_held = true;
    }

    pub(super) fn let_syncs_go(&self) {
        lock(&self.shared.state).is_syncing_held = false;
        self.shared.changed.notify_all();
    }

    /// Until a sync is held.
    pub(super) fn await_held_sync(&self) {
        let state = lock(&self.shared.state);
        let held = self
            .shared
            .changed
            .wait_while(state, |state| state.held == 0);
        drop(held);
    }

    /// Syncs of files so far.
    pub(super) fn syncs(&self) -> usize {
        lock(&self.shared.state).syncs
    }

    pub(super) fn done(&self) -> usize {
        lock(&self.shared.state).done
    }

    /// What a dead process leaves: all that it wrote.
    pub(super) fn after_kill(&self) -> Disk {
        let state = lock(&self.shared.state);
        Disk::of(State {
            files: state.files.clone(),
            names: state.names.clone(),
            synced_names: state.names.clone(),
            ..State::default()
        })
    }

    /// What a power cut may leave: what was synced, and of the rest some bytes or others, or other ones in their
    /// place; of the changes of names since the last sync some or others.
    pub(super) fn after_power_cut(&self, rng: &mut SmallRng) -> Disk {
        let state = lock(&self.shared.state);
        let mut names = state.synced_names.clone();
        let likely = rng.random();
        for renaming in &state.renamings {
            if rng.random_bool(likely) {
                renaming.apply(&mut names);
            }
        }
        let mut files = state.files.clone();
        for content in &mut files {
            let unsynced = content.bytes.len() - content.synced;
            let left = content.synced + rng.random_range(0..=unsynced);
            content.bytes.truncate(left);
            if rng.random() && left > content.synced {
                let hole = rng.random_range(content.synced..left);
                let end = rng.random_range(hole..left) + 1;
                content.bytes[hole..end].fill(0);
            }
            content.synced = left;
        }
        Disk::of(State {
            files,
            synced_names: names.clone(),
            names,
            ..State::default()
        })
    }

    fn of(state: State) -> Disk {
        Disk {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = lock(&self.shared.state);
        state.files[state.names[name]].bytes.clone()
    }

    /// The same with another content of a file.
    pub(super) fn with(&self, name: &str, bytes: Vec<u8>) -> Disk {
        let disk = self.after_kill();
        {
            let mut state = lock(&disk.shared.state);
            let file = state.names[name];
            state.files[file] = Content {
                synced: bytes.len(),
                bytes,
            };
        }
        disk
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = lock(&self.shared.state);
        state.may_go_on()?;
        state.done += 1;
        Ok(change(&mut state))
    }
}

impl State {
    fn rename(&mut self, gone: Option<String>, there: Option<(String, usize)>) {
        let renaming = Renaming { gone, there };
        renaming.apply(&mut self.names);
        self.renamings.push(renaming);
    }

    fn may_go_on(&self) -> io::Result<()> {
        match self.fails_after {
            Some((operations, _)) if self.done >= operations => Err(io::Error::other("as planned")),
            _ => Ok(()),
        }
    }
}

impl Directory for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.shared.state).names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let state = lock(&self.shared.state);
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let bytes = state.files[file].bytes.clone();
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let file = self.change(|state| {
            state.files.push(Content::default());
            let file = state.files.len() - 1;
            state.rename(None, Some((name.to_owned(), file)));
            file
        })?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        self.change(|state| {
            let content = &mut state.files[state.names[name]];
            content.bytes.truncate(length as usize);
            content.synced = content.bytes.len();
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.names[from];
            state.rename(Some(from.to_owned()), Some((to.to_owned(), file)));
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|state| state.rename(Some(name.to_owned()), None))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|state| {
            state.synced_names = state.names.clone();
            state.renamings.clear();
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }
}

struct Handle {
    disk: Disk,
    file: usize,
}

impl Append for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.disk.shared.state);
        let outcome = state.may_go_on();
        let part = state.fails_after.map_or(0.0, |(_, part)| part);
        let written = match outcome {
            Ok(()) => bytes.len(),
            Err(_) => (bytes.len() as f64 * part) as usize,
        };
        state.files[self.file]
            .bytes
            .extend_from_slice(&bytes[..written]);
        outcome?;
        state.done += 1;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let shared = &self.disk.shared;
        let mut state = lock(&shared.state);
        // What comes while it runs is not part of it.
        let length = state.files[self.file].bytes.len();
        state.held += 1;
        shared.changed.notify_all();
        let waited = shared
            .changed
            .wait_while(state, |state| state.is_syncing_held);
        state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        state.held -= 1;
        state.may_go_on()?;
        state.done += 1;
        state.syncs += 1;
        let content = &mut state.files[self.file];
        content.synced = content.synced.max(length);
        Ok(())
    }
}
