//! S10, S11: stages that vanish or are released under readers and writers.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Kind, Memtable, Snapshot, Stats, Update};

use super::{assert_exact, forward, owned, stats, table};

const BEFORE: [(&str, &str); 1] = [("a", "0")];
const STAGED: [(&str, &str); 2] = [("a", "11"), ("b", "22")];

/// A settled key, overwritten in a stage, and a new one made there.
fn staged() -> (Arc<Memtable>, untorn_memtable::StageId) {
    let table = table(&BEFORE);
    let stage = table.open_stage();
    for (key, value) in STAGED {
        assert!(table.insert(key, value).unwrap().staged);
    }
    (table, stage)
}

/// S10. A cleanup against two gets: once one write of the stage is gone, all are.
#[test]
fn s10_cleanup_with_gets() {
    model("s10_cleanup_with_gets", 7, 360, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        let a = table.get("a").expect("the settled value is below");
        let b = table.get("b");
        assert!(&*a == b"11" || (&*a == b"0" && b.is_none()), "{a:?} {b:?}");
        cleaner.join().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A cleanup against the counters.
#[test]
fn s10_cleanup_with_stats() {
    model("s10_cleanup_with_stats", 6, 590, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        let gone = table.get("b").is_none();
        let seen: Stats = table.stats();
        let after = stats(&BEFORE);
        assert!(
            seen == after || (!gone && seen == stats(&STAGED)),
            "{seen:?}, gone: {gone}"
        );
        cleaner.join().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A cleanup against a scan.
#[test]
fn s10_cleanup_with_scan() {
    model("s10_cleanup_with_scan", 7, 78, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        let seen = forward(&table);
        let torn = owned(&[("a", "11")]);
        // Each step of a range shows the newest, so the stage may vanish between two steps, but never return.
        assert!(
            seen == owned(&STAGED) || seen == owned(&BEFORE) || seen == torn,
            "{seen:?}"
        );
        cleaner.join().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A write against the cleanup: it belongs to the stage and goes, or it comes after and stays.
#[test]
fn s10_cleanup_with_write() {
    model("s10_cleanup_with_write", 4, 2200, || {
        let table = table(&BEFORE);
        let stage = table.open_stage();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        let written = table.insert("a", "333").unwrap();
        cleaner.join().unwrap();
        let content = if written.staged {
            BEFORE
        } else {
            [("a", "333")]
        };
        assert_exact(&table, &content);
    });
}

/// S11. A release against a get and a write: nothing of the stage is lost.
#[test]
fn s11_release_with_get_and_write() {
    model("s11_release_with_get_and_write", 4, 3100, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let releaser = spawn(move || assert!(there.release_stage(stage).unwrap().outermost));
        assert_eq!(table.get("a").as_deref(), Some(&b"11"[..]));
        table.insert("c", "3").unwrap();
        releaser.join().unwrap();
        assert_exact(&table, &[("a", "11"), ("b", "22"), ("c", "3")]);
    });
}

/// S10. A write into the key that a cleanup takes back, while another write clears away what is left of it.
#[test]
fn s10_cleanup_paid_under_a_write() {
    model("s10_cleanup_paid_under_a_write", 2, 4900, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || {
            there.cleanup_stage(stage).unwrap();
            there.insert("c", "3").unwrap();
        });
        let written = table.insert("b", "999").unwrap();
        cleaner.join().unwrap();
        if written.staged {
            assert_exact(&table, &[("a", "0"), ("c", "3")]);
        } else {
            assert_exact(&table, &[("a", "0"), ("b", "999"), ("c", "3")]);
        }
    });
}

/// The settled key is overwritten in a stage, and a new one made in a stage inside.
fn nested() -> (Arc<Memtable>, [untorn_memtable::StageId; 2]) {
    let table = table(&BEFORE);
    let stages = STAGED.map(|(key, value)| {
        let stage = table.open_stage();
        table.insert(key, value).unwrap();
        stage
    });
    (table, stages)
}

/// S10. The cleanup of an inner stage against a write: the outer stage keeps its own.
#[test]
fn s10_inner_cleanup_with_write() {
    model("s10_inner_cleanup_with_write", 4, 1000, || {
        let (table, [outer, inner]) = nested();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(inner).unwrap());
        assert!(table.insert("a", "333").unwrap().staged);
        cleaner.join().unwrap();
        let a = table.get("a").unwrap();
        assert!(&*a == b"11" || &*a == b"333", "{a:?}");
        let a = String::from_utf8(a.to_vec()).unwrap();
        assert_exact(&table, &[("a", &a)]);
        table.cleanup_stage(outer).unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. The release of an inner stage against a write: what both stages wrote and what only the inner one did is taken back with
/// the outer one.
#[test]
fn s10_inner_release_with_write() {
    model("s10_inner_release_with_write", 4, 300, || {
        let (table, [outer, inner]) = nested();
        let there = Arc::clone(&table);
        let releaser = spawn(move || assert!(!there.release_stage(inner).unwrap().outermost));
        assert!(table.insert("a", "333").unwrap().staged);
        releaser.join().unwrap();
        assert_exact(&table, &[("a", "333"), ("b", "22")]);
        table.cleanup_stage(outer).unwrap();
        // Each pays for what was taken back, which is forgotten then.
        for value in ["1", "2", "3", "4"] {
            table.insert("c", value).unwrap();
        }
        assert_exact(&table, &[("a", "0"), ("c", "4")]);
    });
}

/// S10. Persistent bits of a tag outlive the cleanup of the stage that set them, and with them the key.
#[test]
fn s10_cleanup_with_a_persistent_tag() {
    model("s10_cleanup_with_a_persistent_tag", 4, 1000, || {
        let table = Arc::new(Memtable::with_persistent_tag(1));
        let stage = table.open_stage();
        table.insert("k", "v").unwrap();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        table
            .update("k", |found| {
                Update::Tag(found.map_or(0, |item| item.tag) | 1)
            })
            .unwrap();
        let entry = table.entry("k").expect("a locked key stays");
        assert_eq!(entry.tag, 1);
        cleaner.join().unwrap();
        let entry = table.entry("k").expect("a locked key stays");
        assert_eq!((entry.kind, entry.tag), (Kind::TagOnly, 1));
        assert_eq!(table.stats(), Stats { len: 1, size: 1 });
    });
}

/// S11. A snapshot of before the stages, while the stage is released.
#[test]
fn s11_release_with_snapshot_of_before() {
    model("s11_release_with_snapshot_of_before", 6, 1200, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let releaser = spawn(move || assert!(there.release_stage(stage).unwrap().outermost));
        let snapshot = Snapshot::before_stages(&*table);
        let a = snapshot.get("a").unwrap();
        let b = snapshot.get("b");
        assert!(
            (&*a == b"0" && b.is_none()) || (&*a == b"11" && b.as_deref() == Some(b"22")),
            "{a:?} {b:?}"
        );
        releaser.join().unwrap();
        assert_eq!((snapshot.get("a").unwrap(), snapshot.get("b")), (a, b));
        drop(snapshot);
        assert_exact(&table, &STAGED);
    });
}

/// S10. A read-modify-write of what a cleanup takes back: computed from the staged value and gone with it, or computed
/// from the settled one.
#[test]
fn s10_cleanup_with_update() {
    model("s10_cleanup_with_update", 4, 800, || {
        let (table, stage) = staged();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        let written = table
            .update("a", |found| {
                let mut value = found.expect("never absent").value.to_vec();
                value.push(b'x');
                Update::Put {
                    value: value.into(),
                    tag: 0,
                }
            })
            .unwrap();
        cleaner.join().unwrap();
        assert_exact(&table, &[("a", if written.staged { "0" } else { "0x" })]);
    });
}

/// S10. A key that a stage made and removed is in debt until the stage's list is paid, whatever clears it away before.
#[test]
fn s10_key_made_and_removed_in_a_stage() {
    model("s10_key_made_and_removed_in_a_stage", 1, 50, || {
        let table = table(&BEFORE);
        let stage = table.open_stage();
        table.insert("b", "22").unwrap();
        let there = Arc::clone(&table);
        let remover = spawn(move || assert!(there.remove("b").unwrap().is_some()));
        table.release_stage(stage).unwrap();
        table.insert("c", "3").unwrap();
        remover.join().unwrap();
        table.insert("d", "4").unwrap();
        table.insert("e", "5").unwrap();
        assert_exact(&table, &[("a", "0"), ("c", "3"), ("d", "4"), ("e", "5")]);
    });
}

/// S10. What was written in a stage is looked at while an inner stage is cleaned up and the names of its writes are worked off.
#[test]
fn s10_stage_writes_under_a_cleanup_that_is_paid() {
    model(
        "s10_stage_writes_under_a_cleanup_that_is_paid",
        3,
        100,
        || {
            let (table, outer) = staged();
            let inner = table.open_stage();
            table.insert("a", "333").unwrap();
            let there = Arc::clone(&table);
            let cleaner = spawn(move || {
                there.cleanup_stage(inner).unwrap();
                there.insert("c", "3").unwrap();
            });
            let keys: Vec<_> = table.stage_writes(&outer).expect("it is open");
            let keys: Vec<_> = keys.iter().map(|entry| &entry.key[..]).collect();
            assert!(
                keys.contains(&&b"a"[..]) && keys.contains(&&b"b"[..]),
                "{keys:?}"
            );
            cleaner.join().unwrap();
            let newest: Vec<_> = table.stage_writes(&outer).expect("it is open");
            let newest: Vec<_> = newest.iter().map(|entry| &entry.key[..]).collect();
            assert_eq!(newest, [b"c", b"b", b"a"]);
            table.cleanup_stage(outer).unwrap();
        },
    );
}
