//! Frames: what a file of the log is made of, byte for byte.
//!
//! A frame is written with one call and is there as a whole or not at all:
//!
//! ```text
//! salt (8) | sequence (8) | synced (8) | bound (8) | length (8) | payload crc (4) | header crc (4) | payload
//! ```
//!
//! Numbers are little-endian, checksums CRC-32. The *salt* is random for each file: neither a value that somebody
//! stored nor what lay on the disk before passes for a frame. *Sequence* counts the frames of all files. *Synced* is
//! the last frame that was known to be on the disk when this one was written: it tells a torn tail from damage
//! (see [`reader`](super::reader)). *Bound* is above every timestamp that may be given out until a later frame is there.
//! The payload is a group of [entries](super::entry); one without is a bound alone.

use crate::store::Timestamp;

pub(super) const HEADER: usize = 48;
const HEADER_CRC: usize = HEADER - 4;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: u64,
    pub(super) sequence: u64,
    pub(super) synced: u64,
    pub(super) bound: Timestamp,
    pub(super) length: u64,
    pub(super) payload_crc: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [
            self.salt,
            self.sequence,
            self.synced,
            self.bound,
            self.length,
        ];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[40..HEADER_CRC].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_CRC]);
        bytes[HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` where the checksum does not fit.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |place: usize| u64::from_le_bytes(part(bytes, place));
        let crc = u32::from_le_bytes(part(bytes, HEADER_CRC));
        (crc32fast::hash(&bytes[..HEADER_CRC]) == crc).then(|| Self {
            salt: word(0),
            sequence: word(8),
            synced: word(16),
            bound: word(24),
            length: word(32),
            payload_crc: u32::from_le_bytes(part(bytes, 40)),
        })
    }

    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        crc32fast::hash(payload) == self.payload_crc
    }
}

/// The `N` bytes at `place`, which is within the slice.
pub(super) fn part<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[place..place + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_no_bit_of_it_can_change_unseen() {
        let header = Header {
            salt: u64::MAX - 1,
            sequence: 7,
            synced: 6,
            bound: 1 << 60,
            length: 3,
            payload_crc: 9,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..8 * HEADER {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&changed), None, "bit {bit}");
        }
    }
}
