//! What the models in `loom-tests` may reach of the internals. Exists in a model build alone, and is no API.

pub use crate::buffer::gate::Gate;
pub use crate::store::mem::log::model as log;

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    crate::transaction::block_on(future)
}
