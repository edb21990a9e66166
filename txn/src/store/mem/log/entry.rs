//! Entries: one commit as the log holds it, byte for byte.
//!
//! ```text
//! start timestamp (8) | keys (4) | for each: kind (1) | key length (4) | key | value length (8) | value
//! ```
//!
//! A deletion ends after its key. Touches are not in it: they decide about transactions that are open at the time,
//! and none of those outlives the process.

use super::frame::part;
use crate::store::Timestamp;

const HEAD: usize = 12;
const DELETION: u8 = 0;
const VALUE: u8 = 1;

/// What one commit writes, as bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(start: Timestamp) -> Self {
        let mut bytes = start.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; HEAD - 8]);
        Self { bytes }
    }

    /// Adds a key; without a value it is deleted.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let keys = self.keys() + 1;
        self.bytes[8..HEAD].copy_from_slice(&keys.to_le_bytes());
        self.bytes
            .push(if value.is_some() { VALUE } else { DELETION });
        // No key of the memtable is that long.
        let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(key);
        if let Some(value) = value {
            let length = value.len() as u64;
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(value);
        }
    }

    fn keys(&self) -> u32 {
        u32::from_le_bytes(part(&self.bytes, 8))
    }

    /// Nothing that lasts is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys() == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A key of an entry that is read; without a value it is deleted.
pub(super) type Written<'a> = (&'a [u8], Option<&'a [u8]>);

/// Tells the entries of a payload: the start timestamp of each, and what it writes. `None` where the payload is
/// no sequence of entries; what was told before that stands.
pub(super) fn read<'a>(
    payload: &'a [u8],
    mut tell: impl FnMut(Timestamp, Vec<Written<'a>>),
) -> Option<()> {
    let mut rest = payload;
    while !rest.is_empty() {
        let start = u64::from_le_bytes(take(&mut rest)?);
        let keys = u32::from_le_bytes(take(&mut rest)?);
        let mut written = Vec::new();
        for _ in 0..keys {
            let [kind] = take(&mut rest)?;
            let length = u32::from_le_bytes(take(&mut rest)?);
            let key = slice(&mut rest, u64::from(length))?;
            let value = match kind {
                DELETION => None,
                VALUE => {
                    let length = u64::from_le_bytes(take(&mut rest)?);
                    Some(slice(&mut rest, length)?)
                }
                _ => return None,
            };
            written.push((key, value));
        }
        tell(start, written);
    }
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn slice<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Timestamp, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn told(payload: &[u8]) -> (Option<()>, Vec<Owned>) {
        let mut all = Vec::new();
        let end = read(payload, |start, written| {
            let owned = |(key, value): Written<'_>| (key.to_vec(), value.map(<[u8]>::to_vec));
            all.push((start, written.into_iter().map(owned).collect()));
        });
        (end, all)
    }

    proptest! {
        #[test]
        fn entries_read_back_and_a_payload_that_is_cut_off_is_refused(
            entries in prop::collection::vec((any::<u64>(), prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..9), prop::option::of(prop::collection::vec(any::<u8>(), 0..9))),
                1..5)), 1..5),
            cut in 1_usize..8,
        ) {
            let mut payload = Vec::new();
            for (start, keys) in &entries {
                let mut entry = Entry::new(*start);
                prop_assert!(entry.is_empty());
                keys.iter().for_each(|(key, value)| entry.push(key, value.as_deref()));
                prop_assert!(!entry.is_empty());
                payload.extend_from_slice(entry.bytes());
            }
            prop_assert_eq!(told(&payload), (Some(()), entries));
            prop_assert_eq!(told(&payload[..payload.len() - cut.min(4)]).0, None);
        }

        #[test]
        fn no_payload_is_too_wrong_to_be_refused(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            told(&payload);
        }
    }
}
