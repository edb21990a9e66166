//! Every way to read agrees with a plain sorted map.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use untorn_memtable::{
    Cursor, Entry, Error, Exchange, Kind, Memtable, MemtableSet, Shard, Snapshot,
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Leaves of which the tables here are made: the smallest, small, and those that users get.
const CAPACITIES: [usize; 3] = [2, 4, 48];

fn short_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3),
        (0..40u32).prop_map(|n| format!("a/long/shared/prefix/{n:03}").into_bytes()),
    ]
}

fn contents() -> impl Strategy<Value = Map> {
    prop::collection::btree_map(short_key(), prop::collection::vec(any::<u8>(), 0..4), 0..80)
}

fn filled(map: &Map, capacity: usize) -> Memtable {
    let table = Memtable::new().with_leaf_capacity(capacity);
    for (key, value) in map {
        table.insert(key, value).unwrap();
    }
    table
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        short_key().prop_map(Bound::Included),
        short_key().prop_map(Bound::Excluded),
    ]
}

/// What the map holds in the bounds; nothing if they are inverted.
fn within(map: &Map, (lower, upper): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Map {
    let above = |key: &Vec<u8>| match lower {
        Bound::Unbounded => true,
        Bound::Included(lower) => key >= lower,
        Bound::Excluded(lower) => key > lower,
    };
    let below = |key: &Vec<u8>| match upper {
        Bound::Unbounded => true,
        Bound::Included(upper) => key <= upper,
        Bound::Excluded(upper) => key < upper,
    };
    let pairs = map.iter().filter(|(key, _)| above(key) && below(key));
    pairs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[derive(Debug, Clone)]
enum Move {
    Seek(Vec<u8>),
    SeekForPrev(Vec<u8>),
    First,
    Last,
    Next,
    Prev,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => short_key().prop_map(Move::Seek),
        1 => short_key().prop_map(Move::SeekForPrev),
        1 => Just(Move::First),
        1 => Just(Move::Last),
        6 => Just(Move::Next),
        6 => Just(Move::Prev),
    ]
}

/// Where a cursor is in a map.
#[derive(Clone)]
enum Place {
    Start,
    At(Vec<u8>),
    End,
}

impl Place {
    fn after(self, step: &Move, map: &Map) -> Place {
        let forward = |from: Bound<Vec<u8>>| {
            let keys = within(map, &(from, Bound::Unbounded));
            keys.into_keys().next().map_or(Place::End, Place::At)
        };
        let backward = |to: Bound<Vec<u8>>| {
            let keys = within(map, &(Bound::Unbounded, to));
            keys.into_keys().next_back().map_or(Place::Start, Place::At)
        };
        match (step, self) {
            (Move::Seek(key), _) => forward(Bound::Included(key.clone())),
            (Move::SeekForPrev(key), _) => backward(Bound::Included(key.clone())),
            (Move::First, _) | (Move::Next, Place::Start) => forward(Bound::Unbounded),
            (Move::Last, _) | (Move::Prev, Place::End) => backward(Bound::Unbounded),
            (Move::Next, Place::At(key)) => forward(Bound::Excluded(key)),
            (Move::Prev, Place::At(key)) => backward(Bound::Excluded(key)),
            (Move::Next, Place::End) => Place::End,
            (Move::Prev, Place::Start) => Place::Start,
        }
    }
}

fn follow<T: std::ops::Deref<Target = Memtable>>(
    cursor: &mut Cursor<T>,
    step: &Move,
) -> Option<Entry> {
    let entry = match step {
        Move::Seek(key) => cursor.seek(key),
        Move::SeekForPrev(key) => cursor.seek_for_prev(key),
        Move::First => cursor.seek_to_first(),
        Move::Last => cursor.seek_to_last(),
        Move::Next => cursor.next(),
        Move::Prev => cursor.prev(),
    };
    entry.cloned()
}

proptest! {
    #[test]
    fn ranges_scans_and_lookups_show_what_the_map_holds(
        map in contents(),
        bounds in (bound(), bound()),
        wanted in prop::collection::vec(short_key(), 0..50),
    ) {
        for capacity in CAPACITIES {
            let table = filled(&map, capacity);
            let expected = within(&map, &bounds);

            let pinned = table.pin();
            let ranged: Map = pinned.range(bounds.clone()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(&ranged, &expected);
            let mut scanned = Map::new();
            let all = table.scan(bounds.clone(), |key, value| {
                scanned.insert(key.to_vec(), value.to_vec());
                ControlFlow::<()>::Continue(())
            });
            prop_assert_eq!(all, ControlFlow::Continue(()));
            prop_assert_eq!(&scanned, &expected);

            let got: Vec<_> = table.get_many(&wanted).into_iter().map(|value| value.map(|value| value.to_vec())).collect();
            let expected: Vec<_> = wanted.iter().map(|key| map.get(key).cloned()).collect();
            prop_assert_eq!(got, expected);

            let first = map.first_key_value().map(|(key, value)| (&key[..], &value[..]));
            let last = map.last_key_value().map(|(key, value)| (&key[..], &value[..]));
            prop_assert_eq!(pinned.first(), first);
            prop_assert_eq!(pinned.last(), last);
            let snapshot = table.snapshot();
            prop_assert_eq!(snapshot.first().map(|entry| entry.key.to_vec()), first.map(|(key, _)| key.to_vec()));
            prop_assert_eq!(snapshot.last().map(|entry| entry.key.to_vec()), last.map(|(key, _)| key.to_vec()));
        }
    }

    #[test]
    fn a_cursor_goes_where_the_map_says(
        map in contents(),
        later in contents(),
        moves in prop::collection::vec(a_move(), 0..60),
    ) {
        for capacity in CAPACITIES {
            let table = Arc::new(filled(&map, capacity));
            let mut snapshot = Cursor::at(Snapshot::new(table.clone()));
            let mut live = Cursor::new(table.clone());
            let (mut place, mut live_place) = (Place::Start, Place::Start);
            let mut now = map.clone();
            let mut later = later.iter();
            for step in &moves {
                // One more key for the cursor over the table, and its own taken away.
                if let Some((key, value)) = later.next() {
                    table.insert(key, value).unwrap();
                    now.insert(key.clone(), value.clone());
                }
                if let Some(entry) = live.entry() {
                    table.remove(&entry.key).unwrap();
                    now.remove(&entry.key[..]);
                }
                place = place.after(step, &map);
                live_place = live_place.after(step, &now);
                for (shown, place, map) in [
                    (follow(&mut snapshot, step), &place, &map),
                    (follow(&mut live, step), &live_place, &now),
                ] {
                    let expected = match place {
                        Place::At(key) => Some((key.clone(), map[key].clone())),
                        Place::Start | Place::End => None,
                    };
                    prop_assert_eq!(shown.map(|entry| (entry.key.to_vec(), entry.value.to_vec())), expected, "{:?}", step);
                }
            }
        }
    }

    #[test]
    fn shards_cover_the_table_once_and_count_it(map in contents(), at_most in prop_oneof![0..12usize, Just(usize::MAX)]) {
        for capacity in CAPACITIES {
            let table = filled(&map, capacity);
            let shards = table.shards(at_most);
            prop_assert!(shards.len() <= at_most.max(1));
            let mut shown = Vec::new();
            for Shard { range, entries } in &shards {
                let keys: Vec<_> = table.pin().range(range.clone()).map(|(key, _)| key.to_vec()).collect();
                prop_assert_eq!(keys.len(), *entries);
                shown.extend(keys);
            }
            prop_assert_eq!(shown, map.keys().cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn small_ranges_are_counted_and_not_guessed(map in contents(), bounds in (bound(), bound())) {
        let table = filled(&map, 48);
        prop_assert_eq!(table.range_count_estimate(bounds.clone()), within(&map, &bounds).len());
    }
}

#[test]
fn the_estimate_of_a_large_range_is_near() {
    let table = Memtable::new();
    let key = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes();
    for n in 0..200_000 {
        table.insert(key(n), "v").unwrap();
    }
    for (from, to) in [
        (0u32, u32::MAX),
        (1 << 20, 1 << 31),
        (1 << 31, 3 << 30),
        (5, 1 << 28),
    ] {
        let range = from.to_be_bytes()..to.to_be_bytes();
        let counted = table.pin().range(range.clone()).count();
        let estimate = table.range_count_estimate(range);
        assert!(
            counted * 2 / 3 < estimate && estimate < counted * 3 / 2,
            "{estimate} for {counted}"
        );
    }
    let all = table.range_count_estimate::<&[u8]>(..);
    assert!((133_000..300_000).contains(&all), "{all} for 200,000");
    let shards = table.shards(8);
    assert_eq!(shards.len(), 8);
    assert!(
        shards
            .iter()
            .all(|shard| (24_000..26_000).contains(&shard.entries))
    );
}

#[test]
fn concurrent_computations_lose_none() {
    const EACH: u32 = 2000;
    let table = Memtable::new().with_leaf_capacity(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..EACH {
                    let count = |value: Option<&[u8]>| {
                        let count =
                            value.map_or(0, |value| u32::from_be_bytes(value.try_into().unwrap()));
                        Some((count + 1).to_be_bytes().to_vec())
                    };
                    table.compute([(n % 7) as u8], count).unwrap();
                    let key = n.to_be_bytes();
                    let mine = std::thread::current().id();
                    let mine = format!("{mine:?}");
                    let winner = table.get_or_insert_with(key, || &mine).unwrap();
                    assert_eq!(table.get(key), Some(winner));
                    // A lock by compare-and-set: between the two no other thread is in.
                    while table
                        .compare_and_set("lock", None, Some(mine.as_bytes()))
                        .unwrap()
                        != Exchange::Set
                    {
                        std::thread::yield_now();
                    }
                    let held = table.get("lock");
                    assert_eq!(held.as_deref(), Some(mine.as_bytes()));
                    assert_eq!(
                        table
                            .compare_and_set("lock", Some(mine.as_bytes()), None)
                            .unwrap(),
                        Exchange::Set
                    );
                }
            });
        }
    });
    let counts =
        (0..7u8).map(|n| u32::from_be_bytes(table.get([n]).unwrap()[..].try_into().unwrap()));
    assert_eq!(counts.sum::<u32>(), 4 * EACH);
    assert!(!table.contains("lock"));
}

#[test]
fn what_computes_to_nothing_is_removed_unless_its_bits_persist() {
    let table = Memtable::with_persistent_tag(1);
    table.insert("k", "v").unwrap();
    assert_eq!(table.compute("k", |_| None), Err(Error::PersistentTag));
    assert_eq!(
        table.compare_and_set("k", Some(b"v"), None),
        Err(Error::PersistentTag)
    );
    assert_eq!(table.get("k").as_deref(), Some(&b"v"[..]));
    // Nothing to remove, nothing to refuse.
    assert_eq!(table.compute("absent", |_| None), Ok(None));
    assert_eq!(table.len(), 1);
}

#[test]
fn what_is_owned_may_be_sent_and_shared() {
    fn send<T: Send + 'static>(_: &T) {}
    fn sync<T: Sync>(_: &T) {}
    let table = Arc::new(Memtable::new());
    let snapshot = Snapshot::new(table.clone());
    send(&Cursor::new(table.clone()));
    send(&snapshot.cursor());
    send(&snapshot.range::<&str>(..));
    sync(&Cursor::new(table.clone()));
    sync(&snapshot);
    sync(&table);
    send(&table.shards(1));
}

/// Longer than a key may be: never there, and above or below what is.
#[test]
fn a_key_that_no_table_takes_is_read_as_absent_and_bounds_as_any_other() {
    let table = Memtable::new();
    let long = vec![b'm'; untorn_memtable::MAX_KEY_LEN + 1];
    assert!(matches!(
        table.insert(&long, "v"),
        Err(Error::KeyTooLarge { .. })
    ));
    for key in ["a", "m", "z"] {
        table.insert(key, key).unwrap();
    }
    assert_eq!((table.get(&long), table.entry(&long)), (None, None));
    assert!(!table.contains(&long));
    let many = table.get_many(&[&long[..], b"m", &long[..]]);
    assert_eq!(many, [None, Some("m".into()), None]);
    let snapshot = table.snapshot();
    assert_eq!(snapshot.get(&long), None);
    assert_eq!(snapshot.range(&long[..]..).count(), 1);
    let pinned = table.pin();
    assert_eq!(pinned.range(..&long[..]).count(), 2);
    assert_eq!(pinned.range(&long[..]..=&long[..]).count(), 0);
    for mut cursor in [table.cursor(), snapshot.cursor()] {
        cursor.seek(&long);
        assert_eq!(cursor.entry().map(|entry| &entry.key[..]), Some(&b"z"[..]));
        cursor.seek_for_prev(&long);
        assert_eq!(cursor.entry().map(|entry| &entry.key[..]), Some(&b"m"[..]));
    }
}

#[test]
fn a_loop_over_what_is_read_shows_the_whole_range() {
    let (table, set) = (Memtable::new(), MemtableSet::default());
    for key in ["a", "b", "c"] {
        table.insert(key, "v").unwrap();
        set.insert(key, "v").unwrap();
    }
    table.delete("b").unwrap();
    set.delete("b").unwrap();
    let mut keys = Vec::new();
    for (key, _) in &table.pin() {
        keys.push(key.to_vec());
    }
    assert_eq!(keys, [b"a", b"c"]);
    // Snapshots show tombstones, too.
    let (mut in_table, mut in_set) = (Vec::new(), Vec::new());
    for entry in &table.snapshot() {
        in_table.push((entry.key, entry.kind));
    }
    for entry in &set.snapshot() {
        in_set.push((entry.key, entry.kind));
    }
    let kinds = in_table.iter().map(|&(_, kind)| kind);
    assert!(kinds.eq([Kind::Value, Kind::Tombstone, Kind::Value]));
    assert_eq!(in_set, in_table);
}
