//! What a buffer holds, giving it back, and the hook that is told of it.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use untorn_txn::buffer::MEMORY_BLOCK;
use untorn_txn::{BeginOptions, Db, Entry, LockOptions, MemBuffer};

/// A hook that notes what it is told.
fn noting(buffer: &MemBuffer) -> Arc<Mutex<Vec<usize>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = told.clone();
    buffer.set_memory_hook(move |total| notes.lock().unwrap().push(total));
    told
}

/// Rule 13.
#[test]
fn what_was_taken_back_counts_until_it_is_cleared_away() {
    let buffer = MemBuffer::new();
    buffer.set("kept", [0; 100]).unwrap();
    let stage = buffer.stage();
    for key in 0..1000_u32 {
        buffer.set(key.to_be_bytes(), [0; 100]).unwrap();
    }
    stage.cleanup().unwrap();
    let memory = buffer.memory();
    assert_eq!(memory.payload, 104);
    assert!(memory.superseded > 100_000, "{memory:?}");
    buffer.compact();
    let memory = buffer.memory();
    assert_eq!((memory.payload, memory.superseded), (104, 0));
    assert_eq!(buffer.get("kept"), Some(Entry::Value(vec![0; 100].into())));
}

#[test]
fn compacting_spares_what_stages_savepoints_and_snapshots_need() {
    let buffer = MemBuffer::new();
    buffer.set("k", "1").unwrap();
    let snapshot = buffer.snapshot_now();
    buffer.set("k", "2").unwrap();
    let savepoint = buffer.savepoint();
    buffer.set("k", "3").unwrap();
    let stage = buffer.stage();
    buffer.set("k", "4").unwrap();
    buffer.compact();
    let value = |text: &'static str| Some(Entry::Value(text.into()));
    assert_eq!(
        (buffer.get("k"), snapshot.get("k")),
        (value("4"), value("1"))
    );
    stage.cleanup().unwrap();
    buffer.compact();
    assert_eq!(buffer.get("k"), value("3"));
    buffer.rollback_to(&savepoint).unwrap();
    buffer.compact();
    assert_eq!(
        (buffer.get("k"), snapshot.get("k")),
        (value("2"), value("1"))
    );
}

/// Rule 14.
#[test]
fn a_hot_key_keeps_one_version_and_one_more_for_each_stage_savepoint_and_snapshot() {
    let buffer = MemBuffer::new();
    let overwrite = || (0..1000).for_each(|_| buffer.set("hot", [0; 1000]).unwrap());
    let kept = || buffer.memory().superseded / 1000;
    overwrite();
    assert_eq!(kept(), 0);
    let savepoint = buffer.savepoint();
    overwrite();
    let stage = buffer.stage();
    overwrite();
    let snapshot = buffer.snapshot_now();
    overwrite();
    assert_eq!(kept(), 3);
    drop(snapshot);
    stage.release().unwrap();
    drop(savepoint);
    overwrite();
    assert_eq!(kept(), 0);
}

#[test]
fn the_hook_is_told_of_growth_by_blocks_and_of_shrinkage_by_the_next_operation() {
    let buffer = MemBuffer::new();
    let told = noting(&buffer);
    buffer.set("a", [0; 10]).unwrap();
    assert_eq!(told.lock().unwrap().len(), 0, "less than a block");
    let stage = buffer.stage();
    for key in 0..100_u32 {
        buffer.set(key.to_be_bytes(), [0; 1000]).unwrap();
    }
    let grown = told.lock().unwrap().clone();
    assert!(
        grown
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= MEMORY_BLOCK),
        "{grown:?}"
    );
    assert!(*grown.last().unwrap() > 90_000);
    stage.cleanup().unwrap();
    buffer.compact();
    let last = *told.lock().unwrap().last().unwrap();
    assert!(last < MEMORY_BLOCK, "{last} after all was cleared away");
    buffer.set("b", [0; 100_000]).unwrap();
    buffer.reset().unwrap();
    assert_eq!(told.lock().unwrap().last(), Some(&0));
}

#[test]
fn what_the_hook_is_told_is_about_what_memory_answers() {
    let buffer = MemBuffer::new();
    for key in 0..5000_u32 {
        buffer.set(key.to_be_bytes(), [0; 40]).unwrap();
    }
    let told = noting(&buffer);
    for key in 2500..10_000_u32 {
        buffer.set(key.to_be_bytes(), [0; 200]).unwrap();
    }
    let (told, memory) = (
        *told.lock().unwrap().last().unwrap(),
        buffer.memory().total(),
    );
    let share = told as f64 / memory as f64;
    println!("told {told}, memory {memory}: {share:.3}");
    assert!((0.9..1.1).contains(&share), "told {told}, memory {memory}");
}

/// Rule 14.
#[test]
fn the_hook_may_use_the_buffer_and_is_not_called_by_its_own_writes() {
    let buffer = MemBuffer::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let (inside, counted) = (buffer.clone(), calls.clone());
    buffer.set_memory_hook(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let stage = inside.stage();
        inside.set("from the hook", [0; 10_000]).unwrap();
        stage.release().unwrap();
        assert!(inside.stats().size > 10_000);
    });
    buffer.set("k", [0; 10_000]).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    buffer.set("l", [0; 10_000]).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert!(buffer.has_memory_hook());
    buffer.clear_memory_hook();
    assert!(!buffer.has_memory_hook());
    buffer.set("m", [0; 10_000]).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// S14.
#[test]
fn a_hook_that_panics_leaves_the_write_done_and_the_buffer_usable() {
    let buffer = MemBuffer::new();
    buffer.set_memory_hook(|total| panic!("over the quota: {total}"));
    let writes: [&dyn Fn(); 2] = [&|| buffer.set("k", [0; 10_000]).unwrap(), &|| {
        buffer.set("l", [0; 10_000]).unwrap()
    }];
    for write in writes {
        assert!(catch_unwind(AssertUnwindSafe(write)).is_err());
    }
    assert_eq!((buffer.len(), buffer.size()), (2, 20_002));
    assert!(buffer.is_dirty());
    let stage = buffer.stage();
    let staged = catch_unwind(AssertUnwindSafe(|| buffer.set("m", [0; 10_000])));
    assert!(staged.is_err());
    buffer.clear_memory_hook();
    stage.cleanup().unwrap();
    assert_eq!(buffer.len(), 2);
}

#[test]
fn a_hook_that_panics_out_of_stage_leaves_no_stage_open() {
    let buffer = MemBuffer::new();
    let (own, calls) = (buffer.clone(), AtomicUsize::new(0));
    buffer.set_memory_hook(move |total| match calls.fetch_add(1, Ordering::Relaxed) {
        // Not reported by itself, so the next operation reports it.
        0 => own.set("hook", [0; 10_000]).unwrap(),
        _ => panic!("over the quota: {total}"),
    });
    buffer.set("k", [0; 10_000]).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| buffer.stage())).is_err());
    assert_eq!(buffer.open_stages(), 0);
    buffer.stage().release().unwrap();
    assert_eq!(buffer.len(), 2);
    buffer.clear_memory_hook();
}

#[test]
fn a_hook_that_owns_a_stage_of_its_buffer_can_be_replaced() {
    let buffer = MemBuffer::new();
    let (stage, savepoint) = (buffer.stage(), buffer.savepoint());
    buffer.set("k", "v").unwrap();
    buffer.set_memory_hook(move |_| {
        let _owned = (&stage, &savepoint);
    });
    let (replaced, is_replaced) = std::sync::mpsc::channel();
    let other = buffer.clone();
    std::thread::spawn(move || {
        other.set_memory_hook(|_| ());
        replaced.send(()).unwrap();
    });
    let waited = is_replaced.recv_timeout(std::time::Duration::from_secs(20));
    assert!(waited.is_ok(), "it waits for itself");
    assert_eq!((buffer.open_stages(), buffer.len()), (0, 0));
}

/// S13.
#[test]
fn hooks_are_swapped_while_threads_write() {
    const THREADS: u32 = 4;
    const WRITES: u32 = 500;
    let buffer = MemBuffer::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let start = Barrier::new(THREADS as usize + 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (buffer, start) = (&buffer, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..WRITES {
                    buffer
                        .set((thread * WRITES + n).to_be_bytes(), [0; 500])
                        .unwrap();
                }
            });
        }
        start.wait();
        for _ in 0..200 {
            let calls = calls.clone();
            buffer.set_memory_hook(move |total| {
                assert!(total > 0);
                calls.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    let told = noting(&buffer);
    buffer.set("last", [0; 10_000]).unwrap();
    assert_eq!(told.lock().unwrap().len(), 1);
    let keys = (THREADS * WRITES) as usize;
    assert_eq!(
        (buffer.len(), buffer.size()),
        (keys + 1, keys * 504 + 10_004)
    );
}

/// Rule 14.
#[test]
fn a_lock_call_reports_when_all_its_flags_are_set() {
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inside, lens) = (txn.clone(), seen.clone());
    txn.buffer()
        .set_memory_hook(move |_| lens.lock().unwrap().push(inside.len()));
    let keys: Vec<_> = (0..1000_u32).map(u32::to_be_bytes).collect();
    txn.blocking()
        .lock_keys(keys, LockOptions::default())
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), [1000]);
    txn.buffer().clear_memory_hook();
}

struct WritesLast(MemBuffer);

impl Drop for WritesLast {
    fn drop(&mut self) {
        self.0.set("last", [0; 10_000]).unwrap();
    }
}

#[test]
fn a_hooked_buffer_may_be_written_while_the_locals_of_a_thread_are_dropped() {
    thread_local! {
        static LAST: RefCell<Option<WritesLast>> = const { RefCell::new(None) };
    }
    let buffer = MemBuffer::new();
    buffer.set_memory_hook(|_| {});
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            LAST.set(Some(WritesLast(buffer.clone())));
            buffer.set("first", [0; 10_000]).unwrap();
        });
        // Only a join waits for the locals, too.
        thread.join().unwrap();
    });
    assert_eq!(buffer.len(), 2);
}
