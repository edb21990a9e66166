//! Writes and syncs that fail.

use super::*;
use crate::TxnState;
use crate::store::TxnStatus;

#[test]
fn after_a_failure_what_was_under_way_is_undetermined_nothing_is_committed_and_reads_go_on() {
    for (operations, part) in [(0, 0.0), (0, 0.5), (0, 1.0), (1, 0.0)] {
        let disk = Disk::default();
        let (store, db) = opened(&disk);
        put(&db, "a", "1").unwrap();
        disk.fail_after(operations, part);

        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        txn.put("a", "2").unwrap();
        let failed = txn.blocking().commit().unwrap_err();
        assert!(matches!(failed, Error::Undetermined { .. }), "{failed}");
        assert_eq!(txn.state(), TxnState::Undetermined);
        assert!(matches!(txn.blocking().outcome(), Err(Error::Store { .. })));
        assert!(matches!(
            block_on(store.rollback(txn.start_ts())),
            Err(Error::Store { .. })
        ));

        let refused = put(&db, "b", "1").unwrap_err();
        assert!(matches!(refused, Error::LogFailed { .. }), "{refused}");
        assert!(!refused.is_retryable());
        assert_eq!(value(&db, "a").as_deref(), Some("1"));
        assert_eq!(value(&db, "b"), None);

        let start = txn.start_ts();
        let killed = disk.after_kill();
        drop((txn, store, db));
        let (store, db) = opened(&killed);
        // The whole frame was written in the last case, and where the part was all of it.
        let is_there = (operations, part) == (1, 0.0) || part == 1.0;
        let expected = if is_there { "2" } else { "1" };
        assert_eq!(value(&db, "a").as_deref(), Some(expected));
        let status = block_on(store.status(start, "a".into())).unwrap();
        assert_eq!(matches!(status, TxnStatus::Committed(_)), is_there);
    }
}

/// It was prewritten before the failure and is told after it, by the store, that nothing was done.
#[test]
fn a_commit_that_the_log_never_had_is_rolled_back() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    put(&db, "a", "1").unwrap();
    let start = block_on(store.begin(Begin::default())).unwrap();
    let mutation =
        crate::store::Mutation::new("a".into(), crate::store::MutationOp::Put("2".into()));
    let prewrite = crate::store::Prewrite::new(vec![mutation]);
    block_on(store.prewrite(start, &prewrite)).unwrap();
    disk.fail_after(0, 0.0);
    assert!(put(&db, "b", "1").is_err());
    let refused = block_on(store.commit(start)).unwrap_err();
    assert!(matches!(refused, Error::LogFailed { .. }), "{refused}");
    let status = block_on(store.status(start, "a".into())).unwrap();
    assert_eq!(status, TxnStatus::RolledBack);
    assert_eq!(value(&db, "a").as_deref(), Some("1"));
    assert!(!store.locks().held().iter().any(|held| held.key == "a"));
}

/// In a mode that syncs later the failure is found later, and ends commits all the same.
#[test]
fn a_sync_that_fails_in_the_background_ends_commits() {
    let disk = Disk::default();
    let sync = SyncMode::Every(std::time::Duration::ZERO);
    let store = open(&disk, LogOptions::default().sync(sync)).unwrap();
    let db = Db::new(store.clone());
    // The write succeeds, the sync after it does not.
    disk.fail_after(1, 0.0);
    put(&db, "a", "1").unwrap();
    while store.core.log.as_ref().unwrap().failure().is_none() {
        std::thread::yield_now();
    }
    assert!(matches!(put(&db, "b", "1"), Err(Error::LogFailed { .. })));
    assert_eq!(value(&db, "a").as_deref(), Some("1"));
}

/// Timestamps go on, though no bound can be written any more.
#[test]
fn a_failed_log_does_not_stop_the_clock() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    disk.fail_after(0, 0.0);
    assert!(put(&db, "a", "1").is_err());
    drop(disk);
    let now = store.core.oracle.newest();
    store.core.oracle.forward(now + (1 << 50));
    assert!(db.blocking().timestamp().unwrap() > now + (1 << 50));
    assert!(!store.core.oracle.is_asked());
}
