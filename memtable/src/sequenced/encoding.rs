//! How a key and a sequence number become one key of the table: order by key, then from the newest number to the oldest.
//!
//! A zero byte of the key becomes `00 FF`, and `00 01` ends it, so that no encoded key is the beginning of another one. The
//! number follows, complemented and big-endian. The scheme is that of FoundationDB's tuple layer.

use crate::error::Error;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::{Bound, RangeBounds};

/// Longest key of a [`SequencedMemtable`](crate::SequencedMemtable), in bytes.
pub const MAX_SEQUENCED_KEY_LEN: usize = 65_535;

/// The first and the last number in the order of the table.
pub(super) const NEWEST: u64 = u64::MAX;
pub(super) const OLDEST: u64 = 0;

const END: [u8; 2] = [0, 1];
const ZERO: [u8; 2] = [0, 0xFF];

/// Room for the end, the number and a few zeros.
const SPARE: usize = 16;

/// How long a key is as it is stored.
pub(super) fn stored_len(key: &[u8]) -> usize {
    let zeros = key.iter().filter(|&&byte| byte == 0).count();
    key.len() + zeros + END.len() + size_of::<u64>()
}

/// The key under which a version is stored. One that is too long is not stored, but may be a bound.
pub(super) fn encode(key: &[u8], sequence: u64) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(key.len() + SPARE);
    append(key, sequence, &mut encoded);
    encoded
}

/// As [`encode`], behind what is there.
pub(super) fn append(key: &[u8], sequence: u64, encoded: &mut Vec<u8>) {
    encoded.reserve(key.len() + SPARE);
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        match has_zero(u64::from_ne_bytes(*word)) {
            true => escape(word, encoded),
            false => encoded.extend_from_slice(word),
        }
    }
    escape(rest, encoded);
    encoded.extend_from_slice(&END);
    encoded.extend_from_slice(&(!sequence).to_be_bytes());
}

/// Whether one of the bytes is zero: only then does the subtraction set the highest bit of one that did not have it.
fn has_zero(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xFF;
    word.wrapping_sub(ONES) & !word & (ONES << 7) != 0
}

fn escape(bytes: &[u8], encoded: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            0 => encoded.extend_from_slice(&ZERO),
            _ => encoded.push(byte),
        }
    }
}

/// Whether a key is short enough to be stored.
pub(super) fn check(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        size if size > MAX_SEQUENCED_KEY_LEN => Err(Error::KeyTooLarge {
            size,
            limit: MAX_SEQUENCED_KEY_LEN,
        }),
        _ => Ok(()),
    }
}

/// The bounds of a range, as stored keys.
pub(super) type Stored = (Bound<Bytes>, Bound<Bytes>);

/// The bounds, of stored keys, of what a number sees of a range of keys; of `None`, of all their versions.
pub(super) fn stored<K: AsRef<[u8]>>(at: Option<u64>, bounds: impl RangeBounds<K>) -> Stored {
    let stored = |key: &K, sequence| Bytes::from(encode(key.as_ref(), sequence));
    let lower = match bounds.start_bound() {
        // The number sees no newer one of this key.
        Bound::Included(key) => Bound::Included(stored(key, at.unwrap_or(NEWEST))),
        Bound::Excluded(key) => Bound::Excluded(stored(key, OLDEST)),
        Bound::Unbounded => Bound::Unbounded,
    };
    let upper = match bounds.end_bound() {
        Bound::Included(key) => Bound::Included(stored(key, OLDEST)),
        Bound::Excluded(key) => Bound::Excluded(stored(key, NEWEST)),
        Bound::Unbounded => Bound::Unbounded,
    };
    (lower, upper)
}

/// The part that all versions of a key have in common, and the number.
pub(super) fn split(encoded: &[u8]) -> (&[u8], u64) {
    match encoded.split_last_chunk() {
        Some((key, sequence)) => (key, !u64::from_be_bytes(*sequence)),
        None => unreachable!("every key was encoded here"),
    }
}

/// The stored key of another version of the same key.
pub(super) fn sibling(encoded: &[u8], sequence: u64) -> Bytes {
    let (key, _) = split(encoded);
    [key, &(!sequence).to_be_bytes()].concat().into()
}

/// The key itself; a copy only if it has a zero byte.
pub(super) fn decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    let (key, _) = split(encoded);
    let key = key.strip_suffix(&END).unwrap_or(key);
    if !key.contains(&0) {
        return Cow::Borrowed(key);
    }
    let mut decoded = Vec::with_capacity(key.len());
    let mut after_zero = false;
    for &byte in key {
        // The second byte of an escaped zero.
        if !after_zero {
            decoded.push(byte);
        }
        after_zero = !after_zero && byte == 0;
    }
    Cow::Owned(decoded)
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![Just(0u8), Just(1), Just(0xFF), any::<u8>()],
            0..20,
        )
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_keys_and_then_of_falling_numbers(
            (a, m) in (key(), 0..3u64),
            (b, n) in (key(), 0..3u64),
        ) {
            let expected = a.cmp(&b).then(n.cmp(&m));
            let stored = encode(&a, m);
            prop_assert_eq!(stored.len(), stored_len(&a));
            prop_assert_eq!(stored.cmp(&encode(&b, n)), expected);
            prop_assert_eq!(&decode(&stored)[..], &a[..]);
            prop_assert_eq!(split(&encode(&b, n)).1, n);
            prop_assert_eq!(&sibling(&encode(&b, n), m)[..], &encode(&b, m)[..]);
        }
    }
}
