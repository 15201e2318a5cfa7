//! Why a query is refused, for people: the place, what was found there, what is allowed.

use std::fmt;

use super::{MAX_DEPTH, functions};

/// Where in the query's text something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    pub(super) fn new(query: &str, offset: usize) -> Self {
        let before = &query[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a query is refused: where, what was found, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{at}: the query is empty")]
    Empty { at: Position },

    #[error("{at}: this {what} has no end")]
    Unterminated { at: Position, what: &'static str },

    #[error("{at}: {found:?} is not understood here; {expected}")]
    Malformed {
        at: Position,
        found: String,
        expected: &'static str,
    },

    #[error("{at}: brackets or CASEs are nested more than {MAX_DEPTH} deep")]
    TooDeep { at: Position },

    #[error(
        "{at}: a read-only query cannot start with {found:?}; expected MATCH, OPTIONAL MATCH, WITH, UNWIND, RETURN, CALL, \
         EXPLAIN or PROFILE"
    )]
    NotAQuery { at: Position, found: String },

    #[error("{at}: {found:?} stands after the end of the statement; expected a single statement")]
    SecondStatement { at: Position, found: String },

    #[error(
        "{at}: {found} writes or reaches outside the graph, which a query must not; if it is a name, write `{found}`"
    )]
    Keyword { at: Position, found: String },

    #[error(
        "{at}: CALL {found} is not allowed; expected one of {}",
        functions::table_functions_text()
    )]
    Call { at: Position, found: String },

    /// A call that is not allowed, or not in this form.
    #[error("{at}: the function {found} {why}")]
    Function {
        at: Position,
        found: String,
        why: String,
    },

    #[error("{at}: {found} is reserved: property names that start with `_` are internal")]
    ReservedName { at: Position, found: String },
}

impl Refusal {
    /// Where the reason for the refusal stands.
    pub fn position(&self) -> Position {
        match self {
            Self::Empty { at }
            | Self::Unterminated { at, .. }
            | Self::Malformed { at, .. }
            | Self::TooDeep { at }
            | Self::NotAQuery { at, .. }
            | Self::SecondStatement { at, .. }
            | Self::Keyword { at, .. }
            | Self::Call { at, .. }
            | Self::Function { at, .. }
            | Self::ReservedName { at, .. } => *at,
        }
    }
}
