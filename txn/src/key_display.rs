//! How keys print: escaped, and cut so that a log line stays a line.

use std::fmt;

/// The most bytes of a key that are printed.
pub const MAX_PRINTED: usize = 64;

/// Prints a key as ASCII with escapes (`\x00`, `\n`, `\"`), cut after [`MAX_PRINTED`] bytes.
///
/// What is cut is told by its length, so that two long keys with one prefix are not taken for the same.
///
/// ```
/// use untorn_txn::DisplayKey;
///
/// assert_eq!(DisplayKey(b"row\x00\xff").to_string(), r"row\x00\xff");
/// assert_eq!(DisplayKey(&[b'a'; 70]).to_string(), format!("{}..(70 bytes)", "a".repeat(64)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DisplayKey<'a>(pub &'a [u8]);

impl fmt::Display for DisplayKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MAX_PRINTED)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "..({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for DisplayKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
