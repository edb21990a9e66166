//! Reads a file of the log frame by frame, and tells a torn tail from damage.
//!
//! A crash may leave the frames that were written since the last sync in any state: cut off, with holes, a later one
//! whole and an earlier one not. None of them was acknowledged, so the file is cut where the first of them is wrong.
//! Anything else that is wrong is damage and must not be cut away in silence. What tells the two apart is a later frame
//! that is whole and says, by its *synced*, that the wrong one had been on the disk.
//!
//! What cannot be told apart is damage to the very last frames of a store that was not [closed](super::writer): there
//! is no later frame to bear witness. A store that is closed leaves one.

use super::directory::Directory;
use super::error::OpenError;
use super::frame::{HEADER, Header, part};
use super::segment::{HEAD, Head};
use std::io::{self, Read};

/// A file that is being read.
pub(super) struct Reader {
    pub(super) head: Head,
    source: Box<dyn Read>,
    length: u64,
    pub(super) offset: u64,
    /// Of the next frame.
    sequence: u64,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Frame(Header, Vec<u8>),
    End,
    /// From `offset` on there is nothing that was ever known to be on the disk.
    Torn,
    /// A frame that was on the disk is wrong.
    Damaged,
}

/// How a file begins.
pub(super) enum Beginning {
    Read(Reader),
    /// The head is not there, nor anything after it.
    Unused,
    Wrong(&'static str),
}

impl Reader {
    pub(super) fn open(directory: &dyn Directory, name: &str) -> io::Result<Beginning> {
        let (mut source, length) = directory.read(name)?;
        let mut head = Vec::with_capacity(HEAD);
        source.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        let is_alone = length <= HEAD as u64;
        let Some(bytes) = head.first_chunk() else {
            return Ok(Beginning::Unused);
        };
        Ok(match Head::decode(bytes) {
            Ok(head) => Beginning::Read(Self {
                head,
                source,
                length,
                offset: HEAD as u64,
                sequence: 1,
            }),
            Err(_) if is_alone => Beginning::Unused,
            Err(what) => Beginning::Wrong(what),
        })
    }

    /// The frames count from here on.
    pub(super) fn counting_from(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// The number of the next frame.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        let left = self.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Next::End);
        }
        let mut bytes = Vec::new();
        self.read_up_to(HEADER as u64, &mut bytes)?;
        let header = bytes
            .first_chunk()
            .and_then(Header::decode)
            .filter(|header| header.salt == self.head.salt && header.sequence == self.sequence)
            .filter(|header| header.length <= left - HEADER as u64);
        if let Some(header) = header {
            self.read_up_to(header.length, &mut bytes)?;
            if header.fits(&bytes[HEADER..]) {
                self.offset += bytes.len() as u64;
                self.sequence += 1;
                bytes.drain(..HEADER);
                return Ok(Next::Frame(header, bytes));
            }
        }
        self.source.read_to_end(&mut bytes)?;
        Ok(if self.was_synced(&bytes) {
            Next::Damaged
        } else {
            Next::Torn
        })
    }

    fn read_up_to(&mut self, count: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.source.by_ref().take(count).read_to_end(bytes)?;
        Ok(())
    }

    /// Whether a whole frame in these bytes says that the one at their beginning had been on the disk.
    fn was_synced(&self, bytes: &[u8]) -> bool {
        let salt = self.head.salt.to_le_bytes();
        bytes.windows(HEADER).enumerate().any(|(place, window)| {
            window.starts_with(&salt)
                && Header::decode(&part(window, 0)).is_some_and(|header| {
                    let payload = &bytes[place + HEADER..];
                    header.synced >= self.sequence
                        && usize::try_from(header.length)
                            .ok()
                            .and_then(|length| payload.get(..length))
                            .is_some_and(|payload| header.fits(payload))
                })
        })
    }
}

/// An error of reading a file, with its place.
pub(super) fn corrupt(
    directory: &dyn Directory,
    name: &str,
    offset: u64,
    what: &'static str,
) -> OpenError {
    OpenError::Corrupt {
        file: directory.path(name),
        offset,
        what,
    }
}
