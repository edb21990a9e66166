//! S13, S14: the memory hook is swapped, and panics, while the buffer grows.

use super::{buffer, value};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use untorn_loom_tests::{model, spawn};
use untorn_txn::MemBuffer;
use untorn_txn::buffer::MEMORY_BLOCK;

/// A hook that notes how often it was called; it may use the buffer, for nothing is held.
fn counting(buffer: &MemBuffer) -> (Arc<AtomicUsize>, impl Fn(usize) + Send + Sync + 'static) {
    let calls = Arc::new(AtomicUsize::new(0));
    let (there, counted) = (buffer.clone(), calls.clone());
    let hook = move |_| {
        there.set("by the hook", "1").unwrap();
        counted.fetch_add(1, Ordering::Relaxed);
    };
    (calls, hook)
}

/// S13. A hook is swapped beside growth: nothing is told twice, and what follows is told to the new one alone.
#[test]
fn s13_hook_swap_with_growth() {
    model("buffer_s13_hook_swap_with_growth", 5, 10, || {
        let buffer = buffer(&[("k", "v")]);
        let (old, hook) = counting(&buffer);
        buffer.set_memory_hook(hook);
        let (new, hook) = counting(&buffer);
        let there = buffer.clone();
        let writer = spawn(move || there.set("k", [7; 2 * MEMORY_BLOCK]).unwrap());
        buffer.set_memory_hook(hook);
        writer.join().unwrap();
        let calls = || [&old, &new].map(|calls| calls.load(Ordering::Relaxed));
        let [before, after] = calls();
        assert!(before + after <= 1, "{before} and {after}");
        buffer.set("l", [7; 2 * MEMORY_BLOCK]).unwrap();
        assert_eq!(calls(), [before, after + 1]);
        // The hooks own clones of the buffer that owns them.
        buffer.clear_memory_hook();
    });
}

/// S14. A hook panics beside a reader: the write is whole, and the buffer goes on.
#[test]
fn s14_hook_panics() {
    model("buffer_s14_hook_panics", 4, 20, || {
        let buffer = buffer(&[]);
        buffer.set_memory_hook(|_| resume_unwind(Box::new("from the hook")));
        let there = buffer.clone();
        let writer = spawn(move || {
            let write = AssertUnwindSafe(|| there.set("k", [7; 2 * MEMORY_BLOCK]));
            assert!(catch_unwind(write).is_err());
            there.set("l", "after").unwrap();
        });
        let len = buffer.get("k").map(|entry| entry.value().unwrap().len());
        assert!(len.is_none_or(|len| len == 2 * MEMORY_BLOCK));
        writer.join().unwrap();
        assert_eq!(buffer.get("l"), value("after"));
        assert_eq!((buffer.len(), buffer.size()), (2, 1 + 2 * MEMORY_BLOCK + 6));
        let stage = buffer.stage();
        stage.cleanup().unwrap();
    });
}
