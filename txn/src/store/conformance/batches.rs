//! Requests for several keys at once (rules 31, 32 and 39, as far as the store keeps them).

use super::bed::{Bed, put};
use super::one_key::request;
use crate::Error;
use crate::lock::Wait;
use crate::store::{LockAnswers, LockKey, LockTerms, Locked, Timestamp};
use bytes::Bytes;

/// Several keys of a transaction that has locked another one before.
struct Batch {
    start: Timestamp,
    keys: Vec<Bytes>,
    terms: LockTerms,
}

impl Batch {
    /// Of a fresh transaction; numbered from 2 on, not waited for.
    fn begin<const N: usize>(bed: &Bed, names: [&str; N]) -> Self {
        let (start, primary) = (bed.begin(), bed.key("primary"));
        bed.take(start, &primary);
        Self {
            start,
            keys: names.iter().map(|name| bed.key(name)).collect(),
            terms: LockTerms {
                wait: Wait::NoWait,
                ..LockTerms::new(primary)
            },
        }
    }

    fn numbered(&self) -> Vec<LockKey> {
        let numbered = self.keys.iter().zip(2..);
        numbered
            .map(|(key, attempt)| LockKey::new(key.clone(), attempt))
            .collect()
    }

    /// The whole request, once.
    fn ask(&self, bed: &Bed, keys: &[LockKey]) -> LockAnswers {
        let answers = bed.sure(bed.store.lock(self.start, keys, &self.terms));
        assert!(answers.len() <= keys.len(), "one answer for a key");
        answers
    }

    /// As a transaction asks: what was not answered is asked for again, its first key alone, up to the first failure.
    fn lock(&self, bed: &Bed, keys: &[LockKey]) -> Result<Vec<Locked>, Error> {
        let mut locked = Vec::new();
        let mut most = keys.len();
        while locked.len() < keys.len() {
            let rest = &keys[locked.len()..];
            let rest = &rest[..most.min(rest.len())];
            let answers = bed.ask(bed.store.lock(self.start, rest, &self.terms))?;
            assert!(rest.len() > 1 || answers.len() == 1, "it waits for one");
            most = if answers.len() < rest.len() {
                1
            } else {
                keys.len()
            };
            for answer in answers {
                locked.push(answer?);
            }
        }
        Ok(locked)
    }

    fn give_back(&self, bed: &Bed) {
        let locks = self.numbered().into_iter();
        let locks = locks.map(|key| (key.key, key.attempt)).collect();
        bed.sure(bed.store.unlock(self.start, locks));
    }
}

#[track_caller]
fn is_held(bed: &Bed, key: &Bytes) {
    let other = bed.begin();
    let refused = bed.lock(other, request(key));
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    bed.rollback(other);
}

pub(super) fn a_batch_locks_all_its_keys(bed: &Bed) {
    let batch = Batch::begin(bed, ["a", "b", "c", "d"]);
    let locked = batch.lock(bed, &batch.numbered());
    assert_eq!(locked.map(|locked| locked.len()).ok(), Some(4));
    batch.keys.iter().for_each(|key| is_held(bed, key));
    bed.rollback(batch.start);
    batch.keys.iter().for_each(|key| bed.is_free(key));
}

pub(super) fn a_batch_tells_of_each_key_in_its_place(bed: &Bed) {
    let mut batch = Batch::begin(bed, ["a", "b", "c"]);
    bed.apply(&[put(&batch.keys[0], "1"), put(&batch.keys[2], "3")]);
    batch.terms.value = true;
    batch.terms.existence = true;
    let Ok(locked) = batch.lock(bed, &batch.numbered()) else {
        panic!("nobody is in the way");
    };
    let told: Vec<_> = locked.iter().map(|one| (one.locked, one.exists)).collect();
    assert_eq!(
        told,
        [(true, Some(true)), (true, Some(false)), (true, Some(true))]
    );
    let values: Vec<_> = locked.iter().map(|one| one.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"1"[..]), None, Some(&b"3"[..])]);
    bed.rollback(batch.start);
}

pub(super) fn a_batch_locks_what_exists_and_leaves_the_rest_where_that_is_asked(bed: &Bed) {
    let mut batch = Batch::begin(bed, ["a", "b", "c"]);
    bed.apply(&[put(&batch.keys[1], "2")]);
    batch.terms.value = true;
    batch.terms.only_if_exists = true;
    let locked = batch.lock(bed, &batch.numbered());
    let locked = locked.map(|all| all.iter().map(|one| one.locked).collect::<Vec<_>>());
    assert_eq!(locked.ok(), Some(vec![false, true, false]));
    bed.is_free(&batch.keys[0]);
    is_held(bed, &batch.keys[1]);
    bed.is_free(&batch.keys[2]);
    bed.rollback(batch.start);
}

/// Somebody holds the key in the middle: what is told to be locked is, and nothing else.
pub(super) fn a_batch_that_fails_has_locked_what_it_tells_and_no_more(bed: &Bed) {
    let batch = Batch::begin(bed, ["a", "b", "c"]);
    let holder = bed.begin();
    bed.take(holder, &batch.keys[1]);
    let keys = batch.numbered();
    let answers = batch.ask(bed, &keys);
    assert!(
        answers.iter().any(Result::is_err),
        "it is not waited for: {answers:?}"
    );
    for (at, key) in keys.iter().enumerate() {
        match answers.get(at) {
            Some(Ok(_)) => is_held(bed, &key.key),
            Some(Err(Error::LockNotAvailable { key: named, .. })) => {
                assert_eq!(*named, batch.keys[1]);
            }
            Some(Err(other)) => panic!("it is held: {other}"),
            None => {}
        }
        if at != 1 && !matches!(answers.get(at), Some(Ok(_))) {
            bed.is_free(&key.key);
        }
    }
    batch.give_back(bed);
    bed.rollback(holder);
    batch.keys.iter().for_each(|key| bed.is_free(key));
    bed.rollback(batch.start);
}

pub(super) fn a_batch_waits_and_gets_all_once_the_way_is_free(bed: &Bed) {
    let mut batch = Batch::begin(bed, ["a", "b", "c", "d"]);
    batch.terms.wait = Wait::For(super::PATIENCE);
    let holders = [bed.begin(), bed.begin()];
    bed.take(holders[0], &batch.keys[1]);
    bed.take(holders[1], &batch.keys[2]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| batch.lock(bed, &batch.numbered()));
        holders.iter().for_each(|holder| bed.rollback(*holder));
        let locked = waiting.join().expect("the call's own assertions hold");
        assert_eq!(locked.map(|locked| locked.len()).ok(), Some(4));
    });
    batch.keys.iter().for_each(|key| is_held(bed, key));
    bed.rollback(batch.start);
}

pub(super) fn a_batch_whose_wait_ends_names_the_key_that_is_held(bed: &Bed) {
    let mut batch = Batch::begin(bed, ["a", "b", "c"]);
    batch.terms.wait = Wait::For(std::time::Duration::from_millis(30));
    let holder = bed.begin();
    bed.take(holder, &batch.keys[1]);
    let ended = batch.lock(bed, &batch.numbered());
    assert!(
        matches!(&ended, Err(Error::LockWaitTimeout { key, .. }) if *key == batch.keys[1]),
        "{ended:?}"
    );
    batch.give_back(bed);
    bed.rollback(holder);
    batch.keys.iter().for_each(|key| bed.is_free(key));
    bed.rollback(batch.start);
}

pub(super) fn a_presumption_in_a_batch_is_that_of_its_key(bed: &Bed) {
    let batch = Batch::begin(bed, ["a", "b", "c"]);
    bed.apply(&[put(&batch.keys[0], "1"), put(&batch.keys[2], "3")]);
    let presumed = |absent: [bool; 3]| {
        let mut keys = batch.numbered();
        for (key, absent) in keys.iter_mut().zip(absent) {
            key.absent = absent;
        }
        keys
    };
    let refused = batch.lock(bed, &presumed([false, true, true]));
    assert!(
        matches!(&refused, Err(Error::KeyExists { key }) if *key == batch.keys[2]),
        "{refused:?}"
    );
    batch.give_back(bed);
    let renumbered = presumed([false, true, false]).into_iter();
    let renumbered: Vec<_> = renumbered
        .map(|key| LockKey {
            attempt: key.attempt + 10,
            ..key
        })
        .collect();
    let locked = batch.lock(bed, &renumbered);
    assert_eq!(
        locked.map(|locked| locked[1].exists).ok(),
        Some(Some(false))
    );
    bed.rollback(batch.start);
}

pub(super) fn a_repeated_batch_is_one_lock_of_each_key(bed: &Bed) {
    let batch = Batch::begin(bed, ["a", "b"]);
    for _ in 0..2 {
        assert!(batch.lock(bed, &batch.numbered()).is_ok());
    }
    batch.give_back(bed);
    batch.keys.iter().for_each(|key| bed.is_free(key));
    bed.rollback(batch.start);
}

pub(super) fn a_batch_that_comes_after_its_give_back_is_refused(bed: &Bed) {
    let batch = Batch::begin(bed, ["a", "b"]);
    batch.give_back(bed);
    assert!(batch.lock(bed, &batch.numbered()).is_err());
    batch.keys.iter().for_each(|key| bed.is_free(key));
    bed.rollback(batch.start);
}

/// Nobody was told what became of it, so all of it is given back.
pub(super) fn a_batch_that_is_dropped_holds_nothing_once_it_is_given_back(bed: &Bed) {
    let mut batch = Batch::begin(bed, ["a", "b"]);
    batch.terms.wait = Wait::For(super::PATIENCE);
    let holder = bed.begin();
    bed.take(holder, &batch.keys[0]);
    let keys = batch.numbered();
    drop(bed.store.lock(batch.start, &keys, &batch.terms));
    batch.give_back(bed);
    bed.rollback(holder);
    batch.keys.iter().for_each(|key| bed.is_free(key));
    bed.rollback(batch.start);
}
