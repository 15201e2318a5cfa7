//! Whether a database file is much larger than what it holds.
//!
//! A checkpoint writes changed parts of columns to other pages, and then frees the old ones. Freed pages are used again where
//! enough of them lie side by side; under updates of texts, whose parts are a page longer or shorter each time, that is not always
//! so, and the file grows (after 85,000 transactions: 71 % of it free). The engine cannot compact a file; building the graph anew
//! does.

use kuzu::Value;

use super::statement::Statements;
use super::{Graph, GraphError};

/// A checkpoint that writes every page anew leaves half of the file free: that alone must not be a reason, or the next one
/// would be it again.
const MOST_FREE: (u64, u64) = (3, 5);
/// Content that is built anew within seconds (`examples/debian`, 373,000 rows: 0.85 s); for so long commits wait in the writer. In a
/// larger graph more parts come and go, and presumably more of the freed pages fit.
const MOST_CONTENT: u64 = 256 << 20;
/// The engine's page, in bytes.
const PAGE: u64 = 4096;

/// A database file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileUse {
    total: u64,
    /// In pages that hold nothing.
    free: u64,
}

impl FileUse {
    /// Whether the graph is better built anew: more than three fifths of a file of at least `from` bytes are free.
    fn is_outgrown(self, from: u64) -> bool {
        let content = self.total.saturating_sub(self.free);
        self.total >= from && self.free * MOST_FREE.1 > self.total * MOST_FREE.0 && content <= MOST_CONTENT
    }
}

impl Graph {
    /// What of the database file is used. Right after a checkpoint; the write-ahead log is not counted. Blocks.
    fn file_use(&self) -> Result<FileUse, GraphError> {
        let connection = self.connect()?;
        let mut statements = Statements::new(&connection);
        let mut bytes = |text: &str| -> Result<u64, GraphError> {
            let rows = statements.rows(text, Vec::new())?;
            rows.iter().try_fold(0, |sum, row| match row.as_slice() {
                [Value::Int64(pages)] => Ok(sum + pages.unsigned_abs() * PAGE),
                found => Err(GraphError::Engine {
                    doing: format!("run {text:?}"),
                    detail: format!("found {found:?}, expected a number of pages"),
                }),
            })
        };
        Ok(FileUse {
            total: bytes("CALL file_info() RETURN CAST(num_pages AS INT64)")?,
            free: bytes("CALL fsm_info() RETURN CAST(num_pages AS INT64)")?,
        })
    }

    /// Whether the file is so much larger than its content that the graph is better built anew. Blocks.
    pub fn is_outgrown(&self) -> Result<bool, GraphError> {
        Ok(self.file_use()?.is_outgrown(self.limits.outgrown_from_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_outgrown_when_three_fifths_of_it_are_free() {
        const MIB: u64 = 1 << 20;
        for (total, free, expected) in [
            (100, 61, true),
            (100, 60, false),
            // Everything was written anew once.
            (200, 100, false),
            // Too small to matter.
            (63, 62, false),
            // Too large to be built within a moment.
            (2000, 1744, true),
            (2000, 1743, false),
            (0, 0, false),
        ] {
            let file = FileUse {
                total: total * MIB,
                free: free * MIB,
            };
            assert_eq!(file.is_outgrown(64 * MIB), expected, "{free} of {total} MiB free");
        }
    }
}
