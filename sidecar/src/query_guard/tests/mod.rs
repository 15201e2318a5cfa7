//! Tables of accepted and refused queries, and of tokens.

mod accepted;
mod refused;
mod sizes;
mod tokens;

use super::{Refusal, check};

/// What is refused, by kind.
fn kind(query: &str) -> &'static str {
    match check(query) {
        Ok(()) => "accepted",
        Err(Refusal::Empty { .. }) => "empty",
        Err(Refusal::Unterminated { .. }) => "unterminated",
        Err(Refusal::Malformed { .. }) => "malformed",
        Err(Refusal::TooDeep { .. }) => "too deep",
        Err(Refusal::NotAQuery { .. }) => "not a query",
        Err(Refusal::SecondStatement { .. }) => "second statement",
        Err(Refusal::Keyword { .. }) => "keyword",
        Err(Refusal::Call { .. }) => "call",
        Err(Refusal::Function { .. }) => "function",
        Err(Refusal::ReservedName { .. }) => "reserved name",
    }
}
