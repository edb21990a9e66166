//! What the models in `loom-tests` may reach of the internals. Exists in a model build alone, and is no API.

pub use crate::mutant::model::{is_any_planted, plant, planted};
pub use crate::reclaim::inbox::Inbox;
pub use crate::reclaim::oracle::{Guard, pin, prepare};
pub use crate::sync::under_loom::{Checked, live_records, reset_live_records};
