//! Bugs that a model build can be told to have, so that a test can show that its models would find them.
//!
//! `planted("name")` is the constant `false` in a normal build and costs nothing there.
#![allow(dead_code)]

/// Whether the bug of this name is planted.
#[cfg(not(untorn_loom))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

#[cfg(untorn_loom)]
pub(crate) use model::{plant, planted};

#[cfg(untorn_loom)]
pub(crate) mod model {
    use std::sync::OnceLock;

    static PLANTED: OnceLock<String> = OnceLock::new();

    /// Plants a bug for the rest of the process, before the first model runs.
    pub fn plant(name: &str) {
        let first = PLANTED.set(name.to_owned()).is_ok();
        assert!(first, "one bug per process");
    }

    /// Whether the bug of this name is planted.
    pub fn planted(name: &str) -> bool {
        PLANTED.get().is_some_and(|planted| planted == name)
    }
}
