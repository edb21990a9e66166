//! Bugs that a model build can be told to have, so that a model can show that it would find them.

#[cfg(untorn_loom)]
pub(crate) use untorn_memtable::__model::planted;

/// Whether the bug of this name is planted: never, outside of models.
#[cfg(not(untorn_loom))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}
