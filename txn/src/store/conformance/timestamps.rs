//! Rule 45.

use super::bed::{Bed, put};
use crate::Error;
use crate::store::Timestamp;

/// In every thread, over both calls that draw them, and no two alike.
pub(super) fn timestamps_rise_whoever_draws_them(bed: &Bed) {
    let drawn: Vec<Vec<Timestamp>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut drawn = Vec::new();
                    for _ in 0..20 {
                        drawn.push(bed.now());
                        let start = bed.begin();
                        drawn.push(start);
                        bed.rollback(start);
                    }
                    drawn
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the thread's own assertions hold"))
            .collect()
    });
    for own in &drawn {
        assert!(own.is_sorted_by(|a, b| a < b), "{own:?}");
    }
    let mut all: Vec<_> = drawn.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.is_sorted_by(|a, b| a < b), "one was given twice");
    assert!(bed.now() > all[all.len() - 1]);
}

/// Zero, one that is or was in use and one in the future are refused; one in between reads what was there then.
pub(super) fn a_given_start_timestamp_is_past_and_free(bed: &Bed) {
    let key = bed.key("k");
    // Holds back whatever collects old versions.
    let holder = bed.begin();
    bed.apply(&[put(&key, "old")]);
    let between = bed.now();
    bed.apply(&[put(&key, "new")]);

    let given = bed.sure(bed.store.begin(bed.opening(Some(between))));
    assert_eq!(given, between);
    assert_eq!(bed.get(&key, given).as_deref(), Some(&b"old"[..]));
    let is_refused = |invalid| {
        let refused = bed.ask(bed.store.begin(bed.opening(Some(invalid))));
        assert!(
            matches!(refused, Err(Error::InvalidTimestamp { given, .. }) if given == invalid),
            "{refused:?}"
        );
    };
    let future = bed.now() + (1 << 40);
    for invalid in [0, between, future, Timestamp::MAX] {
        is_refused(invalid);
    }
    bed.rollback(given);
    // A late request of the one that has ended must not be one of another.
    is_refused(between);
    bed.rollback(holder);
}
