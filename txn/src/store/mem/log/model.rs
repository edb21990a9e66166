//! The log for models: the real one, on a disk in the model, whose writer's thread is the model's.

use super::directory::{Append, Directory};
use super::recover::recover;
use super::writer::Writer;
use super::{LogOptions, Queue, filled};
use crate::store::mem::MemStore;
use crate::store::mem::core::Core;
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// A directory in memory; a handle, a clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default, Clone)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    syncs_fail: bool,
}

#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

impl Disk {
    /// No sync succeeds any more.
    pub fn fail_syncs(&self) {
        self.state.lock().syncs_fail = true;
    }

    /// The least that a crash may leave: what was synced, under names that were, without the files that were removed.
    pub fn after_a_crash(&self) -> Disk {
        let state = self.state.lock();
        let mut left = State {
            files: state.files.clone(),
            ..State::default()
        };
        for content in &mut left.files {
            content.bytes.truncate(content.synced);
        }
        let is_there = |file: &usize| state.names.values().any(|there| there == file);
        let names = state.synced_names.clone().into_iter();
        left.names = names.filter(|(_, file)| is_there(file)).collect();
        left.synced_names = left.names.clone();
        Disk {
            state: Arc::new(Mutex::new(left)),
        }
    }

    /// The names of the files.
    pub fn files(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.may_sync()?;
        state.synced_names = state.names.clone();
        Ok(())
    }
}

impl State {
    fn may_sync(&self) -> io::Result<()> {
        match self.syncs_fail {
            true => Err(io::Error::other("as planned")),
            false => Ok(()),
        }
    }
}

impl Directory for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files())
    }

    fn read(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let state = self.state.lock();
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let bytes = state.files[file].bytes.clone();
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let mut state = self.state.lock();
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.names.insert(name.to_owned(), file);
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.names[name];
        let content = &mut state.files[file];
        content.bytes.truncate(length as usize);
        content.synced = content.bytes.len();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state.lock().names.remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_names()
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
        let mut state = self.disk.state.lock();
        state.files[self.file].bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.may_sync()?;
        let content = &mut state.files[self.file];
        content.synced = content.bytes.len();
        Ok(())
    }
}

/// The log's thread, to be started.
pub struct LogThread(Writer);

impl LogThread {
    /// Serves the store until its log is ended or fails.
    pub fn run(self) {
        self.0.run();
    }
}

/// A store on a disk, and the thread of its log.
pub fn open(disk: &Disk, options: LogOptions) -> (MemStore, LogThread) {
    let filled = filled(Arc::new(disk.clone()), options);
    let (core, writer) = filled.expect("the disk is in order");
    (MemStore { core, log: None }, LogThread(writer))
}

/// Has the thread of a store's log write what is queued, and end.
pub fn end(store: &MemStore) {
    store.core.log.as_ref().map(Queue::end);
}

/// What an opening would find on a disk, to be looked at.
pub fn recovered(disk: &Disk) -> MemStore {
    let core = Core::new(&Default::default(), None);
    recover(disk, &core).expect("the disk is in order");
    MemStore { core, log: None }
}
