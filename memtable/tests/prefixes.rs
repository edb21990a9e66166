//! Keys that begin alike, of which the runs at the ends of the chain leave out more than their fences allow; and groups of keys
//! that 4 bytes of a head do not tell apart, or not even 8.

use proptest::prelude::*;
use std::collections::BTreeMap;
use untorn_memtable::Memtable;

/// Keys of a few stems, in groups or not, the stems themselves and what differs from them early, late or by length alone.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let stem = prop_oneof![
        6 => Just(&b"t\x80\0\0\0\0\0\0\x2a_r"[..]),
        2 => Just(&b"t\x80\0\0\0\0\0\0\x2a"[..]),
        1 => Just(&b"t\x80\0\0\0\0\0\0\x2b_r"[..]),
        1 => Just(&b""[..]),
    ];
    let group = prop_oneof![
        2 => Just(Vec::new()),
        1 => (0..24u8, prop::sample::select(vec![3usize, 5, 8]))
            .prop_map(|(group, alike)| [vec![group], vec![b'-'; alike]].concat()),
    ];
    let rest = prop::collection::vec(
        prop::sample::select(vec![0u8, 1, 0x5f, 0x7f, 0x80, 255]),
        0..10,
    );
    (stem, group, rest).prop_map(|(stem, group, rest)| [stem, &group, &rest].concat())
}

/// What is written: the key, and whether it is put or removed.
fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let random = prop::collection::vec((key(), prop::bool::weighted(0.7)), 0..200);
    let ordered = prop::collection::vec(key(), 0..200).prop_map(|mut keys| {
        keys.sort();
        keys.into_iter().map(|key| (key, true)).collect()
    });
    prop_oneof![random, ordered]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn keys_that_begin_alike_are_found_as_in_a_sorted_map(
        writes in writes(),
        asked in prop::collection::vec(key(), 20),
        capacity in prop::sample::select(vec![2, 4, 17, 33, 64]),
    ) {
        let table = Memtable::new().with_leaf_capacity(capacity);
        let mut map = BTreeMap::new();
        for (key, put) in writes {
            let value = [map.len() as u8];
            match put {
                true => {
                    table.insert(&key, value).unwrap();
                    map.insert(key, value);
                }
                false => {
                    let removed = table.remove(&key).unwrap().map(|entry| entry.value.to_vec());
                    prop_assert_eq!(removed, map.remove(&key).map(|value| value.to_vec()));
                }
            }
        }
        let pinned = table.pin();
        for key in asked.iter().chain(map.keys()) {
            prop_assert_eq!(pinned.get(key), map.get(key).map(|value| &value[..]));
            let above: Vec<_> = pinned.range(&key[..]..).map(|(key, _)| key).collect();
            let expected: Vec<_> = map.range(key.clone()..).map(|(key, _)| &key[..]).collect();
            prop_assert_eq!(above, expected);
            let below: Vec<_> = pinned.range(..&key[..]).rev().map(|(key, _)| key).collect();
            let expected: Vec<_> = map.range(..key.clone()).rev().map(|(key, _)| &key[..]).collect();
            prop_assert_eq!(below, expected);
        }
        prop_assert_eq!(pinned.get_many(&asked), asked.iter().map(|key| pinned.get(key)).collect::<Vec<_>>());
    }
}
