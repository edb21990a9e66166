//! The keys of a call, ascending and none twice, and where each of those given is among them.
//!
//! Keys of one table have a long beginning in common, and the bytes right behind it tell nearly all of them apart. So they are
//! sorted by eight bytes of there, as a number; where these are alike, by the whole keys.

use super::super::Keys;
use bytes::Bytes;

pub(in crate::transaction) struct Ordered {
    pub(in crate::transaction) keys: Keys,
    /// The place of each given key; `None` where they were given like that.
    places: Option<Vec<usize>>,
}

impl Ordered {
    pub(in crate::transaction) fn of(mut given: Keys) -> Self {
        if given.is_sorted_by(|a, b| a < b) {
            return Self {
                keys: given,
                places: None,
            };
        }
        let common = common_beginning(&given);
        let heads = given.iter().map(|key| head(&key[common..]));
        let mut sorted: Vec<(u64, usize)> = heads.zip(0..).collect();
        sorted.sort_unstable_by(|&(a, at_a), &(b, at_b)| {
            a.cmp(&b).then_with(|| given[at_a].cmp(&given[at_b]))
        });
        let mut places = vec![0; given.len()];
        let mut keys: Vec<Bytes> = Vec::with_capacity(given.len());
        for (_, given_at) in sorted {
            let key = std::mem::take(&mut given[given_at]);
            if keys.last() != Some(&key) {
                keys.push(key);
            }
            places[given_at] = keys.len() - 1;
        }
        Self {
            keys: Keys::from_vec(keys),
            places: Some(places),
        }
    }

    /// What was found out of the keys, for each given one.
    pub(super) fn as_given<T: Clone>(&self, of_keys: Vec<T>) -> Vec<T> {
        match &self.places {
            None => of_keys,
            Some(places) => places.iter().map(|&at| of_keys[at].clone()).collect(),
        }
    }
}

/// How many bytes all keys begin with alike.
fn common_beginning(keys: &[Bytes]) -> usize {
    let Some((first, others)) = keys.split_first() else {
        return 0;
    };
    others.iter().fold(first.len(), |common, key| {
        let alike = first[..common].iter().zip(key);
        alike.take_while(|(a, b)| a == b).count()
    })
}

/// The first eight bytes as a number. Where two differ, the keys stand like them: what ends early is less, as if it went on
/// with zeros.
fn head(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            head[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(head)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn given(names: &[&'static str]) -> Keys {
        names
            .iter()
            .map(|name| Bytes::from_static(name.as_bytes()))
            .collect()
    }

    #[test]
    fn each_given_key_is_answered_in_its_place_and_duplicates_each() {
        for names in [
            &["a", "b", "c"][..],
            &["c", "a", "b"],
            &["b", "a", "b", "b"],
            &["a", "a"],
        ] {
            let ordered = Ordered::of(given(names));
            assert!(ordered.keys.is_sorted_by(|a, b| a < b));
            assert_eq!(
                ordered.as_given(ordered.keys.to_vec()),
                given(names).to_vec()
            );
        }
    }

    proptest! {
        #[test]
        fn any_keys_are_sorted_as_a_whole_and_found_in_their_places(
            names in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![0_u8, 1, 255]), 0..12), 0..40),
            common in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let name = |name: &Vec<u8>| Bytes::from([&common[..], name].concat());
            let given: Keys = names.iter().map(name).collect();
            let ordered = Ordered::of(given.clone());
            prop_assert!(ordered.keys.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(ordered.as_given(ordered.keys.to_vec()), given.to_vec());
        }
    }
}
