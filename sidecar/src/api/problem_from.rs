//! Which problem each stage's errors are on the wire.

use super::problem::{Problem, ProblemKind};
use crate::commit_log::LogError;
use crate::graph::GraphError;
use crate::query_guard;
use crate::rows::DecodeError;
use crate::writer::{Refusal, WriteError};

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(ProblemKind::Refused, refusal.to_string())
            .with_some("operation", refusal.operation)
            .with_some("table", refusal.table)
            .with_some("row", refusal.row)
            .with_some("column", refusal.column)
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let kind = match error {
            WriteError::Refused(refusal) => return refusal.into(),
            WriteError::Overloaded { .. } => ProblemKind::Overloaded,
            WriteError::IdempotencyConflict { .. } => ProblemKind::IdempotencyConflict,
            WriteError::Fenced { .. } => ProblemKind::Fenced,
            WriteError::NotCommitted { .. } => ProblemKind::NotCommitted,
            WriteError::Unknown => ProblemKind::OutcomeUnknown,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<query_guard::Refusal> for Problem {
    fn from(refusal: query_guard::Refusal) -> Self {
        use query_guard::Refusal as R;
        let kind = match refusal {
            R::Empty { .. } | R::Unterminated { .. } | R::Malformed { .. } | R::TooDeep { .. } => {
                ProblemKind::QueryFailed
            }
            R::NotAQuery { .. }
            | R::SecondStatement { .. }
            | R::Keyword { .. }
            | R::Call { .. }
            | R::Function { .. }
            | R::ReservedName { .. } => ProblemKind::ForbiddenStatement,
        };
        let at = refusal.position();
        Self::new(kind, refusal.to_string()).at_position(at.line, at.column)
    }
}

impl From<GraphError> for Problem {
    fn from(error: GraphError) -> Self {
        let kind = match error {
            GraphError::Query(_) => ProblemKind::QueryFailed,
            GraphError::Timeout { .. } | GraphError::GaveWay => ProblemKind::QueryTimeout,
            GraphError::Engine { .. }
            | GraphError::Diverged { .. }
            | GraphError::Files { .. }
            | GraphError::Rows(_)
            | GraphError::Abandoned
            | GraphError::Lake(_) => ProblemKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        Self::new(ProblemKind::LogUnavailable, error.to_string())
    }
}

/// A body of rows for `table` that could not be decoded.
pub(super) fn undecodable(table: &str, error: DecodeError) -> Problem {
    match error {
        DecodeError::Row(row) => Refusal::of_row(None, table, &row).into(),
        DecodeError::Malformed { line, .. } => Problem::new(ProblemKind::MalformedRequest, error.to_string())
            .with("table", table)
            .with_some("line", line),
        DecodeError::Body(ref source) => {
            Problem::new(ProblemKind::MalformedRequest, format!("{error}: {source}")).with("table", table)
        }
        DecodeError::Spool(ref source) => Problem::new(ProblemKind::Internal, format!("{error}: {source}")),
        DecodeError::Stopped { .. } => Problem::new(ProblemKind::NotCommitted, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowError;

    #[test]
    fn a_refusal_keeps_its_place() {
        let refusal = Refusal::operation(1, "Package", "expected an int64, found \"x\"").at_row(7);
        let document = Problem::from(WriteError::from(refusal)).to_json();
        assert_eq!(document["status"], 422);
        assert_eq!((&document["operation"], &document["row"]), (&1.into(), &7.into()));
        assert_eq!(document["table"], "Package");
        assert!(document.get("column").is_none());
        assert_eq!(
            document["detail"],
            "operation 1, table Package, row 7: expected an int64, found \"x\""
        );
    }

    #[test]
    fn each_write_error_has_its_status() {
        let text = || "x".to_owned();
        for (error, status) in [
            (WriteError::Overloaded { queued: 1 }, 429),
            (WriteError::IdempotencyConflict { key: text(), seq: 1 }, 409),
            (WriteError::Fenced { detail: text() }, 503),
            (WriteError::NotCommitted { detail: text() }, 503),
            (WriteError::Unknown, 504),
        ] {
            assert_eq!(Problem::from(error).to_json()["status"], status);
        }
    }

    #[test]
    fn what_the_guard_forbids_is_403_and_what_is_no_cypher_is_400_each_with_its_position() {
        for (query, status, column) in [
            ("MATCH (n) DELETE n", 403, 11),
            ("RETURN 'open", 400, 8),
            ("", 400, 1),
        ] {
            let document = Problem::from(query_guard::check(query).unwrap_err()).to_json();
            assert_eq!(
                (&document["status"], &document["position"]["column"]),
                (&status.into(), &column.into()),
                "{query}"
            );
        }
    }

    #[test]
    fn an_undecodable_row_names_table_row_and_column() {
        let row = RowError {
            row: Some(4),
            column: Some("embedding".to_owned()),
            expected: "a vector of dimension 3".to_owned(),
            found: "2 numbers".to_owned(),
        };
        let document = undecodable("Package", DecodeError::Row(row)).to_json();
        assert_eq!(
            (&document["row"], &document["column"], &document["status"]),
            (&4.into(), &"embedding".into(), &422.into())
        );
        assert_eq!(
            document["detail"],
            "table Package, row 4, column embedding: expected a vector of dimension 3, found 2 numbers"
        );
    }
}
