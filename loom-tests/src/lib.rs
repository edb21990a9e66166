//! Model checking of the real code with loom.
