//! The gate alone. The rules are a cell that loom watches: writers read it, who shut the gate writes.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_txn::__model::Gate;

type Cell = UnsafeCell<u32>;

fn gate() -> Arc<Gate<Cell, u32>> {
    Arc::new(Gate::new(UnsafeCell::new(0), 0))
}

/// One write, by rules that nobody changes meanwhile.
fn write(gate: &Gate<Cell, u32>) {
    gate.enter().with(|_| ());
}

/// One change of the rules.
fn change(gate: &Gate<Cell, u32>) {
    let mut shut = gate.shut();
    shut.rules().with_mut(|_| ());
    *shut += 1;
}

#[test]
fn who_shuts_the_gate_is_alone() {
    model("gate_write_with_change", 8, 20, || {
        let gate = gate();
        let there = Arc::clone(&gate);
        let writer = spawn(move || {
            write(&there);
            write(&there);
        });
        change(&gate);
        writer.join().unwrap();
        assert_eq!(*gate.shut(), 1);
    });
}

#[test]
fn two_who_shut_the_gate_take_turns_and_a_writer_comes_in() {
    model("gate_write_with_two_changes", 3, 100, || {
        let gate = gate();
        let [one, other] = [(); 2].map(|()| {
            let there = Arc::clone(&gate);
            spawn(move || change(&there))
        });
        write(&gate);
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(*gate.shut(), 2);
    });
}

/// The second of two writers who are inside together adds doors, and comes through one of them the next time.
#[test]
fn doors_that_are_added_are_shut_too() {
    model("gate_two_writers_with_change", 3, 100, || {
        let gate = gate();
        let there = Arc::clone(&gate);
        let first = spawn(move || write(&there));
        let there = Arc::clone(&gate);
        let second = spawn(move || {
            write(&there);
            write(&there);
        });
        change(&gate);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(*gate.shut(), 1);
    });
}
