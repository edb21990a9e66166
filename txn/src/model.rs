//! What the models in `loom-tests` may reach of the internals. Exists in a model build alone, and is no API.

pub use crate::buffer::gate::Gate;
