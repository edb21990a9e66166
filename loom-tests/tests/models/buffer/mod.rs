//! The transaction buffer: its gate alone, and writes against all that shuts it.

mod gate;
