//! The keys of a call, ascending and none twice, and where each of those given is among them.

use bytes::Bytes;

pub(super) struct Ordered {
    pub(super) keys: Vec<Bytes>,
    /// The place of each given key; `None` where they were given like that.
    places: Option<Vec<usize>>,
}

impl Ordered {
    pub(super) fn of(given: Vec<Bytes>) -> Self {
        if given.is_sorted_by(|a, b| a < b) {
            return Self {
                keys: given,
                places: None,
            };
        }
        let mut places = vec![0; given.len()];
        let mut sorted: Vec<(Bytes, usize)> = given.into_iter().zip(0..).collect();
        sorted.sort_unstable();
        let mut keys: Vec<Bytes> = Vec::with_capacity(sorted.len());
        for (key, given_at) in sorted {
            if keys.last() != Some(&key) {
                keys.push(key);
            }
            places[given_at] = keys.len() - 1;
        }
        Self {
            keys,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn given(names: &[&'static str]) -> Vec<Bytes> {
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
            assert_eq!(ordered.as_given(ordered.keys.clone()), given(names));
        }
    }
}
