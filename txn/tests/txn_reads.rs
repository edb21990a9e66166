//! What a transaction reads: its own writes, then the store as it was when it began.
#![allow(clippy::unwrap_used)]

mod txn_held_store;

use bytes::Bytes;
use std::ops::Bound;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use txn_held_store::HeldStore;
use untorn_txn::transaction::{BlockingRange, Range};
use untorn_txn::{BeginOptions, CommitInfo, Db, Entry, Error, LockOptions, Transaction, TxnState};

fn begin(db: &Db) -> Transaction {
    db.blocking()
        .begin(BeginOptions::default())
        .expect("a fresh timestamp is always valid")
}

fn fill(db: &Db, rows: &[(&str, &str)]) {
    let txn = begin(db);
    for (key, value) in rows {
        txn.put(key, value).unwrap();
    }
    txn.blocking().commit().unwrap();
}

fn get(txn: &Transaction, key: &str) -> Option<String> {
    let value = txn.blocking().get(key).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn pairs(items: impl Iterator<Item = Result<(Bytes, Bytes), Error>>) -> Vec<String> {
    items
        .map(|item| {
            let (key, value) = item.unwrap();
            format!(
                "{}={}",
                String::from_utf8_lossy(&key),
                String::from_utf8_lossy(&value)
            )
        })
        .collect()
}

#[test]
fn own_writes_come_before_the_store() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "2")]);
    let txn = begin(&db);
    txn.put("a", "own").unwrap();
    txn.delete("b").unwrap();
    assert_eq!(get(&txn, "a").as_deref(), Some("own"));
    assert_eq!(get(&txn, "b"), None);
    let values = txn.blocking().batch_get(["b", "a", "c", "a"]).unwrap();
    assert_eq!(values, [None, Some("own".into()), None, Some("own".into())]);
    assert_eq!(get(&begin(&db), "a").as_deref(), Some("1"));
}

#[test]
fn a_snapshot_does_not_see_later_commits() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1")]);
    let old = begin(&db);
    for round in 2..6 {
        fill(&db, &[("a", &round.to_string()), ("new", "x")]);
    }
    let deleter = begin(&db);
    deleter.delete("b").unwrap();
    deleter.blocking().commit().unwrap();
    assert_eq!(get(&old, "a").as_deref(), Some("1"));
    assert_eq!(get(&old, "b").as_deref(), Some("1"));
    assert_eq!(get(&old, "new"), None);
    assert_eq!(pairs(old.blocking().range::<&str>(..)), ["a=1", "b=1"]);
    let new = begin(&db);
    assert_eq!(pairs(new.blocking().range::<&str>(..)), ["a=5", "new=x"]);
}

/// Rule 27.
#[test]
fn a_plain_read_of_a_locked_key_stays_in_the_snapshot_and_a_locking_read_does_not() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1")]);
    let txn = begin(&db);
    fill(&db, &[("a", "2")]);
    let newest = txn.blocking().get_for_update("a").unwrap();
    assert_eq!(newest.as_deref(), Some(&b"2"[..]));
    assert_eq!(get(&txn, "a").as_deref(), Some("1"));
    let again = txn.blocking().get_for_update("a").unwrap();
    assert_eq!(again.as_deref(), Some(&b"2"[..]));
    txn.put("a", "own").unwrap();
    let own = txn.blocking().get_for_update("a").unwrap();
    assert_eq!(own.as_deref(), Some(&b"own"[..]));
    txn.delete("a").unwrap();
    assert_eq!(txn.blocking().get_for_update("a").unwrap(), None);
}

#[test]
fn a_range_merges_the_buffer_over_the_store_in_both_directions() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1"), ("d", "1"), ("e", "1")]);
    let txn = begin(&db);
    txn.put("b", "own").unwrap();
    txn.put("c", "own").unwrap();
    txn.delete("d").unwrap();
    txn.delete("absent").unwrap();
    txn.put("f", "own").unwrap();
    txn.blocking()
        .lock_keys(["a", "only locked"], Default::default())
        .unwrap();
    let all = ["a=1", "b=own", "c=own", "e=1", "f=own"];
    assert_eq!(pairs(txn.blocking().range::<&str>(..)), all);
    let mut reversed = all;
    reversed.reverse();
    assert_eq!(pairs(txn.blocking().range::<&str>(..).rev()), reversed);
    assert_eq!(pairs(txn.blocking().range("b".."e")), all[1..3]);
    assert_eq!(
        pairs(txn.blocking().range("b"..="e").rev()),
        ["e=1", "c=own", "b=own"]
    );
    let inside = (Bound::Excluded("a"), Bound::Excluded("f"));
    assert_eq!(pairs(txn.blocking().range::<&str>(inside)), all[1..4]);
    assert_eq!(pairs(txn.blocking().range("e".."b")), [""; 0]);
    assert_eq!(pairs(txn.blocking().range("b".."b")), [""; 0]);
}

/// Rule 28.
#[test]
fn a_range_is_asked_anew_for_each_item() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("c", "1"), ("e", "1")]);
    let txn = begin(&db);
    let mut range = txn.blocking().range::<&str>(..);
    assert_eq!(range.next().unwrap().unwrap().0, "a");
    txn.put("a", "behind").unwrap();
    txn.put("b", "ahead").unwrap();
    txn.delete("c").unwrap();
    txn.put("e", "over").unwrap();
    assert_eq!(pairs(range), ["b=ahead", "e=over"]);
}

#[test]
fn a_range_goes_on_over_many_batches() {
    let db = Db::in_memory();
    let txn = begin(&db);
    for n in 0..2_000_u32 {
        txn.put(n.to_be_bytes(), n.to_string()).unwrap();
    }
    txn.blocking().commit().unwrap();
    let txn = begin(&db);
    for n in (0..2_000_u32).step_by(3) {
        txn.delete(n.to_be_bytes()).unwrap();
    }
    let expected: Vec<u32> = (0..2_000).filter(|n| n % 3 != 0).collect();
    let numbers = |reverse: bool| -> Vec<u32> {
        let range = txn.blocking().range::<&[u8]>(..);
        let range = if reverse { range.rev() } else { range };
        range
            .map(|item| {
                let (key, value) = item.unwrap();
                let n = u32::from_be_bytes(key[..].try_into().unwrap());
                assert_eq!(value, n.to_string());
                n
            })
            .collect()
    };
    assert_eq!(numbers(false), expected);
    assert!(numbers(true).into_iter().rev().eq(expected));
}

/// Batches of which nothing is left, keys deleted that the store has not, keys that are only locked, in a row.
#[test]
fn a_range_passes_whole_batches_that_were_deleted_here() {
    let db = Db::in_memory();
    let txn = begin(&db);
    for n in (0..2_000_u32).step_by(2) {
        txn.put(n.to_be_bytes(), "stored").unwrap();
    }
    txn.blocking().commit().unwrap();
    let txn = begin(&db);
    let stays = [0, 700, 1_000, 1_002, 1_998];
    for n in (0..2_000_u32).filter(|n| !stays.contains(n)) {
        txn.delete(n.to_be_bytes()).unwrap();
    }
    let locked = [1_000, 5_000, 5_002].map(u32::to_be_bytes);
    txn.blocking()
        .lock_keys(locked, Default::default())
        .unwrap();
    txn.put(701_u32.to_be_bytes(), "own").unwrap();
    txn.put(1_002_u32.to_be_bytes(), "own").unwrap();
    let expected = [0, 700, 701, 1_000, 1_002, 1_998].map(|n: u32| {
        let value = if [701, 1_002].contains(&n) {
            "own"
        } else {
            "stored"
        };
        (Bytes::copy_from_slice(&n.to_be_bytes()), value.into())
    });
    let all = |range: BlockingRange| range.collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(all(txn.blocking().range::<&[u8]>(..)), expected);
    let mut reversed = expected.clone();
    reversed.reverse();
    assert_eq!(all(txn.blocking().range::<&[u8]>(..).rev()), reversed);
    let view = txn.statement_view().unwrap();
    txn.delete(700_u32.to_be_bytes()).unwrap();
    assert_eq!(all(view.blocking().range::<&[u8]>(..)), expected);
    assert_eq!(all(view.blocking().range::<&[u8]>(..).rev()), reversed);
}

/// Who takes a row or two does not pay for many.
#[test]
fn a_range_asks_a_store_that_is_asked_cheaply_for_few_keys_first() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    let txn = begin(&db);
    for n in 0..700_u32 {
        txn.put(n.to_be_bytes(), "v").unwrap();
    }
    txn.blocking().commit().unwrap();
    let txn = begin(&db);
    let snapshot = db.blocking().snapshot().unwrap();
    assert!(txn.blocking().range::<&[u8]>(..).nth(15).is_some());
    assert_eq!(store.scans(), [16]);
    assert_eq!(txn.blocking().range::<&[u8]>(..).rev().count(), 700);
    assert_eq!(store.scans(), [16, 64, 256, 256, 256]);
    assert_eq!(snapshot.blocking().range::<&[u8]>(..).count(), 700);
    assert_eq!(store.scans(), [16, 64, 256, 256, 256]);
}

#[test]
fn a_range_of_a_snapshot_goes_on_over_many_batches_and_does_not_see_later_commits() {
    let db = Db::in_memory();
    let numbered = |numbers: std::ops::Range<u32>| {
        let txn = begin(&db);
        for n in numbers {
            txn.put(n.to_be_bytes(), n.to_string()).unwrap();
        }
        txn.blocking().commit().unwrap();
    };
    numbered(0..1_000);
    let snapshot = db.blocking().snapshot().unwrap();
    let mut range = snapshot.blocking().range(5_u32.to_be_bytes()..);
    assert_eq!(range.next().unwrap().unwrap().1, "5");
    numbered(900..1_100);
    let delete = begin(&db);
    delete.delete(7_u32.to_be_bytes()).unwrap();
    delete.blocking().commit().unwrap();
    let expected = |numbers: std::ops::Range<u32>| numbers.map(|n| n.to_string());
    let values = range.rev().map(|row| row.unwrap().1);
    assert!(values.eq(expected(6..1_000)), "it has begun");
    let range = snapshot.blocking().range::<&[u8]>(..).rev();
    let values = range.map(|row| row.unwrap().1);
    assert!(values.eq(expected(0..1_000).rev()));
    assert!(snapshot.blocking().range("b".."a").next().is_none());
}

#[test]
fn a_snapshot_reads_keys_in_one_request_and_does_not_see_later_commits() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    fill(&db, &[("a", "1"), ("b", "2")]);
    let snapshot = db.blocking().snapshot().unwrap();
    fill(&db, &[("a", "later"), ("c", "later")]);
    let expected = [Some("2".into()), None, Some("1".into()), Some("2".into())];
    let keys = ["b", "c", "a", "b"];
    assert_eq!(snapshot.blocking().batch_get(keys).unwrap(), expected);
    assert_eq!(block_on(snapshot.batch_get(keys)).unwrap(), expected);
    assert_eq!(store.batches(), [4, 4]);
    let none = snapshot.blocking().batch_get([""; 0]).unwrap();
    assert!(none.is_empty());
}

#[test]
fn a_range_of_a_closed_transaction_ends_with_an_error() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1")]);
    let txn = begin(&db);
    let mut range = txn.blocking().range::<&str>(..);
    assert!(range.next().unwrap().is_ok());
    txn.blocking().rollback().unwrap();
    assert!(matches!(
        range.next(),
        Some(Err(Error::TransactionClosed {
            state: TxnState::RolledBack
        }))
    ));
    assert!(range.next().is_none());
}

#[test]
fn keys_with_zero_bytes_are_told_apart_in_every_version() {
    let db = Db::in_memory();
    let keys: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\0\x01", b"\0\xff", b"\x01"];
    for round in 0..3_u8 {
        let txn = begin(&db);
        for key in keys {
            txn.put(key, [round, key.len() as u8]).unwrap();
        }
        txn.blocking().commit().unwrap();
    }
    let old = begin(&db);
    let writer = begin(&db);
    for key in keys {
        writer.put(key, "newer").unwrap();
    }
    writer.blocking().commit().unwrap();
    for key in keys {
        let value = old.blocking().get(key).unwrap();
        assert_eq!(value.as_deref(), Some(&[2, key.len() as u8][..]));
    }
    let found: Vec<Bytes> = old
        .blocking()
        .range::<&[u8]>(..)
        .map(|item| item.unwrap().0)
        .collect();
    assert_eq!(found, keys);
}

/// Rule 28: the direction is chosen before the first step.
#[test]
fn a_range_that_has_begun_is_not_turned_round() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let txn = begin(&db);
    let mut range = txn.range::<&str>(..).rev();
    let next = |range: &mut Range| {
        let item = block_on(range.next()).unwrap();
        item.map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
    };
    assert_eq!(next(&mut range).as_deref(), Some("c"));
    let mut range = range.rev();
    assert_eq!(next(&mut range).as_deref(), Some("b"));
    assert_eq!(next(&mut range).as_deref(), Some("a"));
    assert_eq!(next(&mut range), None);
}

/// Rule 57: what is written here compiles.
#[test]
fn keys_go_in_as_anything_that_is_bytes_and_come_out_as_bytes() {
    type Read<T> = Result<T, Error>;
    let db = Db::in_memory();
    let txn = begin(&db);
    txn.put("a", String::from("1")).unwrap();
    txn.put(String::from("b"), vec![b'2']).unwrap();
    txn.put(vec![b'c'], b"3").unwrap();
    txn.put(Bytes::from("d"), Bytes::from("4")).unwrap();
    txn.put([b'e'], [b'5']).unwrap();
    let calls = txn.blocking();
    let got: Read<Option<Bytes>> = calls.get(String::from("a"));
    assert_eq!(got.unwrap().unwrap(), "1");
    let got: Read<Vec<Option<Bytes>>> = calls.batch_get([[b'b'], [b'c']]);
    assert_eq!(got.unwrap().len(), 2);
    let got: Read<Option<Bytes>> = calls.get_for_update(Bytes::from("d"));
    assert_eq!(got.unwrap().unwrap(), "4");
    let got: Read<Vec<Option<Bytes>>> = calls.batch_get_for_update(vec!["e"]);
    assert_eq!(got.unwrap()[0].as_ref().unwrap(), "5");
    let first: Option<Read<(Bytes, Bytes)>> = calls.range(b"a".to_vec()..).next();
    assert_eq!(first.unwrap().unwrap().0, "a");
    let held: Option<Entry> = txn.buffer().get([b'b']);
    assert_eq!(held, Some(Entry::Value("2".into())));
    let first: Option<(Bytes, Entry)> = txn.buffer().range::<&str>(..).next();
    assert_eq!(first.unwrap().0, "a");
    // The same names, async.
    let of_another = begin(&db);
    let got: Read<Option<Bytes>> = block_on(of_another.get("a"));
    assert_eq!(got.unwrap(), None);
    let rolled_back: Read<()> = block_on(of_another.rollback());
    rolled_back.unwrap();
    let info: Read<CommitInfo> = block_on(txn.commit());
    assert_eq!(info.unwrap().keys, 5);
}

/// Every future here is ready at once.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it has to wait"),
    }
}

#[test]
fn a_commit_asks_for_all_keys_at_once_that_were_locked_and_then_inserted() {
    let asked = |keys: &[&str]| {
        let store = Arc::new(HeldStore::default());
        let db = Db::new(store.clone());
        let txn = begin(&db);
        txn.blocking()
            .lock_keys(keys, LockOptions::default())
            .unwrap();
        for key in keys {
            txn.insert(key, "v").unwrap();
        }
        store.timestamps();
        txn.blocking().commit().unwrap();
        assert_eq!(store.reads(), keys.len());
        store.timestamps()
    };
    assert_eq!(asked(&["a", "b", "c", "d"]), asked(&["a"]));
}
