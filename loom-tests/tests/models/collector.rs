//! The harness on itself: the smallest structures that publish and reclaim, right and wrong.
//!
//! If these models pass, and fail under their mutants, then loom sees through the oracle collector and
//! the markers what it has to see in the table.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::ptr::null_mut;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::__model::{Checked, Guard, is_any_planted, pin, planted};

/// A record with plain bytes.
struct Node {
    value: u32,
    next: *mut Node,
    checked: Checked,
}

impl Node {
    fn make(value: u32) -> *mut Node {
        let node = Node {
            value,
            next: null_mut(),
            checked: Checked::new(),
        };
        node.checked.wrote();
        Box::into_raw(Box::new(node))
    }

    /// # Safety
    ///
    /// `node` is alive; whether it is, is what the models check.
    unsafe fn read(node: *mut Node) -> u32 {
        // SAFETY: promised by the caller.
        let node = unsafe { &*node };
        node.checked.read();
        node.value
    }
}

unsafe fn destroy(node: *mut u8) {
    let node = node.cast::<Node>();
    if is_any_planted() {
        // The memory is kept, so that who comes too late finds the poison.
        // SAFETY: each node comes from `Node::make`, and is freed once by the contract of `retire`.
        unsafe { node.drop_in_place() };
    } else {
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(node) });
    }
}

/// # Safety
///
/// `node` was made unreachable by the caller.
unsafe fn retire(guard: &Guard, node: *mut Node) {
    let bytes = size_of::<Node>();
    // SAFETY: promised by the caller.
    unsafe {
        if planted("collector-free-early") {
            destroy(node.cast());
        } else if planted("collector-forget") {
        } else {
            guard.retire(node.cast(), destroy, bytes);
            if planted("collector-retire-twice") {
                guard.retire(node.cast(), destroy, bytes);
            }
        }
    }
}

/// One pointer that is replaced while others read through it.
struct Cell(AtomicPtr<Node>);

impl Cell {
    fn new() -> Self {
        Cell(AtomicPtr::new(Node::make(0)))
    }

    fn replace(&self, value: u32) {
        let guard = pin();
        let node = Node::make(value);
        let success = if planted("collector-publish-relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        };
        let old = self.0.swap(node, success);
        // SAFETY: the swap made `old` unreachable, and it has one winner.
        unsafe { retire(&guard, old) };
    }

    fn read(&self) -> u32 {
        let _guard = pin();
        let order = if planted("collector-read-relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Acquire
        };
        // SAFETY: loaded under a guard, retired only after it was replaced.
        unsafe { Node::read(self.0.load(order)) }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: nobody else has the cell any more.
        self.0.with_mut(|node| unsafe { destroy(node.cast()) });
    }
}

#[test]
fn replaced_pointer_is_read_whole() {
    model("replaced_pointer_is_read_whole", 3, 20, || {
        let cell = Arc::new(Cell::new());
        let there = Arc::clone(&cell);
        let writer = spawn(move || there.replace(1));
        let seen = cell.read();
        assert!(seen <= 1);
        writer.join().unwrap();
        assert_eq!(cell.read(), 1);
    });
}

#[test]
fn two_writers_and_a_reader_of_one_pointer() {
    model("two_writers_and_a_reader_of_one_pointer", 2, 200, || {
        let cell = Arc::new(Cell::new());
        let writers = [1, 2].map(|value| {
            let there = Arc::clone(&cell);
            spawn(move || there.replace(value))
        });
        assert!(cell.read() <= 2);
        for writer in writers {
            writer.join().unwrap();
        }
        assert_ne!(cell.read(), 0);
    });
}

/// Treiber's stack.
struct Stack(AtomicPtr<Node>);

impl Stack {
    fn push(&self, value: u32) {
        let _guard = pin();
        let node = Node::make(value);
        loop {
            let head = self.0.load(Ordering::Acquire);
            // SAFETY: the node is not yet published.
            unsafe { (*node).next = head };
            if self
                .0
                .compare_exchange(head, node, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return;
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        let guard = pin();
        loop {
            let head = self.0.load(Ordering::Acquire);
            if head.is_null() {
                return None;
            }
            // SAFETY: loaded under the guard, so not yet freed.
            let (value, next) = unsafe { (Node::read(head), (*head).next) };
            if self
                .0
                .compare_exchange(head, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                // SAFETY: the winner of the CAS unlinked it.
                unsafe { retire(&guard, head) };
                return Some(value);
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            while self.pop().is_some() {}
        }
    }
}

#[test]
fn stack_hands_each_item_to_one_popper() {
    model("stack_hands_each_item_to_one_popper", 3, 200, || {
        let stack = Arc::new(Stack(AtomicPtr::new(null_mut())));
        stack.push(1);
        stack.push(2);
        let there = Arc::clone(&stack);
        let other = spawn(move || {
            let first = there.pop();
            there.push(4);
            first
        });
        let mut taken = stack.pop().unwrap_or(0) + stack.pop().unwrap_or(0);
        taken += other.join().unwrap().unwrap_or(0);
        while let Some(value) = stack.pop() {
            taken += value;
        }
        assert_eq!(taken, 7);
    });
}

/// A node and a hint that may lead to it. The remover closes the hint before it retires the node; without that a
/// late hint makes the node reachable after its retire, for a reader that nobody waits for.
struct Hinted {
    node: AtomicPtr<Node>,
    hint: AtomicPtr<Node>,
    gone: AtomicBool,
}

/// A hint that takes no pointer any more.
fn closed() -> *mut Node {
    std::ptr::without_provenance_mut(align_of::<Node>())
}

impl Hinted {
    fn new() -> Self {
        Hinted {
            node: AtomicPtr::new(Node::make(7)),
            hint: AtomicPtr::new(null_mut()),
            gone: AtomicBool::new(false),
        }
    }

    fn remove(&self) {
        let guard = pin();
        self.gone.store(true, Ordering::Release);
        let node = self.node.swap(null_mut(), Ordering::AcqRel);
        if !planted("collector-late-hint") {
            self.hint.swap(closed(), Ordering::AcqRel);
        }
        // SAFETY: unlinked from the only word that led to it, and the hint is closed.
        unsafe { retire(&guard, node) };
    }

    fn add_hint(&self) {
        let _guard = pin();
        let node = self.node.load(Ordering::Acquire);
        if node.is_null() {
            return;
        }
        let added =
            self.hint
                .compare_exchange(null_mut(), node, Ordering::AcqRel, Ordering::Acquire);
        // Add, look, take back: what does not help.
        if added.is_ok() && self.gone.load(Ordering::Acquire) {
            let _ =
                self.hint
                    .compare_exchange(node, null_mut(), Ordering::AcqRel, Ordering::Acquire);
        }
    }

    fn read_by_hint(&self) -> Option<u32> {
        let _guard = pin();
        let node = self.hint.load(Ordering::Acquire);
        if node.is_null() || node == closed() {
            return None;
        }
        // SAFETY: the hint was open under this guard, so the node is not retired for it.
        Some(unsafe { Node::read(node) })
    }
}

#[test]
fn nothing_is_reachable_after_its_retire() {
    model("nothing_is_reachable_after_its_retire", 3, 1000, || {
        let hinted = Arc::new(Hinted::new());
        let there = Arc::clone(&hinted);
        let adder = spawn(move || there.add_hint());
        let there = Arc::clone(&hinted);
        let remover = spawn(move || there.remove());
        assert!(hinted.read_by_hint().is_none_or(|value| value == 7));
        adder.join().unwrap();
        remover.join().unwrap();
        assert_eq!(hinted.read_by_hint(), None);
    });
}
