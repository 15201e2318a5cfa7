//! Text into tokens: cut as the engine cuts it, and without a panic whatever it is.

use crate::query_guard::check;
use crate::query_guard::lexer::{Kind, lex};

#[test]
fn text_is_cut_into_the_engines_tokens() {
    use Kind::{Number, Parameter, Quoted, Symbol, Text, Word};
    let cut = |query| {
        lex(query)
            .unwrap()
            .into_iter()
            .map(|token| (token.kind, token.text))
            .collect::<Vec<_>>()
    };
    assert_eq!(cut("a$b _c x1"), [(Word, "a$b"), (Word, "_c"), (Word, "x1")]);
    assert_eq!(cut("1..3"), [(Number, "1"), (Symbol, ".."), (Number, "3")]);
    assert_eq!(cut("1.5.x"), [(Number, "1.5"), (Symbol, "."), (Word, "x")]);
    assert_eq!(
        cut("1.x 1eCREATE"),
        [
            (Number, "1"),
            (Symbol, "."),
            (Word, "x"),
            (Number, "1"),
            (Word, "eCREATE")
        ]
    );
    assert_eq!(cut("1e-5 2E3 .5e1 1e+5").len(), 3 + 4);
    assert_eq!(cut("12SET"), [(Number, "12"), (Word, "SET")]);
    assert_eq!(
        cut("$a $1SET $`b c`"),
        [
            (Parameter, "$a"),
            (Parameter, "$1"),
            (Word, "SET"),
            (Parameter, "$`b c`")
        ]
    );
    assert_eq!(
        cut("`a``b```.c"),
        [(Quoted, "`a``b```"), (Symbol, "."), (Word, "c")]
    );
    assert_eq!(
        cut("'a''b'\"'\""),
        [(Text, "'a'"), (Text, "'b'"), (Text, "\"'\"")]
    );
    assert_eq!(
        cut("<-[*]->"),
        ["<", "-", "[", "*", "]", "-", ">"].map(|text| (Symbol, text))
    );
    assert_eq!(cut("a/**/b//c\nd"), [(Word, "a"), (Word, "b"), (Word, "d")]);
    assert_eq!(lex("```_a```").unwrap()[0].name(), "`_a`");
}

#[test]
fn no_text_makes_the_guard_panic() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let pieces = [
        "MATCH",
        " ",
        "(",
        ")",
        "'",
        "\"",
        "`",
        "\\",
        "/*",
        "*/",
        "//",
        "\n",
        "\r",
        "ü",
        "$",
        ".",
        "1",
        "e",
        "_",
        ":",
        "{",
        "}",
        ";",
        "CALL",
        "properties",
        "\\u00e4",
        "RETURN ",
        "\u{180e}",
        "\u{1F600}",
    ];
    for _ in 0..20_000 {
        let length = random.random_range(0..12);
        let query: String = (0..length)
            .map(|_| pieces[random.random_range(0..pieces.len())])
            .collect();
        if let Err(refusal) = check(&query) {
            assert!(
                query.is_char_boundary(refusal.position().offset),
                "seed {seed} {query:?}"
            );
        }
    }
}
