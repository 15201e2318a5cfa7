//! The query guard: decides, before the engine sees it, whether a user's Cypher text is one read-only query that stays
//! inside the graph. Needed because a read-only transaction of the engine still writes and reads files, changes settings
//! and runs several statements (docs/decisions/0001-graph-engine.md).
//!
//! Flow: text → tokens (`lexer.rs`) → [`check`]. It is an allow-list: the statement's first word, the functions called
//! (`functions.rs`) and how much they may make (`sizes.rs`), and no word that starts a writing or outward clause, unless it
//! stands where the grammar has only a name. What is unclear is refused.
//!
//! Owns: that decision. Does not own: the text (the engine gets it unchanged), its syntax (the engine judges what passes
//! here), and the limits of time and memory that the engine keeps. The read-only transaction and `prepare`, which takes one statement only,
//! stand behind it as a second wall.

mod functions;
mod lexer;
mod refusal;
mod sizes;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use lexer::{Kind, Token};
pub use refusal::{Position, Refusal};

/// Brackets and CASEs inside one another. The engine's parser recurses, and its stack is finite.
const MAX_DEPTH: usize = 50;

/// Words a query may start with, after `EXPLAIN [LOGICAL]` or `PROFILE` (which runs the query, hence changes nothing here).
const FIRST_WORDS: &str = "MATCH OPTIONAL WITH UNWIND RETURN CALL";

/// Words that start a clause *within* a query that writes, or reads something else than the graph. Complete for the
/// engine's grammar (`oC_UpdatingClause`, `iC_LoadFrom`); `CALL` is looked at by itself.
const CLAUSE_WORDS: &str = "CREATE MERGE SET DELETE DETACH LOAD";

/// Words that start other statements, in this engine or others. They cannot follow a query's first word, so refusing
/// them is a second safety only; as a name given by `AS` they are accepted.
const STATEMENT_WORDS: &str =
    "ALTER ANALYZE ATTACH BEGIN CHECKPOINT COMMENT COMMIT COPY DROP EXPORT FINISH FORCE
    FOREACH GRANT IMPORT INSERT INSTALL REMOVE RENAME REVOKE ROLLBACK UNINSTALL UPDATE USE";

/// Words that may stand before `(` without calling anything: clauses, operators, path kinds, types of a CAST.
const WORDS_BEFORE_PARENTHESIS: &str = "ACYCLIC ALL AND ANY BY CASE CONTAINS DECIMAL DISTINCT ELSE HINT IN JOIN LIMIT MAP
    MATCH NONE NOT OR RETURN SHORTEST SINGLE SKIP STRUCT THEN TRAIL UNION UNWIND WHEN WHERE WITH WSHORTEST XOR";

const OPENING: [&str; 3] = ["(", "[", "{"];
const CLOSING: [&str; 3] = [")", "]", "}"];

/// Accepts exactly the texts described above.
///
/// # Errors
/// The first reason found to refuse the text, with its position.
pub fn check(query: &str) -> Result<(), Refusal> {
    let tokens = lexer::lex(query)?;
    let guard = Guard {
        query,
        tokens: &tokens,
    };
    guard.check_depth()?;
    guard.check_single_statement()?;
    guard.check_first_word()?;
    guard.check_reserved_names()?;
    guard.check_words()?;
    guard.check_calls()?;
    guard.check_sizes()
}

struct Guard<'q> {
    query: &'q str,
    tokens: &'q [Token<'q>],
}

impl<'q> Guard<'q> {
    fn at(&self, token: &Token) -> Position {
        Position::new(self.query, token.offset)
    }

    fn token(&self, index: usize) -> Option<&Token<'q>> {
        self.tokens.get(index)
    }

    fn before(&self, index: usize) -> Option<&Token<'q>> {
        index.checked_sub(1).and_then(|before| self.tokens.get(before))
    }

    fn is_symbol(token: Option<&Token>, symbols: &[&str]) -> bool {
        token.is_some_and(|token| token.kind == Kind::Symbol && symbols.contains(&token.text))
    }

    /// A key of a map or of a pattern's properties: `{key: …, key: …}`.
    fn is_map_key(&self, index: usize) -> bool {
        Self::is_symbol(self.token(index + 1), &[":"]) && Self::is_symbol(self.before(index), &["{", ","])
    }

    /// Places where the grammar has a name or the rest of an expression, but never the start of a clause: after the dot
    /// of a property, after `:` or `|` of a label, as a key. (Not after `AS`: `AS` itself can be a name, so in
    /// `WITH 1 AS AS CREATE (…)` the CREATE is a clause.)
    fn is_name_position(&self, index: usize) -> bool {
        Self::is_symbol(self.before(index), &[".", ":", "|"]) || self.is_map_key(index)
    }

    fn check_depth(&self) -> Result<(), Refusal> {
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate() {
            let is_keyword = token.kind == Kind::Word && !self.is_name_position(index);
            if Self::is_symbol(Some(token), &OPENING) || token.is_word("CASE") {
                depth += 1;
            } else if Self::is_symbol(Some(token), &CLOSING) || (is_keyword && token.is_word("END")) {
                depth = depth.saturating_sub(1);
            }
            if depth > MAX_DEPTH {
                return Err(Refusal::TooDeep { at: self.at(token) });
            }
        }
        Ok(())
    }

    fn check_single_statement(&self) -> Result<(), Refusal> {
        let end = self
            .tokens
            .iter()
            .position(|token| Self::is_symbol(Some(token), &[";"]));
        match end.and_then(|end| self.token(end + 1)) {
            Some(extra) => Err(Refusal::SecondStatement {
                at: self.at(extra),
                found: extra.shown(),
            }),
            None => Ok(()),
        }
    }

    fn check_first_word(&self) -> Result<(), Refusal> {
        let mut tokens = self.tokens.iter().peekable();
        if tokens.next_if(|token| token.is_word("EXPLAIN")).is_some() {
            tokens.next_if(|token| token.is_word("LOGICAL"));
        } else {
            tokens.next_if(|token| token.is_word("PROFILE"));
        }
        match tokens.next() {
            Some(first) if first.is_word_of(FIRST_WORDS) => Ok(()),
            Some(other) => Err(Refusal::NotAQuery {
                at: self.at(other),
                found: other.shown(),
            }),
            None => Err(Refusal::Empty {
                at: Position::new(self.query, self.query.len()),
            }),
        }
    }

    /// Refuses `n._x`, `{_x: 1}` and, as it names a property by a string, `properties(…, '_x')`.
    fn check_reserved_names(&self) -> Result<(), Refusal> {
        // Per open bracket: whether it holds the arguments of `properties`.
        let mut brackets = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let names_property = Self::is_symbol(self.before(index), &["."]) || self.is_map_key(index);
            let reserved = match token.kind {
                Kind::Word | Kind::Quoted => names_property && token.name().starts_with('_'),
                // An escape could stand for the underscore.
                Kind::Text => brackets.last() == Some(&true) && token.text[1..].starts_with(['_', '\\']),
                _ => false,
            };
            if reserved {
                return Err(Refusal::ReservedName {
                    at: self.at(token),
                    found: token.shown(),
                });
            }
            if Self::is_symbol(Some(token), &OPENING) {
                let called = self.before(index).map(|before| before.name());
                brackets.push(called.is_some_and(|name| name.eq_ignore_ascii_case("properties")));
            } else if Self::is_symbol(Some(token), &CLOSING) {
                brackets.pop();
            }
        }
        Ok(())
    }

    fn check_words(&self) -> Result<(), Refusal> {
        let given_names: HashSet<String> = (self.tokens.windows(2))
            .filter(|pair| pair[0].is_word("AS") && pair[1].kind == Kind::Word)
            .map(|pair| pair[1].text.to_ascii_uppercase())
            .collect();
        for (index, token) in self.tokens.iter().enumerate() {
            if self.is_name_position(index) {
                continue;
            }
            let is_given_name = || given_names.contains(&token.text.to_ascii_uppercase());
            if token.is_word_of(CLAUSE_WORDS) || (token.is_word_of(STATEMENT_WORDS) && !is_given_name()) {
                return Err(Refusal::Keyword {
                    at: self.at(token),
                    found: token.shown(),
                });
            }
        }
        Ok(())
    }

    /// Every name before `(` must be one of the allowed functions, and every CALL must call one of its own.
    fn check_calls(&self) -> Result<(), Refusal> {
        for (index, token) in self.tokens.iter().enumerate() {
            if self.is_call_clause(index) {
                self.check_call_clause(index)?;
                continue;
            }
            let calls = matches!(token.kind, Kind::Word | Kind::Quoted)
                && Self::is_symbol(self.token(index + 1), &["("]);
            if !calls
                || index
                    .checked_sub(1)
                    .is_some_and(|before| self.is_call_clause(before))
            {
                continue;
            }
            // The engine has no functions with a namespace, so `a.b(…)` is refused whatever `b` is.
            let has_namespace = Self::is_symbol(self.before(index), &["."]);
            let is_keyword = token.is_word_of(WORDS_BEFORE_PARENTHESIS);
            if has_namespace || !(is_keyword || functions::is_allowed(&token.name())) {
                return Err(Refusal::Function {
                    at: self.at(token),
                    found: token.shown(),
                    why: "is unknown or not allowed in queries".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn is_call_clause(&self, index: usize) -> bool {
        self.tokens[index].is_word("CALL") && !self.is_name_position(index)
    }

    /// `CALL name(…)` with an allowed name; not `CALL setting = value`, nor anything else.
    fn check_call_clause(&self, call: usize) -> Result<(), Refusal> {
        let Some(callee) = self.token(call + 1) else {
            return Err(Refusal::Call {
                at: self.at(&self.tokens[call]),
                found: "without a function".to_owned(),
            });
        };
        let is_name = matches!(callee.kind, Kind::Word | Kind::Quoted);
        let is_call = is_name && Self::is_symbol(self.token(call + 2), &["("]);
        if is_call && functions::is_allowed_after_call(&callee.name()) {
            return Ok(());
        }
        Err(Refusal::Call {
            at: self.at(callee),
            found: callee.shown(),
        })
    }
}
