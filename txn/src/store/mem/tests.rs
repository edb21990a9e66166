//! Between the phases: what readers meet while a transaction is under way.

use super::*;
use crate::Error;
use crate::store::{Mutation, MutationOp};
use crate::transaction::block_on;
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;

fn put_down(store: &MemStore, mutations: &[(&str, MutationOp)]) -> Timestamp {
    let start = block_on(store.begin(Begin::default())).unwrap();
    let mutations = mutations
        .iter()
        .map(|(key, op)| Mutation::new(Bytes::copy_from_slice(key.as_bytes()), op.clone()))
        .collect();
    block_on(store.prewrite(start, &Prewrite::new(mutations))).unwrap();
    start
}

/// Rule 46: a reader that drew its timestamp between the committer's and its compare-and-swap. The order is
/// brought about by a reader ahead of the oracle.
#[test]
fn a_reader_that_met_an_intent_stays_below_the_commit() {
    for reverse in [false, true] {
        let store = MemStore::new();
        let start = put_down(&store, &[("k", MutationOp::Put("v".into()))]);
        let ahead = store.core.oracle.newest() + (1 << 30);
        let request = ScanRequest {
            lower: std::ops::Bound::Unbounded,
            upper: std::ops::Bound::Unbounded,
            at: ahead,
            limit: 1,
            reverse,
        };
        store.core.oracle.forward(ahead);
        assert_eq!(store.core.read_range(&request).unwrap(), []);
        store.core.oracle.back(start);
        let time = block_on(store.commit(start)).unwrap();
        assert!(time > ahead, "the reader at {ahead} saw nothing of {time}");
    }
}

#[test]
fn a_rollback_beside_readers_never_hides_the_version_that_it_restores() {
    let store = MemStore::new();
    let start = put_down(&store, &[("k", MutationOp::Put("v".into()))]);
    block_on(store.commit(start)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..1_500 {
                let op = if n % 2 == 0 {
                    MutationOp::Put("w".into())
                } else {
                    MutationOp::Delete
                };
                let start = put_down(&store, &[("k", op)]);
                block_on(store.rollback(start)).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let start = block_on(store.begin(Begin::default())).unwrap();
                    let value = store.core.read(b"k", start).unwrap();
                    block_on(store.rollback(start)).unwrap();
                    assert_eq!(value.as_deref(), Some(&b"v"[..]));
                }
            });
        }
        let result = writer.join();
        done.store(true, Ordering::Release);
        result.unwrap();
    });
    assert_eq!(store.stats().old_versions, 0);
}

/// Of a prewrite that is refused in its midst nothing stays, also if it comes twice and is committed all the same.
#[test]
fn a_prewrite_with_a_key_that_is_too_long_puts_nothing_down() {
    let store = MemStore::new();
    let start = block_on(store.begin(Begin::default())).unwrap();
    let put = |key: Vec<u8>| Mutation::new(key.into(), MutationOp::Put("v".into()));
    let too_long = vec![b'k'; untorn_memtable::MAX_KEY_LEN + 1];
    let prewrite = Prewrite::new(vec![put(b"a".to_vec()), put(too_long)]);
    for _ in 0..2 {
        let refused = block_on(store.prewrite(start, &prewrite)).unwrap_err();
        assert!(matches!(refused, Error::EntryTooLarge { .. }), "{refused}");
        assert_eq!(store.stats().keys, 0);
    }
    block_on(store.commit(start)).unwrap();
    assert_eq!(store.stats().keys, 0);
    assert!(store.locks().is_empty());
}

/// Rule 49: of requests that come at the same time, too.
#[test]
fn commits_and_rollbacks_of_one_transaction_at_once_agree() {
    let store = MemStore::new();
    for round in 0..150 {
        let keys: Vec<String> = (0..20).map(|n| format!("{round}-{n}")).collect();
        let mutations: Vec<_> = keys
            .iter()
            .map(|key| (key.as_str(), MutationOp::Put("v".into())))
            .collect();
        let start = put_down(&store, &mutations);
        let (answers, rolled_back): (Vec<Option<Timestamp>>, _) = thread::scope(|scope| {
            let commits: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| block_on(store.commit(start)).ok()))
                .collect();
            let rolled_back = round % 2 == 0 && block_on(store.rollback(start)).is_ok();
            let answers = commits
                .into_iter()
                .map(|commit| commit.join().unwrap())
                .collect();
            (answers, rolled_back)
        });
        let times: Vec<Timestamp> = answers.iter().flatten().copied().collect();
        assert!(times.windows(2).all(|pair| pair[0] == pair[1]));
        let now = block_on(store.timestamp()).unwrap();
        for key in keys {
            let value = store.core.read(key.as_bytes(), now).unwrap();
            assert_eq!(value.is_some(), !times.is_empty());
        }
        assert_eq!(times.len(), if rolled_back { 0 } else { 3 });
        assert!(store.locks().is_empty());
    }
    assert_eq!(store.stats().open, 0);
}

/// A transaction notes what it has asked for, and forgets what it does not hold any more.
#[test]
fn notes_of_locks_that_went_back_do_not_pile_up_and_a_lock_that_is_held_has_one() {
    let store = MemStore::new();
    let start = block_on(store.begin(Begin::default())).unwrap();
    let terms = LockTerms::new("held".into());
    let ask = |key: &'static str, attempt| {
        let keys = [LockKey::new(key.into(), attempt)];
        let answers = block_on(store.lock(start, &keys, &terms)).unwrap();
        assert!(matches!(&answers[..], [Ok(locked)] if locked.locked));
    };
    let open = store.core.open(start).unwrap();
    for attempt in 1..=3_000 {
        ask("held", attempt);
    }
    assert_eq!(open.asked.noted(), 1);
    for attempt in 3_001..=8_000 {
        ask("given back", attempt);
        block_on(store.unlock(start, vec![("given back".into(), attempt)])).unwrap();
    }
    assert!(open.asked.noted() < 2_000, "{}", open.asked.noted());
    block_on(store.rollback(start)).unwrap();
    assert!(store.locks().is_empty());
}

#[test]
fn a_lock_that_is_waited_for_stays_noted_while_others_are_given_back() {
    let store = MemStore::new();
    let begin = || block_on(store.begin(Begin::default())).unwrap();
    let terms = LockTerms::new("hot".into());
    let (holder, waiting) = (begin(), begin());
    let hot = [LockKey::new("hot".into(), 1)];
    let _ = block_on(store.lock(holder, &hot, &terms)).unwrap();
    let mut call = store.lock(waiting, &hot, &terms);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut call).poll(&mut context).is_pending());
    for attempt in 2..4_000 {
        let other = [LockKey::new("given back".into(), attempt)];
        let _ = block_on(store.lock(waiting, &other, &terms)).unwrap();
        block_on(store.unlock(waiting, vec![("given back".into(), attempt)])).unwrap();
    }
    let locks = &store.core.locks;
    assert_eq!(locks.waited_for_by(waiting), HashSet::from(["hot".into()]));
    assert!(locks.waited_for_by(holder).is_empty());
    block_on(store.rollback(holder)).unwrap();
    assert!(block_on(call).is_ok());
    block_on(store.rollback(waiting)).unwrap();
    assert!(store.locks().is_empty());
}

/// Rule 52: what a view needs is held from the draw of its timestamp on, also while it changes its stripe.
#[test]
fn the_safe_point_never_passes_a_view() {
    let store = MemStore::new();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                store.core.oracle.next();
                store.core.live.advance(&store.core.oracle);
            }
        });
        let passed = (0..300_000).find_map(|_| {
            let at = store.core.hold_view(None).unwrap();
            let safe_point = store.core.live.safe_point();
            store.let_go(at);
            (safe_point > at).then_some((safe_point, at))
        });
        is_done.store(true, Ordering::Release);
        assert_eq!(passed, None);
    });
}
