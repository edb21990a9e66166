//! The records of the two tables, byte for byte.
//!
//! *Newest* table, under the user's key: `time (8) | start (8) | value`, with a tag that says what it is.
//! For a committed record `time` is the commit timestamp and `start` the transaction's; for an intent both
//! are the start timestamp of the transaction that wrote it.
//!
//! *History* table, under `encoded key | inverted commit timestamp`: `start (8) | value`, same tags.
//! The encoding keeps the order of keys and makes none a prefix of another: 0 becomes `0 255`, the end is
//! `0 1`. The timestamp is inverted, so that the newest version of a key comes first.

use crate::store::Timestamp;

/// Tag of a record that holds a value.
pub(crate) const VALUE: u32 = 0;
/// Tag of a record that says: deleted.
pub(crate) const DELETED: u32 = 1;
/// Bit set while the writer of the record is not resolved.
pub(crate) const INTENT: u32 = 4;

const TIMESTAMP: usize = 8;

/// A record of the newest table, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) time: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) intent: bool,
    /// `None` where it says: deleted.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    pub(crate) fn decode(tag: u32, bytes: &'a [u8]) -> Self {
        let (time, rest) = split_timestamp(bytes);
        let (start, value) = split_timestamp(rest);
        Self {
            time,
            start,
            intent: tag & INTENT != 0,
            value: (tag & DELETED == 0).then_some(value),
        }
    }

    pub(crate) fn tag(&self) -> u32 {
        tag(self.value) | if self.intent { INTENT } else { 0 }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let value = self.value.unwrap_or_default();
        let mut bytes = Vec::with_capacity(2 * TIMESTAMP + value.len());
        bytes.extend_from_slice(&self.time.to_be_bytes());
        bytes.extend_from_slice(&self.start.to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    }
}

fn tag(value: Option<&[u8]>) -> u32 {
    if value.is_some() { VALUE } else { DELETED }
}

/// The tag and bytes of a record of the history table.
pub(crate) fn encode_old(start: Timestamp, value: Option<&[u8]>) -> (u32, Vec<u8>) {
    let content = value.unwrap_or_default();
    let mut bytes = Vec::with_capacity(TIMESTAMP + content.len());
    bytes.extend_from_slice(&start.to_be_bytes());
    bytes.extend_from_slice(content);
    (tag(value), bytes)
}

/// Start timestamp and value of a record of the history table.
pub(crate) fn decode_old(tag: u32, bytes: &[u8]) -> (Timestamp, Option<&[u8]>) {
    let (start, value) = split_timestamp(bytes);
    (start, (tag & DELETED == 0).then_some(value))
}

/// Key of the version of `key` that was committed at `time`.
pub(crate) fn old_key(key: &[u8], time: Timestamp) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(key.len() + 2 + TIMESTAMP);
    for &byte in key {
        encoded.push(byte);
        if byte == 0 {
            encoded.push(255);
        }
    }
    encoded.extend_from_slice(&[0, 1]);
    encoded.extend_from_slice(&(!time).to_be_bytes());
    encoded
}

/// When the version under this key of the history table was committed.
#[cfg(test)]
fn old_time(old_key: &[u8]) -> Timestamp {
    let (_, inverted) = old_key.split_at(old_key.len().saturating_sub(TIMESTAMP));
    !split_timestamp(inverted).0
}

fn split_timestamp(bytes: &[u8]) -> (Timestamp, &[u8]) {
    let (head, rest) = bytes
        .split_first_chunk::<TIMESTAMP>()
        .expect("every record of the store's own tables begins with a timestamp");
    (Timestamp::from_be_bytes(*head), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_read_back_as_they_were_written() {
        for value in [None, Some(&b""[..]), Some(&b"x"[..])] {
            for intent in [false, true] {
                let record = Record {
                    time: 7,
                    start: 5,
                    intent,
                    value,
                };
                assert_eq!(Record::decode(record.tag(), &record.encode()), record);
            }
            let (tag, bytes) = encode_old(5, value);
            assert_eq!(decode_old(tag, &bytes), (5, value));
        }
    }

    proptest! {
        #[test]
        fn history_keys_sort_by_key_and_then_newest_first(
            a in prop::collection::vec(0_u8..3, 0..6), b in prop::collection::vec(0_u8..3, 0..6),
            s in any::<u64>(), t in any::<u64>(),
        ) {
            let expected = a.cmp(&b).then(t.cmp(&s));
            prop_assert_eq!(old_key(&a, s).cmp(&old_key(&b, t)), expected);
            prop_assert_eq!(old_time(&old_key(&a, s)), s);
        }
    }
}
