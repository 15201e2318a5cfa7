//! Calls whose result is as large, or takes as long, as a number in their text says.
//!
//! The engine makes such a value in one step: it neither counts the memory in its buffer pool nor looks for an interrupt
//! meanwhile (`ListAuxiliaryBuffer::resizeDataVector`, `BasePadOperation`, `Value::createDefaultValue`, `Factorial`). So
//! `size(range(1, 3000000000))` or `cast(NULL AS INT64[3000000000])` would take any node down, and no timeout would end it.
//! Such a number must stand in the text, where it can be bounded before the query runs.
//!
//! Owns: those bounds. Does not own: lists that a query puts together from others or gets as parameters; no look at the text
//! can bound these.

use super::lexer::{Kind, Token};
use super::{CLOSING, Guard, OPENING, Position, Refusal};

/// What all `UNWIND range(…) AS x` of one query may ask for: each is made once, 8 bytes per element.
pub(super) const MAX_ELEMENTS: u64 = 1_000_000;

/// The same for all other such calls: the engine may make them for each of the 2048 rows that it works on at a time, some of
/// them with about 150 bytes per element, and what is done with two of them may take as long as their product.
pub(super) const MAX_HELD: u64 = 10_000;

/// 64 bits hold no larger one, but the engine multiplies on.
const MAX_FACTORIAL: u64 = 20;

/// Where a call says its size.
#[derive(Debug, Clone, Copy)]
enum SizedBy {
    /// First, last and perhaps step, all of them numbers.
    Range,
    /// `[n]` in the name of a type.
    ArrayType,
    /// The argument with this index, at most so large.
    Number { argument: usize, most: u64 },
}

fn sized_by(function: &str) -> Option<SizedBy> {
    let number = |argument, most| SizedBy::Number { argument, most };
    let sized = [
        ("range", SizedBy::Range),
        ("cast", SizedBy::ArrayType),
        ("repeat", number(1, MAX_HELD)),
        ("lpad", number(1, MAX_HELD)),
        ("rpad", number(1, MAX_HELD)),
        ("factorial", number(0, MAX_FACTORIAL)),
    ];
    let found = sized
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(function));
    found.map(|(_, by)| by)
}

impl<'q> Guard<'q> {
    /// Refuses calls that ask for more than the bounds above, or do not say for how much.
    pub(super) fn check_sizes(&self) -> Result<(), Refusal> {
        let (mut unwound, mut held) = (0_u64, 0_u64);
        for (index, token) in self.tokens.iter().enumerate() {
            if token.kind == Kind::Symbol && token.text.contains('!') {
                self.check_factorial(index, token)?;
            }
            let is_called = matches!(token.kind, Kind::Word | Kind::Quoted)
                && Self::is_symbol(self.token(index + 1), &["("]);
            let Some(by) = is_called.then(|| sized_by(&token.name())).flatten() else {
                continue;
            };
            let arguments = self.arguments(index + 2);
            let asked = self.asked_for(token, by, &arguments)?;
            let (total, most, scope) = match self.is_unwound(index, &arguments) {
                true => (&mut unwound, MAX_ELEMENTS, "in all UNWIND range(…) AS x"),
                false => (&mut held, MAX_HELD, "in all such calls but UNWIND range(…) AS x"),
            };
            *total = total.saturating_add(asked);
            if *total > most {
                let why = format!("asks for {asked} elements; expected at most {most} {scope} of a query");
                return Err(self.refused_call(token, None, why));
            }
        }
        Ok(())
    }

    /// `UNWIND call(…) AS`: the list is made once, and each of its elements becomes a row.
    fn is_unwound(&self, call: usize, arguments: &[&[Token]]) -> bool {
        // The name, the bracket, the arguments with the commas between them, the bracket.
        let inside = arguments.iter().map(|argument| argument.len()).sum::<usize>() + arguments.len() - 1;
        let before = call.checked_sub(1).and_then(|before| self.token(before));
        before.is_some_and(|before| before.is_word("UNWIND"))
            && self
                .token(call + inside + 3)
                .is_some_and(|after| after.is_word("AS"))
    }

    /// `5!` is a factorial as well; in this language nothing else is written with that sign.
    fn check_factorial(&self, index: usize, sign: &Token<'q>) -> Result<(), Refusal> {
        let number = index.checked_sub(1).and_then(|before| self.token(before));
        let asked = number.and_then(|number| integer(std::slice::from_ref(number)));
        if asked.is_some_and(|asked| u64::try_from(asked).is_ok_and(|asked| asked <= MAX_FACTORIAL)) {
            return Ok(());
        }
        let why = format!("follows no integer written out; expected one of at most {MAX_FACTORIAL}");
        Err(self.refused_call(sign, None, why))
    }

    /// The elements that a call asks for. Where the engine has no such form of the call, none: it says so itself.
    fn asked_for(
        &self,
        function: &Token<'q>,
        by: SizedBy,
        arguments: &[&'q [Token<'q>]],
    ) -> Result<u64, Refusal> {
        match by {
            SizedBy::Range => {
                let numbers: Result<Vec<i64>, Refusal> = arguments
                    .iter()
                    .map(|argument| self.integer(function, argument))
                    .collect();
                Ok(range_elements(&numbers?))
            }
            SizedBy::ArrayType => {
                let Some(type_name) = type_of_cast(arguments) else {
                    return Ok(0);
                };
                let text = match type_name {
                    TypeName::Words(words) => Some(self.text(words)),
                    TypeName::Value([text]) if text.kind == Kind::Text => Some(text.text),
                    // What the engine makes a type of, as it evaluates constants: `'INT64[' + '9]'`.
                    TypeName::Value(_) => None,
                };
                text.and_then(array_elements).ok_or_else(|| {
                    let (TypeName::Words(found) | TypeName::Value(found)) = type_name;
                    let why = format!(
                        "is called with the type {}; expected a type written out, with the sizes of its arrays in digits",
                        self.shown(found)
                    );
                    self.refused_call(function, found.first(), why)
                })
            }
            SizedBy::Number { argument, most } => {
                let Some(argument) = arguments.get(argument) else {
                    return Ok(0);
                };
                // What is negative asks for nothing.
                let asked = u64::try_from(self.integer(function, argument)?).unwrap_or(0);
                if asked > most {
                    let why = format!("is called with {asked}; expected at most {most}");
                    return Err(self.refused_call(function, argument.first(), why));
                }
                Ok(asked)
            }
        }
    }

    /// The tokens of each argument of a call; those of the first begin at `start`.
    fn arguments(&self, start: usize) -> Vec<&'q [Token<'q>]> {
        let tokens: &'q [Token<'q>] = self.tokens;
        let mut arguments = Vec::new();
        let (mut from, mut depth) = (start, 0_usize);
        for (index, token) in tokens.iter().enumerate().skip(start) {
            if Self::is_symbol(Some(token), &OPENING) {
                depth += 1;
            } else if Self::is_symbol(Some(token), &CLOSING) {
                if depth == 0 {
                    arguments.push(&tokens[from..index]);
                    return arguments;
                }
                depth -= 1;
            } else if depth == 0 && Self::is_symbol(Some(token), &[","]) {
                arguments.push(&tokens[from..index]);
                from = index + 1;
            }
        }
        // Without an end, it is no query to the engine.
        arguments.push(&tokens[from..]);
        arguments
    }

    /// `3`, `-3`, `+3`, in 64 bits.
    fn integer(&self, function: &Token, argument: &[Token]) -> Result<i64, Refusal> {
        integer(argument).ok_or_else(|| {
            let why = format!(
                "is called with {}; expected an integer written out, as what it makes takes memory that nothing else bounds",
                self.shown(argument)
            );
            self.refused_call(function, argument.first(), why)
        })
    }

    fn refused_call(&self, function: &Token, at: Option<&Token>, why: String) -> Refusal {
        Refusal::Function {
            at: Position::new(self.query, at.unwrap_or(function).offset),
            found: function.shown(),
            why,
        }
    }

    /// As written, what stands between them too.
    fn text(&self, tokens: &[Token]) -> &'q str {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => &self.query[first.offset..last.offset + last.text.len()],
            _ => "",
        }
    }

    /// For messages: as written, shortened.
    fn shown(&self, tokens: &[Token]) -> String {
        const LONGEST: usize = 40;
        let text = self.text(tokens);
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None if text.is_empty() => "nothing".to_owned(),
            None => text.to_owned(),
        }
    }
}

fn integer(argument: &[Token]) -> Option<i64> {
    let (sign, number) = match argument {
        [number] => ("", number),
        [sign, number] if sign.kind == Kind::Symbol && matches!(sign.text, "+" | "-") => (sign.text, number),
        _ => return None,
    };
    if number.kind != Kind::Number {
        return None;
    }
    // Fractions, exponents and what 64 bits do not hold are none either.
    format!("{sign}{}", number.text).parse().ok()
}

/// As the engine counts: both ends belong to it.
fn range_elements(numbers: &[i64]) -> u64 {
    let (first, last, step) = match *numbers {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step),
        _ => return 0,
    };
    let (distance, step) = (i128::from(last) - i128::from(first), i128::from(step));
    if distance.signum() * step.signum() < 0 {
        return 0;
    }
    // A step of 0 the engine refuses.
    distance.checked_div(step).map_or(0, |steps| {
        u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)
    })
}

/// `T` of a cast.
#[derive(Debug, Clone, Copy)]
enum TypeName<'q> {
    /// `cast(x AS T)`
    Words(&'q [Token<'q>]),
    /// `cast(x, T)`
    Value(&'q [Token<'q>]),
}

fn type_of_cast<'q>(arguments: &[&'q [Token<'q>]]) -> Option<TypeName<'q>> {
    match *arguments {
        [argument] => {
            // The first one outside brackets: in front of it stands an expression.
            let mut depth = 0_usize;
            let as_word = argument.iter().position(|token| {
                if Guard::is_symbol(Some(token), &OPENING) {
                    depth += 1;
                } else if Guard::is_symbol(Some(token), &CLOSING) {
                    depth = depth.saturating_sub(1);
                }
                depth == 0 && token.is_word("AS")
            })?;
            Some(TypeName::Words(&argument[as_word + 1..]))
        }
        [_, type_name] => Some(TypeName::Value(type_name)),
        _ => None,
    }
}

/// Values in one value of a type, at least: the product of all `[n]`, none where there is none. `None`: it cannot be told.
fn array_elements(type_name: &str) -> Option<u64> {
    // An escape could stand for a bracket.
    if type_name.contains('\\') {
        return None;
    }
    let mut elements = None;
    for bracket in type_name.split('[').skip(1) {
        let size = bracket.split_once(']')?.0.trim();
        // A list.
        if size.is_empty() {
            continue;
        }
        // A name in brackets may look like a size, and nothing may make the product smaller than it is.
        let size: u64 = size.parse().ok()?;
        elements = Some(elements.unwrap_or(1_u64).saturating_mul(size.max(1)));
    }
    Some(elements.unwrap_or(0))
}
