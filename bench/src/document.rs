//! Documents with figures in them: what stands between two marks is written anew.
//!
//! A block `name` begins with a line `<!-- figures: name -->` and ends with `<!-- end of figures -->`; neither shows in the
//! rendered document.

/// A block cannot be replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It does not begin.
    #[error("there is no block {0:?}")]
    Missing(String),
    /// It begins and does not end.
    #[error("the block {0:?} has no end")]
    Open(String),
}

const END: &str = "<!-- end of figures -->";

/// The document with other content in one of its blocks.
///
/// # Errors
/// [`BlockError`].
pub fn replace_block(document: &str, name: &str, content: &str) -> Result<String, BlockError> {
    let begin = format!("<!-- figures: {name} -->\n");
    let Some(at) = document.find(&begin) else {
        return Err(BlockError::Missing(name.to_owned()));
    };
    let (before, behind) = document.split_at(at + begin.len());
    let Some(end) = behind.find(END) else {
        return Err(BlockError::Open(name.to_owned()));
    };
    Ok(format!(
        "{before}\n{}\n\n{}",
        content.trim(),
        &behind[end..]
    ))
}

#[cfg(test)]
mod tests {
    use super::{BlockError, replace_block};

    #[test]
    fn one_block_is_written_anew_and_nothing_else_changes() {
        let document = "a\n<!-- figures: x -->\nold\n<!-- end of figures -->\nb\n<!-- figures: y -->\n<!-- end of figures -->\n";
        let once = replace_block(document, "x", "new\n").unwrap();
        assert_eq!(
            once,
            "a\n<!-- figures: x -->\n\nnew\n\n<!-- end of figures -->\nb\n<!-- figures: y -->\n<!-- end of figures -->\n"
        );
        assert_eq!(replace_block(&once, "x", "new").unwrap(), once);
    }

    #[test]
    fn a_block_that_is_not_there_or_does_not_end_is_an_error() {
        assert_eq!(
            replace_block("text", "x", ""),
            Err(BlockError::Missing("x".into()))
        );
        assert_eq!(
            replace_block("<!-- figures: x -->\n", "x", ""),
            Err(BlockError::Open("x".into()))
        );
    }
}
