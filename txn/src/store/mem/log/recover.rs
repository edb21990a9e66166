//! Opening a store: what the files say, in their order, into empty tables.
//!
//! The newest checkpoint is read, then the segments from its number on, none of which may be missing. The last one may
//! end in a torn tail, which is cut off. Its file is never written again: the store goes on in a new segment.
//!
//! What comes back is the newest version of each key, committed at timestamps drawn now, in the order of the log, above
//! every one that the former process may have given out. Nothing older can be read, no transaction is open, no lock is
//! held. How the transactions of the log ended is known again (rule 49); of those before the checkpoint it is not.

use super::checkpoint::remove_older;
use super::directory::Directory;
use super::entry::{self, Written};
use super::error::OpenError;
use super::reader::{Beginning, Next, Reader, corrupt};
use super::segment::{Kind, UNFINISHED};
use super::writer::Earlier;
use crate::Error;
use crate::store::Timestamp;
use crate::store::mem::collect::removed;
use crate::store::mem::core::Core;
use crate::store::mem::ended::End;
use crate::store::mem::record::Record;
use std::collections::BTreeSet;
use std::io;

/// Where the log goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovered {
    /// The next segment.
    pub(super) number: u64,
    /// The next frame.
    pub(super) sequence: u64,
    pub(super) earlier: Earlier,
}

/// Fills the tables of `core`, which are empty.
pub(super) fn recover(directory: &dyn Directory, core: &Core) -> Result<Recovered, OpenError> {
    Recovery { directory, core }.run()
}

struct Recovery<'a> {
    directory: &'a dyn Directory,
    core: &'a Core,
}

impl Recovery<'_> {
    fn run(&self) -> Result<Recovered, OpenError> {
        let names = self.directory.names().map_err(|source| OpenError::Io {
            path: self.directory.path(""),
            source,
        })?;
        let numbers = |kind: Kind| -> BTreeSet<u64> {
            names.iter().filter_map(|name| kind.number(name)).collect()
        };
        let checkpoint = numbers(Kind::Checkpoint).last().copied();
        let segments = numbers(Kind::Segment);
        let first = checkpoint.unwrap_or(1);
        let mut recovered = Recovered {
            number: first,
            sequence: 1,
            earlier: Earlier::default(),
        };
        if let Some(number) = checkpoint {
            recovered.sequence = self.read_checkpoint(number)?;
        }
        if let Some(&last) = segments.last().filter(|&&last| last >= first) {
            for number in first..=last {
                self.read_segment(number, number == last, &mut recovered)?;
            }
        } else if checkpoint.is_some() {
            return Err(self.missing(first));
        }
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            self.io(name, self.directory.remove(name))?;
        }
        remove_older(self.directory, first);
        self.core.begin_anew();
        Ok(recovered)
    }

    /// Says with which frame the segment after it begins.
    fn read_checkpoint(&self, number: u64) -> Result<u64, OpenError> {
        let name = Kind::Checkpoint.name(number);
        let wrong = |offset, what| Err(corrupt(self.directory, &name, offset, what));
        let mut reader = match self.io(&name, Reader::open(self.directory, &name))? {
            Beginning::Read(reader) => reader,
            Beginning::Unused => return wrong(0, "its head is cut off"),
            Beginning::Wrong(what) => return wrong(0, what),
        };
        let head = reader.head;
        if head.kind != Kind::Checkpoint || head.number != number {
            return wrong(0, "its head is another file's");
        }
        self.core.oracle.forward(head.bound);
        // How the transactions before it ended is not told by anything.
        self.core.ended.forget(head.bound);
        let mut is_whole = false;
        loop {
            let offset = reader.offset;
            match self.io(&name, reader.next())? {
                Next::Frame(..) if is_whole => return wrong(offset, "it goes on after its end"),
                Next::Frame(_, payload) if payload.is_empty() => is_whole = true,
                Next::Frame(_, payload) => self.replay(&name, offset, &payload, false)?,
                Next::End if is_whole => return Ok(head.sequence),
                Next::End => return wrong(offset, "it ends before its end"),
                Next::Torn | Next::Damaged => return wrong(offset, "a frame is not whole"),
            }
        }
    }

    fn read_segment(
        &self,
        number: u64,
        is_last: bool,
        recovered: &mut Recovered,
    ) -> Result<(), OpenError> {
        let name = Kind::Segment.name(number);
        let wrong = |offset, what| Err(corrupt(self.directory, &name, offset, what));
        let reader = match Reader::open(self.directory, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing(number));
            }
            reader => self.io(&name, reader)?,
        };
        let reader = match reader {
            Beginning::Read(reader) => reader,
            // The crash came while it was begun: the next one takes its number.
            Beginning::Unused if is_last => {
                return self.io(&name, self.directory.remove(&name));
            }
            Beginning::Unused => return wrong(0, "its head is cut off"),
            Beginning::Wrong(what) => return wrong(0, what),
        };
        let head = reader.head;
        if head.kind != Kind::Segment || head.number != number {
            return wrong(0, "its head is another file's");
        }
        if head.sequence != recovered.sequence {
            return wrong(0, "it does not go on where the one before it ends");
        }
        self.core.oracle.forward(head.bound);
        let mut reader = reader.counting_from(head.sequence);
        loop {
            let offset = reader.offset;
            match self.io(&name, reader.next())? {
                Next::Frame(header, payload) => {
                    self.core.oracle.forward(header.bound);
                    self.replay(&name, offset, &payload, true)?;
                }
                Next::End => break,
                Next::Torn if is_last => {
                    tracing::warn!(name, offset, "a torn tail of the log is cut off");
                    self.io(&name, self.directory.cut(&name, offset))?;
                    break;
                }
                Next::Torn | Next::Damaged => {
                    return wrong(offset, "a frame that was on the disk is not whole");
                }
            }
        }
        recovered.number = number + 1;
        recovered.sequence = reader.sequence();
        recovered.earlier.segments += 1;
        recovered.earlier.bytes += reader.offset;
        Ok(())
    }

    fn replay(
        &self,
        name: &str,
        offset: u64,
        payload: &[u8],
        is_noted: bool,
    ) -> Result<(), OpenError> {
        let mut failed = None;
        let read = entry::read(payload, |start, written| {
            match self.core.replay(start, written) {
                Ok(time) if is_noted => self.core.ended.note(start, End::Committed(time)),
                Ok(_) => {}
                Err(_) => failed = Some("an entry is larger than the store takes"),
            }
        });
        let failed = failed.or(read.is_none().then_some("a frame holds no entries"));
        failed.map_or(Ok(()), |what| {
            Err(corrupt(self.directory, name, offset, what))
        })
    }

    fn missing(&self, number: u64) -> OpenError {
        OpenError::Missing {
            file: self.directory.path(&Kind::Segment.name(number)),
        }
    }

    fn io<T>(&self, name: &str, result: io::Result<T>) -> Result<T, OpenError> {
        result.map_err(|source| OpenError::Io {
            path: self.directory.path(name),
            source,
        })
    }
}

impl Core {
    /// Does again what a commit did.
    fn replay(&self, start: Timestamp, written: Vec<Written<'_>>) -> Result<Timestamp, Error> {
        let time = self.oracle.next();
        for (key, value) in written {
            if value.is_none() {
                removed(&self.newest, key);
                continue;
            }
            let record = Record {
                time,
                start,
                intent: false,
                value,
            };
            self.write_newest(key, record)?;
        }
        Ok(time)
    }

    /// Nothing that was committed so far can be read as of an earlier time.
    fn begin_anew(&self) {
        let now = self.oracle.next();
        self.live.begin_at(now);
    }
}
