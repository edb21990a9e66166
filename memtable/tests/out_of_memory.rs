//! An allocator that fails: a write that it hits is refused and leaves everything as it was.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use untorn_memtable::{Error, Memtable, WriteBatch};

/// Refuses what is as large as this or larger.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Failing;

// SAFETY: hands through to the system's allocator, or answers null, which is always allowed.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LIMIT.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

#[test]
fn a_write_without_memory_is_refused_and_changes_nothing() {
    const LARGE: usize = 1 << 20;
    let table = Memtable::new();
    table.insert("there", "before").unwrap();
    let stage = table.open_stage();
    table.insert("staged", "before").unwrap();
    let before = table.stats();
    let (value, key) = (vec![7; LARGE], vec![b'k'; LARGE / 8]);
    let mut computed = Some(value.clone());
    let mut batch = WriteBatch::new();
    batch.put("there", &value);

    LIMIT.store(LARGE, Ordering::Relaxed);
    let refused = ["there", "staged", "new"].map(|key| table.insert(key, &value).unwrap_err());
    let refused_batch = table.apply(&batch).unwrap_err();
    let refused_value = table.compute("there", |_| computed.take()).unwrap_err();
    let refused_default = table.get_or_insert_with("new", || &value).unwrap_err();
    LIMIT.store(LARGE / 8, Ordering::Relaxed);
    let refused_key = table.insert(&key, "v").unwrap_err();
    LIMIT.store(usize::MAX, Ordering::Relaxed);

    let others = [refused_batch, refused_value, refused_default];
    for error in refused.into_iter().chain(others) {
        assert!(
            matches!(error, Error::OutOfMemory { bytes } if bytes >= LARGE),
            "{error}"
        );
    }
    assert!(matches!(refused_key, Error::OutOfMemory { bytes } if bytes >= key.len()));
    assert_eq!(table.stats(), before);
    assert_eq!(table.get("there").as_deref(), Some(&b"before"[..]));
    assert_eq!((table.get("new"), table.get(&key)), (None, None));

    // Nothing was left in debt: the same writes go, and a rollback takes them back.
    for key in ["there", "staged", "new"] {
        table.insert(key, &value).unwrap();
    }
    assert_eq!(table.get("new").map(|value| value.len()), Some(LARGE));
    table.cleanup_stage(stage).unwrap();
    assert_eq!(table.len(), 1);
    table.remove("there").unwrap().unwrap();
    assert!(table.is_empty());
}
