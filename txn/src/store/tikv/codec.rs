//! Keys as PD knows them: the borders of regions are user keys in TiKV's *memory comparable* encoding.
//!
//! Groups of eight bytes, padded with zeros, each followed by 255 minus the number of padding bytes: encoded keys sort as
//! the keys do, and none is the beginning of another (MyRocks' format). In requests to TiKV keys are plain.

use super::TikvError;
use bytes::Bytes;

const GROUP: usize = 8;
const MARKER: u8 = 0xff;

/// The encoding of a key.
pub fn encode_key(key: &[u8]) -> Bytes {
    let mut encoded = Vec::with_capacity((key.len() / GROUP + 1) * (GROUP + 1));
    let mut rest = key;
    loop {
        let (group, after) = rest.split_at(rest.len().min(GROUP));
        let padding = GROUP - group.len();
        encoded.extend_from_slice(group);
        encoded.resize(encoded.len() + padding, 0);
        encoded.push(MARKER - padding as u8);
        if padding > 0 {
            return encoded.into();
        }
        rest = after;
    }
}

/// The key of an encoding; an empty one, a border without end, stays empty.
///
/// # Errors
///
/// [`TikvError::Protocol`] for bytes that are no encoding.
pub fn decode_key(encoded: &[u8]) -> Result<Bytes, TikvError> {
    let mut key = Vec::with_capacity(encoded.len());
    let mut groups = encoded.chunks_exact(GROUP + 1);
    while let Some(group) = groups.next() {
        let padding = usize::from(MARKER - group[GROUP]);
        if padding == 0 {
            key.extend_from_slice(&group[..GROUP]);
            continue;
        }
        let is_last = groups.len() == 0 && groups.remainder().is_empty();
        if padding <= GROUP
            && is_last
            && group[GROUP - padding..GROUP].iter().all(|&byte| byte == 0)
        {
            key.extend_from_slice(&group[..GROUP - padding]);
            return Ok(key.into());
        }
        break;
    }
    if encoded.is_empty() {
        return Ok(Bytes::new());
    }
    Err(TikvError::Protocol {
        what: format!("a region's border is no encoded key: {encoded:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_keys_sort_as_the_keys_and_come_back() {
        let mut keys: Vec<Vec<u8>> = vec![
            vec![],
            vec![0],
            vec![0; 7],
            vec![0; 8],
            vec![0; 9],
            vec![255; 8],
        ];
        keys.extend((0..200_u32).map(|n| {
            n.wrapping_mul(2_654_435_761)
                .to_be_bytes()
                .repeat(1 + n as usize % 5)
        }));
        keys.sort();
        let encoded: Vec<Bytes> = keys.iter().map(|key| encode_key(key)).collect();
        assert!(encoded.is_sorted());
        for (key, encoded) in keys.iter().zip(&encoded) {
            assert_eq!(decode_key(encoded).unwrap(), key);
        }
    }

    #[test]
    fn the_encoding_is_that_of_tikv() {
        // The example of TiKV's codec documentation.
        assert_eq!(encode_key(b"abc"), &b"abc\0\0\0\0\0\xfa"[..]);
        assert_eq!(
            encode_key(b"12345678"),
            &b"12345678\xff\0\0\0\0\0\0\0\0\xf7"[..]
        );
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for bytes in [
            &b"abc"[..],
            b"abc\0\0\0\0\0\xff",
            b"abcdefgh\xfa",
            b"abc\0\0\0\0\0\xf0",
        ] {
            assert!(decode_key(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(decode_key(b"").unwrap(), "");
    }
}
