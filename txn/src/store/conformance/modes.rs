//! Shared locks, locks of what exists, forced locks (rules 37, 40, 43, 44), and attempts that come late.

use super::bed::{Bed, PATIENCE, put};
use super::one_key::{OneKey, patient, request};
use crate::Error;
use crate::lock::Wait;
use crate::store::Timestamp;
use bytes::Bytes;

/// As a transaction asks whose primary is held already.
fn shared(key: &Bytes, primary: &Bytes) -> OneKey {
    request(key).shared(primary).attempt(2)
}

/// A transaction with an exclusive primary of its own.
fn begin_with_primary(bed: &Bed, name: &str) -> (Timestamp, Bytes) {
    let (start, primary) = (bed.begin(), bed.key(name));
    bed.take(start, &primary);
    (start, primary)
}

pub(super) fn a_shared_lock_has_many_holders_and_no_exclusive_one(bed: &Bed) {
    let key = bed.key("k");
    let (one, first) = begin_with_primary(bed, "primary 1");
    let (two, second) = begin_with_primary(bed, "primary 2");
    bed.sure(bed.locking(one, shared(&key, &first)));
    bed.sure(bed.locking(two, shared(&key, &second)));
    let writer = bed.begin();
    let mut answer = bed.locking(writer, patient(&key));
    bed.waits(&mut answer);
    bed.rollback(one);
    bed.waits(&mut answer);
    bed.rollback(two);
    bed.sure(answer);
    let (three, third) = begin_with_primary(bed, "primary 3");
    let refused = bed.lock(three, shared(&key, &third));
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    bed.rollback(three);
    bed.rollback(writer);
}

/// The transaction that holds it shared gets it exclusively neither by a lock nor by a write.
pub(super) fn a_shared_lock_is_never_upgraded(bed: &Bed) {
    let key = bed.key("k");
    let (start, primary) = begin_with_primary(bed, "primary");
    bed.sure(bed.locking(start, shared(&key, &primary)));
    let refused = bed.lock(start, request(&key).attempt(3));
    assert!(
        matches!(refused, Err(Error::OptionConflict { .. })),
        "{refused:?}"
    );
    assert!(bed.prewrite(start, &[put(&key, "v")]).is_err());
    bed.rollback(start);
    bed.is_free(&key);
}

pub(super) fn a_shared_request_is_served_by_an_exclusive_lock(bed: &Bed) {
    let (start, primary) = begin_with_primary(bed, "primary");
    let locked = bed.sure(bed.locking(start, shared(&primary, &primary)));
    assert!(locked.locked);
    // It is exclusive still.
    let (other, theirs) = begin_with_primary(bed, "primary 2");
    assert!(bed.lock(other, shared(&primary, &theirs)).is_err());
    bed.rollback(other);
    bed.rollback(start);
}

pub(super) fn only_what_exists_is_locked_where_that_is_asked(bed: &Bed) {
    let (there, absent) = (bed.key("there"), bed.key("absent"));
    bed.apply(&[put(&there, "v")]);
    let start = bed.begin();
    let asking = |key: &Bytes, attempt| request(key).only_if_exists().with_value().attempt(attempt);
    let locked = bed.sure(bed.locking(start, asking(&there, 1)));
    assert_eq!((locked.locked, locked.exists), (true, Some(true)));
    assert_eq!(locked.value.as_deref(), Some(&b"v"[..]));
    let locked = bed.sure(bed.locking(start, asking(&absent, 2)));
    assert_eq!((locked.locked, locked.exists), (false, Some(false)));
    bed.is_free(&absent);
    let refused = bed.lock(bed.begin(), request(&there));
    assert!(refused.is_err());
    bed.rollback(start);
}

pub(super) fn a_forced_lock_is_granted_and_tells_of_the_conflict(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    let forced = |at, attempt| {
        request(&key)
            .seen_at(at)
            .forced()
            .with_value()
            .attempt(attempt)
    };
    let locked = bed.sure(bed.locking(start, forced(start, 1)));
    assert_eq!((locked.locked, locked.conflict_ts), (true, None));
    bed.unlock(start, &key, 1);
    let time = bed.apply(&[put(&key, "new")]);
    let locked = bed.sure(bed.locking(start, forced(start, 2)));
    assert_eq!((locked.locked, locked.conflict_ts), (true, Some(time)));
    // What it tells is the newest, not what was there at the timestamp.
    assert_eq!(locked.value.as_deref(), Some(&b"new"[..]));
    bed.rollback(start);
}

pub(super) fn a_lock_request_that_comes_after_its_give_back_is_refused(bed: &Bed) {
    let key = bed.key("k");
    let (start, holder) = (bed.begin(), bed.begin());
    bed.unlock(start, &key, 1);
    assert!(bed.lock(start, request(&key)).is_err());
    bed.is_free(&key);
    // So is one that waits when it is given back.
    bed.take(holder, &key);
    let waiting = request(&key).attempt(2).wait(Wait::For(PATIENCE));
    let mut answer = bed.locking(start, waiting);
    bed.waits(&mut answer);
    bed.unlock(start, &key, 2);
    bed.rollback(holder);
    drop(answer);
    bed.is_free(&key);
    let again = patient(&key).attempt(3);
    bed.sure(bed.locking(start, again));
    bed.rollback(start);
}
