//! A memory hook that notes what it is told, and panics if it is to.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use untorn_txn::MemBuffer;
use untorn_txn::buffer::MEMORY_BLOCK;

/// More than the table takes for a key beside its bytes and those of its value, whatever was written before.
const BESIDE: usize = 1_000;

/// What comes out of an operation whose hook panicked.
struct Planned;

/// The hook that is set, and what it was told.
#[derive(Default)]
pub struct Told {
    new: Arc<Mutex<Vec<usize>>>,
    last: Option<usize>,
}

impl Told {
    /// Sets a new hook.
    pub fn set(buffer: &MemBuffer, panics: bool) -> Told {
        let told = Told::default();
        let new = told.new.clone();
        buffer.set_memory_hook(move |total| {
            new.lock().unwrap().push(total);
            if panics {
                // Past the hook of the process, which would print it.
                resume_unwind(Box::new(Planned));
            }
        });
        told
    }

    /// Checks what the hook was told by one operation: totals a block apart, and one that no size is above by a block.
    pub fn check(&mut self, buffer: &MemBuffer) {
        let new = std::mem::take(&mut *self.new.lock().unwrap());
        assert!(new.len() <= 1, "told {new:?} by one operation");
        for total in new {
            if let Some(last) = self.last {
                assert!(total.abs_diff(last) >= MEMORY_BLOCK, "{last}, then {total}");
            }
            self.last = Some(total);
        }
        if let Some(last) = self.last {
            let size = buffer.size();
            assert!(size < last + MEMORY_BLOCK, "{size} bytes, told {last}");
        }
    }

    /// After a compaction with nothing that could be returned to: what it was told is not far above what is there.
    pub fn check_compacted(&self, buffer: &MemBuffer) {
        if let Some(last) = self.last {
            let most = buffer.size() + buffer.len() * BESIDE + MEMORY_BLOCK;
            assert!(last < most, "told {last}, {:?}", buffer.stats());
        }
    }
}

/// The answer of an operation; `None` if the hook panicked out of it.
pub fn unless_planned<T>(operation: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(answer) => Some(answer),
        Err(panic) if panic.is::<Planned>() => None,
        Err(panic) => resume_unwind(panic),
    }
}
