//! What the fuzz targets share: keys that are alike, so that few bytes make splits, prefixes and collisions.

#![forbid(unsafe_code)]

use arbitrary::{Arbitrary, Unstructured};

/// A key with a long prefix that many share, or a short one, or bytes as they come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub Vec<u8>);

const PREFIX: &[u8] = b"a/prefix/that/is/longer/than/a/head/";

impl<'a> Arbitrary<'a> for Key {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Key> {
        let kind: u8 = input.arbitrary()?;
        let n: u8 = input.arbitrary()?;
        Ok(Key(match kind % 8 {
            0..3 => [PREFIX, &[n]].concat(),
            3 => [PREFIX, &[n % 8, 0, n / 8]].concat(),
            4 => vec![b'k'; usize::from(n % 24)],
            5 => vec![n],
            6 => vec![0; usize::from(n % 12)],
            _ => input.bytes(input.len().min(usize::from(n % 32)))?.to_vec(),
        }))
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A value: a few bytes, or as many as no longer lie beside the key.
#[derive(Debug, Clone)]
pub struct Value(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Value {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Value> {
        let n: u8 = input.arbitrary()?;
        let len = match n {
            250.. => 120 + 4 * usize::from(n - 250),
            _ => usize::from(n % 16),
        };
        Ok(Value(vec![n; len]))
    }
}
