//! Problem documents (RFC 9457) as one sentence.

use std::fmt;

use serde::Deserialize;

/// A problem document, with the members that Slipstream adds where they apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// URI of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// Index into the transaction's operations.
    pub operation: Option<u64>,
    pub table: Option<String>,
    pub row: Option<u64>,
    pub column: Option<String>,
}

impl fmt::Display for Problem {
    /// `title: operation 0, table Package, row 2, column size: detail (HTTP 422)`; what the detail already says is not said
    /// again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = [
            self.operation.map(|operation| format!("operation {operation}")),
            self.table.as_ref().map(|table| format!("table {table}")),
            self.row.map(|row| format!("row {row}")),
            self.column.as_ref().map(|column| format!("column {column}")),
        ];
        let places: Vec<String> = places.into_iter().flatten().collect();
        let parts = [
            self.title.clone(),
            if self.detail.starts_with(&places.join(", ")) {
                String::new()
            } else {
                places.join(", ")
            },
            self.detail.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(": "))?;
        if self.status == 0 {
            Ok(())
        } else {
            write!(f, " (HTTP {})", self.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_sentence_that_names_its_place_once() {
        let cases = [
            (
                r#"{"type": "t", "title": "Refused", "status": 422, "detail": "expected an int64, found \"x\"",
                    "operation": 0, "table": "Package", "row": 2, "column": "size"}"#,
                r#"Refused: operation 0, table Package, row 2, column size: expected an int64, found "x" (HTTP 422)"#,
            ),
            (
                r#"{"title": "Refused", "status": 422, "detail": "table Package, row 2: no such node", "row": 2,
                    "table": "Package"}"#,
                "Refused: table Package, row 2: no such node (HTTP 422)",
            ),
            (
                r#"{"title": "Not found", "status": 404, "detail": "there is no table `X`", "instance": "/x"}"#,
                "Not found: there is no table `X` (HTTP 404)",
            ),
            (
                r#"{"title": "Overloaded", "status": 429}"#,
                "Overloaded (HTTP 429)",
            ),
        ];
        for (document, sentence) in cases {
            assert_eq!(
                serde_json::from_str::<Problem>(document).unwrap().to_string(),
                sentence
            );
        }
    }
}
