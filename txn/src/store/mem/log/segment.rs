//! Files of the log: their names, how they begin, and how they are written.
//!
//! ```text
//! 0000000000000007.log          a segment: commits, in their order
//! 0000000000000007.checkpoint   all that the segments before 7 have come to
//! 0000000000000007.unfinished   a checkpoint that is being written
//! ```
//!
//! Each begins with a head, and frames follow:
//!
//! ```text
//! "UNTORN\0L" (8) | version (4) | kind (4) | number (8) | salt (8) | sequence (8) | bound (8) | crc (4)
//! ```
//!
//! *Sequence* is the number of its first frame. Of a checkpoint it is the number that the next segment's first frame
//! has; a checkpoint's own frames count from 1. *Bound* is as of a [frame](super::frame).

use super::directory::{Append, Directory};
use super::frame::{HEADER, Header, part};
use crate::store::Timestamp;
use std::hash::{BuildHasher, RandomState};
use std::io;

pub(super) const HEAD: usize = 52;
const CRC: usize = HEAD - 4;
const MAGIC: [u8; 8] = *b"UNTORN\0L";
const VERSION: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Segment = 1,
    Checkpoint = 2,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Kind::Segment => "log",
            Kind::Checkpoint => "checkpoint",
        }
    }

    pub(super) fn name(self, number: u64) -> String {
        format!("{number:016}.{}", self.extension())
    }

    /// The number in a name of this kind.
    pub(super) fn number(self, name: &str) -> Option<u64> {
        let (number, extension) = name.split_once('.')?;
        let is_ours = extension == self.extension()
            && number.len() == 16
            && number.bytes().all(|digit| digit.is_ascii_digit());
        number.parse().ok().filter(|_| is_ours)
    }
}

pub(super) const UNFINISHED: &str = "unfinished";

/// The name of a checkpoint until it is all there.
pub(super) fn unfinished(number: u64) -> String {
    format!("{number:016}.{UNFINISHED}")
}

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) sequence: u64,
    pub(super) bound: Timestamp,
}

impl Head {
    pub(super) fn new(kind: Kind, number: u64, sequence: u64, bound: Timestamp) -> Self {
        // Keyed anew for each value by the operating system's random numbers.
        let salt = RandomState::new().hash_one(number);
        Self {
            kind,
            number,
            salt,
            sequence,
            bound,
        }
    }

    fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.kind as u32).to_le_bytes());
        let words = [self.number, self.salt, self.sequence, self.bound];
        for (place, word) in bytes[16..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..CRC]);
        bytes[CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Or what is wrong with it.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Result<Self, &'static str> {
        let word = |place: usize| u64::from_le_bytes(part(bytes, place));
        let half = |place: usize| u32::from_le_bytes(part(bytes, place));
        if bytes[..8] != MAGIC {
            return Err("it is no file of a log");
        }
        if crc32fast::hash(&bytes[..CRC]) != half(CRC) {
            return Err("the checksum of its head does not fit");
        }
        if half(8) != VERSION {
            return Err("it is of another version");
        }
        let kind = match half(12) {
            1 => Kind::Segment,
            2 => Kind::Checkpoint,
            _ => return Err("it is of no known kind"),
        };
        Ok(Self {
            kind,
            number: word(16),
            salt: word(24),
            sequence: word(32),
            bound: word(40),
        })
    }
}

/// A frame in the making: room for its header, then its payload.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER],
        }
    }

    pub(super) fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
    }
}

/// A file that is being written.
pub(super) struct FileWriter {
    pub(super) name: String,
    file: Box<dyn Append>,
    salt: u64,
    /// Of the next frame.
    sequence: u64,
    /// Of the last frame that is on the disk.
    synced: u64,
    pub(super) length: u64,
}

impl FileWriter {
    /// A new file under `name`, whose head is on the disk. `sequence` is its first frame's.
    pub(super) fn create(
        directory: &dyn Directory,
        name: String,
        head: &Head,
        sequence: u64,
    ) -> io::Result<Self> {
        let mut file = directory.create(&name)?;
        file.append(&head.encode())?;
        file.sync()?;
        directory.sync()?;
        Ok(Self {
            name,
            file,
            salt: head.salt,
            sequence,
            synced: sequence - 1,
            length: HEAD as u64,
        })
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn append(&mut self, mut frame: Frame, bound: Timestamp) -> io::Result<()> {
        let (head, payload) = frame.bytes.split_at_mut(HEADER);
        let header = Header {
            salt: self.salt,
            sequence: self.sequence,
            synced: self.synced,
            bound,
            length: payload.len() as u64,
            payload_crc: crc32fast::hash(payload),
        };
        head.copy_from_slice(&header.encode());
        self.file.append(&frame.bytes)?;
        self.sequence += 1;
        self.length += frame.bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.synced = self.sequence - 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_and_no_bit_of_it_can_change_unseen() {
        let head = Head::new(Kind::Checkpoint, 3, 9, 1 << 40);
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes), Ok(head));
        for bit in 0..8 * HEAD {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_name_tells_kind_and_number_and_what_is_not_ours_has_none() {
        assert_eq!(Kind::Segment.name(7), "0000000000000007.log");
        for number in [0, 7, 9_999_999_999_999_999] {
            let name = Kind::Checkpoint.name(number);
            assert_eq!(Kind::Checkpoint.number(&name), Some(number));
            assert_eq!(Kind::Segment.number(&name), None);
        }
        for name in ["lock", "7.log", "+000000000000007.log", &unfinished(7)] {
            assert_eq!(Kind::Segment.number(name), None, "{name}");
        }
    }
}
