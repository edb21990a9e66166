//! Bugs that a build can be told to have, so that a test can show that it would find them.
//!
//! `planted("name")` is the constant `false` in a normal build and costs nothing there. A model build is told by the model, one for
//! a sanitizer (`--cfg untorn_mutants`) by the environment.
#![allow(dead_code)]

/// Whether the bug of this name is planted.
#[cfg(not(any(untorn_loom, untorn_mutants)))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is planted.
#[cfg(all(untorn_mutants, not(untorn_loom)))]
pub(crate) fn planted(name: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("UNTORN_MUTANT").ok());
    planted.as_deref() == Some(name)
}

#[cfg(untorn_loom)]
pub(crate) use model::planted;

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

    /// Whether there is a bug.
    pub fn is_any_planted() -> bool {
        PLANTED.get().is_some()
    }
}
