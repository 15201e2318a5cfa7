//! Tokens of Cypher, cut exactly where the engine's own lexer cuts them (its `Cypher.g4`).
//!
//! The two must agree on where strings, names and comments end, or text could hide from the guard what the engine runs.
//! So where the engine's rules are unusual (escapes in strings, comments ending in `**/`, a lone carriage return) and
//! wherever a character is in no rule, the text is refused instead of guessed at.
//!
//! Owns: cutting. Does not own: which words are keywords; the engine decides that by place, and so does the guard.

use std::borrow::Cow;

use super::{Position, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or plain name.
    Word,
    /// A name in backticks.
    Quoted,
    /// A string, in either kind of quotes.
    Text,
    Number,
    /// `$name`, `$1`.
    Parameter,
    /// Operators and punctuation: one character each, but `..` is one symbol.
    Symbol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'q> {
    pub(super) kind: Kind,
    /// As written, with quotes.
    pub(super) text: &'q str,
    /// Bytes before it in the query.
    pub(super) offset: usize,
}

impl Token<'_> {
    /// Whether it is this word, in any case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is one of these words, which white space separates.
    pub(super) fn is_word_of(&self, words: &str) -> bool {
        words.split_ascii_whitespace().any(|word| self.is_word(word))
    }

    /// The name it stands for: without backticks, doubled ones inside made single.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self.kind {
            Kind::Quoted => Cow::Owned(self.text[1..self.text.len() - 1].replace("``", "`")),
            _ => Cow::Borrowed(self.text),
        }
    }

    /// For messages: as written, shortened.
    pub(super) fn shown(&self) -> String {
        const LONGEST: usize = 40;
        match self.text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &self.text[..end]),
            None => self.text.to_owned(),
        }
    }
}

/// Cuts a query into tokens, leaving out white space and comments.
///
/// # Errors
/// [`Refusal::Unterminated`] and [`Refusal::Malformed`].
pub(super) fn lex(query: &str) -> Result<Vec<Token<'_>>, Refusal> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(first) = query[offset..].chars().next() {
        let (kind, length) = next(query, offset, first)?;
        if let Some(kind) = kind {
            tokens.push(Token {
                kind,
                text: &query[offset..offset + length],
                offset,
            });
        }
        offset += length;
    }
    Ok(tokens)
}

/// The kind (`None` for white space and comments) and length in bytes of what starts at `offset`.
fn next(query: &str, offset: usize, first: char) -> Result<(Option<Kind>, usize), Refusal> {
    let rest = &query[offset..];
    let second = rest[first.len_utf8()..].chars().next();
    let malformed = |at: usize, found: &str, expected| {
        Err(Refusal::Malformed {
            at: Position::new(query, at),
            found: found.to_owned(),
            expected,
        })
    };
    let unterminated = |what| Refusal::Unterminated {
        at: Position::new(query, offset),
        what,
    };
    Ok(match first {
        _ if is_space(first) => (None, first.len_utf8()),
        '/' if second == Some('/') => match line_comment(rest) {
            Some(length) => (None, length),
            None => {
                return malformed(
                    offset,
                    "//",
                    "a comment may hold a carriage return only at the end of its line",
                );
            }
        },
        '/' if second == Some('*') => match block_comment(rest).ok_or_else(|| unterminated("comment"))? {
            Ok(length) => (None, length),
            Err(stars) => {
                return malformed(
                    offset + stars,
                    "**/",
                    "the engine does not see the end of a comment there",
                );
            }
        },
        '\'' | '"' => match string(rest, first).ok_or_else(|| unterminated("string"))? {
            Ok(length) => (Some(Kind::Text), length),
            Err(escape) => {
                let found: String = rest[escape..].chars().take(2).collect();
                let expected = r#"escapes are \\ \' \" \b \f \n \r \t \xHH \uHHHH \UHHHHHHHH"#;
                return malformed(offset + escape, &found, expected);
            }
        },
        '`' => (
            Some(Kind::Quoted),
            quoted(rest).ok_or_else(|| unterminated("name in backticks"))?,
        ),
        '$' => match second {
            Some('`') => {
                let name = quoted(&rest[1..]).ok_or_else(|| unterminated("name in backticks"))?;
                (Some(Kind::Parameter), 1 + name)
            }
            Some(c) if is_word_start(c) => (Some(Kind::Parameter), 1 + span(&rest[1..], is_word_part)),
            Some(c) if c.is_ascii_digit() => (Some(Kind::Parameter), 1 + digits(&rest[1..])),
            _ => return malformed(offset, "$", "a parameter is written $name"),
        },
        '.' if second == Some('.') => (Some(Kind::Symbol), 2),
        '.' if second.is_some_and(|c| c.is_ascii_digit()) => (Some(Kind::Number), number(rest)),
        _ if first.is_ascii_digit() => (Some(Kind::Number), number(rest)),
        _ if is_word_start(first) => (Some(Kind::Word), span(rest, is_word_part)),
        _ if is_symbol(first) => (Some(Kind::Symbol), first.len_utf8()),
        _ => {
            return malformed(
                offset,
                first.encode_utf8(&mut [0; 4]),
                "names with such characters need backticks",
            );
        }
    })
}

/// The grammar's `WHITESPACE`.
fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{1c}'..='\u{1f}' | ' ' | '\u{a0}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200a}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// At most what the grammar's `ID_Start` and `Pc` hold of characters that anybody types.
fn is_word_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_word_part(c: char) -> bool {
    matches!(c, '_' | '$') || c.is_alphanumeric()
}

/// Operators, punctuation, and the grammar's other dashes and arrow heads.
fn is_symbol(c: char) -> bool {
    "()[]{},.:;=<>+-*/%^|&!~".contains(c)
        || "\u{27e8}\u{3008}\u{fe64}\u{ff1c}\u{27e9}\u{3009}\u{fe65}\u{ff1e}".contains(c)
        || "\u{ad}\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{fe58}\u{fe63}\u{ff0d}"
            .contains(c)
}

fn span(text: &str, belongs: fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn digits(text: &str) -> usize {
    span(text, |c| c.is_ascii_digit())
}

/// `1`, `1.5`, `.5`, `1e9`, `1.5E-9`; the dot of `1..3` and of `1.x` is not part of it.
fn number(text: &str) -> usize {
    let mut length = digits(text);
    if text[length..].starts_with('.') && digits(&text[length + 1..]) > 0 {
        length += 1 + digits(&text[length + 1..]);
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with('-'));
        if digits(&exponent[sign..]) > 0 {
            length += 1 + sign + digits(&exponent[sign..]);
        }
    }
    length
}

/// Backticks; a doubled one is part of the name. `None`: it has no end.
fn quoted(text: &str) -> Option<usize> {
    let mut length = 0;
    while text[length..].starts_with('`') {
        length += text[length + 1..].find('`')? + 2;
    }
    Some(length)
}

/// Its length; or, as `Err`, where an escape stands that the engine does not know (for it the string does not end where
/// it seems to). `None`: it has no end.
fn string(text: &str, quote: char) -> Option<Result<usize, usize>> {
    let mut length = 1;
    loop {
        length += text[length..].find([quote, '\\'])?;
        if text[length..].starts_with(quote) {
            return Some(Ok(length + 1));
        }
        let hex_digits = match text[length + 1..].chars().next()?.to_ascii_lowercase() {
            '\\' | '\'' | '"' | 'b' | 'f' | 'n' | 'r' | 't' => 0,
            'x' => 2,
            'u' => 4,
            _ => return Some(Err(length)),
        };
        let argument = text.as_bytes().get(length + 2..length + 2 + hex_digits);
        if !argument.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Some(Err(length));
        }
        length += 2 + hex_digits;
    }
}

/// Up to and without the end of the line. `None`: it holds a carriage return elsewhere, and is no comment to the engine.
fn line_comment(text: &str) -> Option<usize> {
    let length = text.find(['\n', '\r']).unwrap_or(text.len());
    let end = &text[length..];
    (!end.starts_with('\r') || end == "\r" || end.starts_with("\r\n")).then_some(length)
}

/// Its length; or, as `Err`, where a `**/` stands that ends it for people but not for the engine, which reads the
/// inside of a comment as `*` plus any one character but `/`. `None`: it has no end.
fn block_comment(text: &str) -> Option<Result<usize, usize>> {
    let end = 2 + text[2..].find("*/")?;
    let stars = text[2..end]
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'*')
        .count();
    Some(if stars % 2 == 0 { Ok(end + 2) } else { Err(end - 1) })
}
