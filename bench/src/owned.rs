//! Byte strings that a peer stores: the generic peers take their key and value types through this.

use bytes::Bytes;
use byteslice::ByteSlice;

/// A byte string that can be made from a borrowed one.
pub trait Owned: Ord + Clone + Send + Sync + 'static {
    /// The one length that it can have, if it cannot have every length.
    const LEN: Option<usize> = None;

    /// A copy of `bytes`.
    ///
    /// # Panics
    /// If the type has a fixed length and `bytes` is of another one. Callers ask [`LEN`](Owned::LEN) first.
    fn copied(bytes: &[u8]) -> Self;

    /// The content.
    fn content(&self) -> &[u8];
}

impl Owned for Bytes {
    fn copied(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes)
    }
    fn content(&self) -> &[u8] {
        self
    }
}

impl Owned for Vec<u8> {
    fn copied(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }
    fn content(&self) -> &[u8] {
        self
    }
}

impl Owned for Box<[u8]> {
    fn copied(bytes: &[u8]) -> Self {
        bytes.into()
    }
    fn content(&self) -> &[u8] {
        self
    }
}

impl Owned for ByteSlice {
    fn copied(bytes: &[u8]) -> Self {
        ByteSlice::from_slice(bytes)
    }
    fn content(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> Owned for [u8; N] {
    const LEN: Option<usize> = Some(N);
    fn copied(bytes: &[u8]) -> Self {
        bytes
            .try_into()
            .expect("the caller has checked the fixed length")
    }
    fn content(&self) -> &[u8] {
        self
    }
}
