//! A document with blocks that a program writes.

use std::fmt::Write as _;

/// The document has no place for a block.
#[derive(Debug, thiserror::Error)]
#[error(
    "the document has no block `{name}`: put these two lines where its table shall be:\n{}\n{}",
    begin(name),
    end(name)
)]
pub(super) struct NoBlock {
    name: String,
}

fn begin(name: &str) -> String {
    format!("<!-- {name}: written by `lab evidence`, do not edit -->")
}

fn end(name: &str) -> String {
    format!("<!-- end of {name} -->")
}

/// `document` with what stands between the marks of block `name` replaced.
pub(super) fn with_block(document: &str, name: &str, text: &str) -> Result<String, NoBlock> {
    let missing = || NoBlock {
        name: name.to_owned(),
    };
    let (begin, end) = (begin(name), end(name));
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    let mut out = String::with_capacity(document.len() + text.len());
    // Writing to a string cannot fail.
    let _ = write!(out, "{before}{begin}\n\n{}\n\n{end}{after}", text.trim());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_block_changes_and_a_second_time_nothing() {
        let document = format!("a\n{}\nold\n{}\nz\n", begin("scores"), end("scores"));
        let once = with_block(&document, "scores", "| new |\n").unwrap();
        assert_eq!(
            once,
            format!("a\n{}\n\n| new |\n\n{}\nz\n", begin("scores"), end("scores"))
        );
        assert_eq!(with_block(&once, "scores", "| new |\n").unwrap(), once);
        let error = with_block(&document, "sizes", "").err().unwrap().to_string();
        assert!(error.contains("`sizes`"), "{error}");
    }
}
