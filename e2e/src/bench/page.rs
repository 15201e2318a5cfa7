//! `docs/benchmarks.md`: the table of figures stands between two marker lines, and only that part is written.

use std::path::Path;

use anyhow::{Context as _, bail};

const BEGIN: &str = "<!-- figures: written by `./justw bench --write` -->";
const END: &str = "<!-- figures: end -->";

/// Puts `table` between the markers of the page.
///
/// # Errors
/// When the page cannot be read or written, or has no markers.
pub(crate) fn write(page: &Path, table: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("failed to read {}", page.display()))?;
    let text = replaced(&text, table).with_context(|| format!("failed to change {}", page.display()))?;
    std::fs::write(page, text).with_context(|| format!("failed to write {}", page.display()))
}

fn replaced(text: &str, table: &str) -> anyhow::Result<String> {
    let Some((before, rest)) = text.split_once(BEGIN) else {
        bail!("expected the line {BEGIN}, found none");
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("expected the line {END} after {BEGIN}, found none");
    };
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nmore\n");
        let once = replaced(&page, "| new |\n").unwrap();
        assert_eq!(once, format!("# Title\n{BEGIN}\n\n| new |\n\n{END}\nmore\n"));
        assert_eq!(replaced(&once, "| new |\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        assert!(replaced("# Title\n", "| new |").is_err());
        assert!(replaced(BEGIN, "| new |").is_err());
    }
}
