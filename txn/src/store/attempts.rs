//! Attempts that were given back, as the stretches that they make up: numbers of one transaction follow each other, so that these
//! are few, however often a key is locked and let go.

use std::collections::BTreeMap;

/// A set of attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The last of each stretch, by the first; no two touch.
    stretches: BTreeMap<u64, u64>,
}

impl Attempts {
    pub(super) fn insert(&mut self, attempt: u64) {
        let (mut first, mut last) = (attempt, attempt);
        if let Some((&before, &end)) = self.stretches.range(..=attempt).next_back()
            && end >= attempt.saturating_sub(1)
        {
            (first, last) = (before, end.max(attempt));
        }
        if let Some(after) = last.checked_add(1)
            && let Some(end) = self.stretches.remove(&after)
        {
            last = end;
        }
        self.stretches.insert(first, last);
    }

    pub(super) fn contains(&self, attempt: u64) -> bool {
        let stretch = self.stretches.range(..=attempt).next_back();
        stretch.is_some_and(|(_, &last)| attempt <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn of(attempts: impl IntoIterator<Item = u64>) -> Attempts {
        let mut all = Attempts::default();
        attempts.into_iter().for_each(|one| all.insert(one));
        all
    }

    #[test]
    fn what_follows_each_other_is_one_stretch() {
        assert_eq!(of(0..1000).stretches.len(), 1);
        assert_eq!(of((0..1000).rev()).stretches.len(), 1);
        assert_eq!(of([u64::MAX, 0, u64::MAX - 1]).stretches.len(), 2);
    }

    proptest! {
        #[test]
        fn it_contains_what_was_put_in(attempts in vec(0..40u64, 0..40)) {
            let known: HashSet<u64> = attempts.iter().copied().collect();
            let all = of(attempts);
            for attempt in 0..41 {
                prop_assert_eq!(all.contains(attempt), known.contains(&attempt));
            }
            let mut ends = all.stretches.iter().zip(all.stretches.iter().skip(1));
            prop_assert!(ends.all(|((_, last), (first, _))| last + 1 < *first));
        }
    }
}
