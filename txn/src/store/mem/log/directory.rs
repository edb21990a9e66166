//! The directory of a log, as far as the log needs one. Tests put one in its place that tears and fails.

use super::error::OpenError;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// A directory that belongs to one store.
pub(crate) trait Directory: Send + Sync + fmt::Debug {
    /// The names of the files in it, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A file's content, and how long it is.
    fn read(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)>;

    /// An empty file; what was there under the name is gone.
    fn create(&self, name: &str) -> io::Result<Box<dyn Append>>;

    /// Cuts a file off at a length, for good.
    fn cut(&self, name: &str, length: u64) -> io::Result<()>;

    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Names that were made, changed or removed stay so.
    fn sync(&self) -> io::Result<()>;

    /// Where a file is, for people.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file that is only ever appended to.
pub(crate) trait Append: Send {
    /// Writes all of it, or fails having written some.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// What was appended stays.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the operating system, locked against other processes and other stores of this one.
#[derive(Debug)]
pub(super) struct OsDirectory {
    path: PathBuf,
    /// The lock ends with it, also when the process is killed.
    _lock: File,
}

const LOCK: &str = "lock";

impl OsDirectory {
    /// Locks a directory, which is made where it is not there.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        make(path).map_err(failed(path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(&lock_path)(source)),
        }
    }
}

impl Directory for OsDirectory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // What has another kind of name is not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let file = File::open(self.path(name))?;
        let length = file.metadata()?.len();
        Ok((Box::new(BufReader::with_capacity(1 << 18, file)), length))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        Ok(Box::new(File::create(self.path(name))?))
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(name))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_names(&self.path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Makes a directory and those around it, where they are not there, so that they stay.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let around = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return fs::create_dir(path),
    };
    make(around)?;
    match fs::create_dir(path) {
        Err(_) if path.is_dir() => {}
        made => made?,
    }
    sync_names(around)
}

#[cfg(unix)]
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened like a file, and its changes are the file system's to keep.
#[cfg(not(unix))]
fn sync_names(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
