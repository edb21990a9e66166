//! Values that say which key they belong to, which write made them, and whether they are whole.

use rand::RngExt;
use rand::rngs::SmallRng;

/// Bytes of key mark and number.
const HEAD: usize = 16;

/// Values up to this length; beyond 128 bytes the memtable stores them apart.
const LONGEST: usize = 300;

/// A value for the key, made by the write of this number.
pub fn value(key: &[u8], number: u64, rng: &mut SmallRng) -> Vec<u8> {
    let mark = mark(key);
    let mut bytes = [mark.to_be_bytes(), number.to_be_bytes()].concat();
    let len = match rng.random_range(0..4) {
        0 => HEAD,
        1 => rng.random_range(HEAD..LONGEST),
        _ => rng.random_range(HEAD..64),
    };
    bytes.resize(len, fill(mark, number));
    bytes
}

/// The number of the write that made the value; panics unless it is one of the key's, and whole.
#[track_caller]
pub fn number(key: &[u8], value: &[u8]) -> u64 {
    let whose = key.escape_ascii();
    assert!(value.len() >= HEAD, "{} bytes under {whose}", value.len());
    let word = |at: usize| {
        let bytes = value[at..at + 8].iter();
        bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let (mark_found, number) = (word(0), word(8));
    assert_eq!(mark_found, mark(key), "a foreign value under {whose}");
    let fill = fill(mark_found, number);
    assert!(
        value[HEAD..].iter().all(|byte| *byte == fill),
        "a torn value under {whose}"
    );
    number
}

fn mark(key: &[u8]) -> u64 {
    key.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn fill(mark: u64, number: u64) -> u8 {
    (mark ^ number)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .to_be_bytes()[0]
}
