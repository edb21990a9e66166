//! Who is alive, how far a transaction has come, and what becomes of those whose owner is gone (rules 49 to 51).

use super::bed::{Bed, PATIENCE, put, refused_as};
use super::one_key::{patient, request};
use crate::TxnState::{Committed, RolledBack};
use crate::lock::Wait;
use crate::store::{Begin, LOCK_TTL, Prewrite, Timestamp, TxnStatus};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Over by the time that anybody asks.
const OVER: Duration = Duration::from_millis(1);

fn status(bed: &Bed, start: Timestamp, primary: &Bytes) -> TxnStatus {
    bed.sure(bed.store.status(start, primary.clone()))
}

/// A transaction that nobody answers for.
fn begin_without_owner(bed: &Bed) -> Timestamp {
    bed.sure(bed.store.begin(Begin::default()))
}

pub(super) fn a_status_tells_how_far_a_transaction_has_come(bed: &Bed) {
    let (key, other) = (bed.key("k"), bed.key("other"));
    let start = bed.begin();
    bed.take(start, &key);
    assert_eq!(status(bed, start, &key), TxnStatus::Open);
    bed.put_down_as(start, &[put(&key, "v"), put(&other, "v")]);
    assert_eq!(status(bed, start, &key), TxnStatus::Open);
    let time = bed.commit(start);
    for _ in 0..2 {
        assert_eq!(status(bed, start, &key), TxnStatus::Committed(time));
    }
    let start = bed.put_down(&[put(&key, "w")]);
    bed.rollback(start);
    for _ in 0..2 {
        assert_eq!(status(bed, start, &key), TxnStatus::RolledBack);
    }
}

/// Asking is enough to make it so: whoever comes with such a name later is refused.
pub(super) fn a_transaction_that_never_was_is_rolled_back(bed: &Bed) {
    let (key, never) = (bed.key("k"), bed.now());
    assert_eq!(status(bed, never, &key), TxnStatus::RolledBack);
    refused_as(bed.prewrite(never, &[put(&key, "v")]), RolledBack);
    refused_as(bed.ask(bed.store.commit(never)), RolledBack);
    assert_eq!(bed.newest(&key), None);
}

pub(super) fn a_heartbeat_is_refused_after_the_end(bed: &Bed) {
    let key = bed.key("k");
    for state in [Committed, RolledBack] {
        let start = bed.put_down(&[put(&key, "v")]);
        let beat = || bed.ask(bed.store.heartbeat(start, key.clone(), LOCK_TTL));
        assert!(beat().is_ok());
        if state == Committed {
            bed.commit(start);
        } else {
            bed.rollback(start);
        }
        refused_as(beat(), state);
    }
}

pub(super) fn a_dead_owners_lock_is_resolved_by_who_finds_it(bed: &Bed) {
    let key = bed.key("k");
    bed.apply(&[put(&key, "old")]);
    let dead = begin_without_owner(bed);
    let briefly = Prewrite {
        ttl: OVER,
        wait: Wait::NoWait,
        ..Prewrite::new(vec![put(&key, "new")])
    };
    bed.sure(bed.store.prewrite(dead, &briefly));
    let start = bed.begin();
    let locked = bed.sure(bed.locking(start, patient(&key).with_value()));
    assert_eq!(locked.value.as_deref(), Some(&b"old"[..]));
    refused_as(bed.ask(bed.store.commit(dead)), RolledBack);
    refused_as(
        bed.ask(bed.store.heartbeat(dead, key.clone(), LOCK_TTL)),
        RolledBack,
    );
    bed.rollback(start);
}

pub(super) fn a_dead_transaction_is_rolled_back_by_who_asks_for_its_status(bed: &Bed) {
    let key = bed.key("k");
    let dead = begin_without_owner(bed);
    let briefly = request(&key).ttl(OVER);
    bed.sure(bed.locking(dead, briefly));
    let until = Instant::now() + PATIENCE;
    while status(bed, dead, &key) == TxnStatus::Open {
        assert!(Instant::now() < until, "its time to live is over");
    }
    assert_eq!(status(bed, dead, &key), TxnStatus::RolledBack);
    bed.is_free(&key);
    refused_as(bed.prewrite(dead, &[put(&key, "v")]), RolledBack);
}

pub(super) fn a_heartbeat_keeps_a_transaction_without_owner_alive(bed: &Bed) {
    let key = bed.key("k");
    let start = begin_without_owner(bed);
    let briefly = request(&key).ttl(OVER);
    bed.sure(bed.locking(start, briefly));
    // Nobody has looked at it since: it is not dead before somebody does.
    bed.sure(bed.store.heartbeat(start, key.clone(), LOCK_TTL));
    let until = Instant::now() + OVER * 2;
    while Instant::now() < until {
        assert_eq!(status(bed, start, &key), TxnStatus::Open);
    }
    assert_eq!(status(bed, start, &key), TxnStatus::Open);
    assert!(bed.lock(bed.begin(), request(&key)).is_err());
    bed.rollback(start);
}
