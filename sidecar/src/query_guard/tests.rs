//! Tables of accepted and refused queries, and of tokens.

use super::lexer::{Kind, lex};
use super::*;

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

#[test]
fn analytic_queries_are_accepted() {
    for query in [
        "MATCH (n) RETURN n",
        "match(n)return n;",
        "  MATCH (n:Package {name: $name})-[d:DEPENDS]->(m) WHERE n.size > 10 AND (m.size < 5 OR NOT (m.x IS NULL)) RETURN m ;\n",
        "OPTIONAL MATCH (a)<-[:A|B|:C]-(b), (c) RETURN count(*), COUNT(DISTINCT b.name) AS n ORDER BY n DESC SKIP 1 LIMIT 10",
        "MATCH p = (a)-[:DEPENDS*1..3]->(b) RETURN nodes(p), rels(p), length(p), properties(nodes(p), 'name')",
        "MATCH p = (a)-[:D* SHORTEST 1..5]->(b) RETURN p UNION ALL MATCH p = (a)-[:D* ALL SHORTEST 1..5]->(b) RETURN p",
        "MATCH (a)-[e:D* SHORTEST (r, n | WHERE r.w > 1 | {r.w}, {n.name})]->(b) RETURN e",
        "MATCH (a)-[e:D* ALL WSHORTEST(weight) 1..5]->(b), (c)-[:E* TRAIL (r, n | WHERE n.x)]-(d) RETURN cost(e)",
        "MATCH (a)-[r:D*1..2 (r, n | WHERE n.age > 4)]->(b) RETURN a.*",
        "WITH [1, 2, 3, 4] AS l RETURN l[1:2], l[2:], l[-1], size(l), list_transform(l, x -> (x + 1) * 2), [(1), (2)]",
        "UNWIND range(1, 3) AS x WITH x WHERE x IN (1) RETURN collect(x), list_reduce([1, 2], (a, b) -> a + b)",
        "UNWIND ($rows) AS row RETURN row.key, $1",
        "RETURN CASE (1) WHEN (1) THEN ('a') ELSE ('b') END, CASE WHEN NOT (true) XOR (false) THEN 1 END",
        "MATCH (n) WHERE n.name =~ '.*(a|b).*' AND n.name STARTS WITH ('x') AND n.name CONTAINS ('y') RETURN n",
        "RETURN date('2024-01-01') + interval('1 day'), timestamp('2024-01-01 00:00:00'), current_timestamp()",
        "RETURN cast(1 AS DECIMAL(10, 2)), CAST(x AS STRUCT(a INT64)), cast(m AS MAP(STRING, INT64)), cast('1', 'INT64')",
        "MATCH (n) RETURN label(n), labels(n), id(n), offset(id(n)), typeof(n.x), keys(n)",
        "MATCH (a) WHERE EXISTS { MATCH (a)-[:D]->(b) WHERE b.x > (3) } RETURN COUNT { MATCH (a)-[]->() }",
        "MATCH (n) WHERE all(x IN n.list WHERE x > 0) AND any(x IN [1] WHERE (x = 1)) AND none(x IN [] WHERE x) RETURN n",
        "MATCH (a)-->(b) WHERE (a)-[:D]->(b) RETURN DISTINCT (a.x + b.y) % 3 ^ 2, 4!, 1 << 2, 3 & 1 | 2, -1.5e-3, .5",
        "MATCH (a)-[e]->(b) WHERE a.x = 1 HINT (a JOIN e) JOIN b RETURN a",
        "MATCH (n) RETURN {a: 1, 'b': (2), `c d`: n.x}.a, `count`(n), regexp_matches(n.name, 'x')",
        "CALL show_tables() RETURN *",
        "call `table_info`('Package') YIELD name AS n WHERE n <> 'x' RETURN n",
        "MATCH (n) CALL db_version() WITH version, n RETURN *",
        "EXPLAIN MATCH (n) RETURN n",
        "explain logical RETURN 1",
        "PROFILE MATCH (n) RETURN n",
        "MATCH (prüfung:Größe) RETURN prüfung.länge, \"ü \u{1F600}\"",
        "MATCH\u{a0}(n)\u{3000}RETURN\tn // end",
        "/* head */ MATCH /** doc */ (n) /**/ RETURN /* ** */ n // CREATE (m)\r\n;",
    ] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
}

#[test]
fn words_that_write_are_fine_where_they_are_content_or_names() {
    for query in [
        "RETURN 'CREATE (n)', \"it's; DELETE\", 'a\\'; CREATE (n)', '\\\\', \"\\\"; SET\", '\\x41\\u00e4\\U0001F600'",
        "RETURN '// no comment', \"/* none either\", '`'",
        "MATCH (`create`:`DELETE` {`set`: 1}) RETURN `create`.`merge` AS `load`",
        "MATCH (n:CREATE:Set {delete: 1, load: 2})-[:USE|MERGE|:COPY]->(m:Drop|Alter) RETURN n.set, m . create",
        "RETURN {create: 1, set: {load: 2}} AS m, $create, $`set`, $delete",
        "RETURN 1 // CREATE (n)\n, 2 /* ; DELETE n */",
        "MATCH (n) RETURN n.comment AS comment, n.use AS Use, n.update ORDER BY comment, use",
        "MATCH (created)-[settings]->(n) RETURN loads, offset_, n.callable, n.call",
        "MATCH (n:CALL)-[:CALL]->() RETURN {call: 1}",
    ] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
}

#[test]
fn whatever_writes_or_reaches_outside_is_refused() {
    for (query, expected) in [
        // Statements
        ("CREATE (n:P)", "not a query"),
        ("COPY (MATCH (n) RETURN n) TO '/tmp/x'", "not a query"),
        (
            "LOAD FROM '/etc/passwd' (file_format='csv', delim=':') RETURN *",
            "not a query",
        ),
        ("load extension httpfs", "not a query"),
        ("INSTALL httpfs", "not a query"),
        ("ATTACH 'x' AS y (dbtype postgres)", "not a query"),
        ("EXPORT DATABASE '/tmp/x'", "not a query"),
        ("IMPORT DATABASE '/tmp/x'", "not a query"),
        ("BEGIN TRANSACTION", "not a query"),
        ("COMMIT", "not a query"),
        ("CHECKPOINT", "not a query"),
        ("DROP TABLE x", "not a query"),
        ("ALTER TABLE x ADD y INT64", "not a query"),
        ("COMMENT ON TABLE x IS 'y'", "not a query"),
        ("USE x", "not a query"),
        ("ANALYZE", "not a query"),
        ("EXPLAIN COPY x TO 'y'", "not a query"),
        ("PROFILE CREATE (n)", "not a query"),
        ("EXPLAIN PROFILE RETURN 1", "not a query"),
        ("`MATCH` (n) RETURN n", "not a query"),
        ("(n)", "not a query"),
        // Clauses
        ("MATCH (n) SET n.x = 1", "keyword"),
        ("MATCH (n) DELETE n", "keyword"),
        ("MATCH (n) DETACH DELETE n", "keyword"),
        ("MATCH (n) REMOVE n.x RETURN n", "keyword"),
        ("MATCH(n)create(m)", "keyword"),
        ("MATCH (n) /* */MERGE/* */(m)", "keyword"),
        ("WITH 1 AS x CrEaTe (n)", "keyword"),
        ("MATCH (n) LOAD FROM '/etc/passwd' RETURN *", "keyword"),
        (
            "MATCH (n) LOAD WITH HEADERS (a STRING) FROM 'x' RETURN *",
            "keyword",
        ),
        (
            "MATCH (n) WHERE EXISTS { LOAD FROM 'x' RETURN * } RETURN n",
            "keyword",
        ),
        ("RETURN 1 UNION LOAD FROM 'x' RETURN *", "keyword"),
        ("WITH 1 AS AS CREATE (n)", "keyword"),
        ("WITH 1 AS load LOAD FROM 'x' RETURN *", "keyword"),
        ("RETURN {a: 1, b: 2} CREATE (n:X)", "keyword"),
        ("MATCH (n:A) RETURN n.x, CREATE", "keyword"),
        ("MATCH (a), (set:B) RETURN a", "keyword"),
        ("RETURN [1..SET]", "keyword"),
        ("EXPLAIN MATCH (n) DELETE n", "keyword"),
        ("MATCH (n) UPDATE n", "keyword"),
        // Several statements
        ("COMMIT; CREATE (n)", "second statement"),
        ("RETURN 1; CREATE (n)", "second statement"),
        ("RETURN 1;;", "second statement"),
        ("RETURN 'a' ; 'b'", "second statement"),
        // CALL
        ("CALL threads=1", "call"),
        ("CALL `threads` = 1", "call"),
        ("CALL show_tables", "call"),
        ("CALL show_tables = 1", "call"),
        ("CALL", "call"),
        ("CALL { MATCH (n) RETURN n } RETURN 1", "call"),
        ("CALL PROJECT_GRAPH('g', ['P'], ['D'])", "call"),
        ("CALL `project_graph`('g', ['P'], ['D'])", "call"),
        ("MATCH (n) CALL clear_warnings() RETURN n", "call"),
        ("CALL current_setting('home_directory') RETURN *", "call"),
        ("CALL read_parquet('x') RETURN *", "call"),
        ("CALL lower('X') RETURN *", "call"),
        ("CALL apoc.load.json('http://x') RETURN *", "call"),
        ("CALL $f() RETURN *", "call"),
        // Functions
        ("RETURN nextval('s')", "function"),
        ("RETURN `NextVal` ('s')", "function"),
        ("RETURN nextval/* */('s')", "function"),
        ("MATCH (n {a: nextval('s')}) RETURN n", "function"),
        ("RETURN [1:nextval('s')], 2|nextval('s')", "function"),
        ("RETURN show_tables()", "function"),
        ("RETURN a.lower('x')", "function"),
        ("RETURN n.match (1)", "function"),
        ("RETURN n.call nextval(1)", "function"),
        ("RETURN my_macro(1)", "function"),
        ("RETURN `WHERE`(1)", "function"),
        ("CALL show_tables() WHERE setseed(1) RETURN *", "function"),
        ("CALL table_info(currval('s')) RETURN *", "function"),
        // Reserved names
        ("MATCH (n) RETURN n._rowid", "reserved name"),
        ("MATCH (n) RETURN n . /* */ `_rowid`", "reserved name"),
        ("MATCH (n {name: 'x', _rowid: 5}) RETURN n", "reserved name"),
        ("MATCH (n {`_rowid`: 5}) RETURN n", "reserved name"),
        (
            "MATCH p = (a)-[*]->(b) RETURN properties(nodes(p), '_rowid')",
            "reserved name",
        ),
        (
            "MATCH p = (a)-[*]->(b) RETURN `properties`(nodes(p), '\\x5frowid')",
            "reserved name",
        ),
        // Not cut as it looks
        ("", "empty"),
        (" // nothing\n", "empty"),
        (";", "not a query"),
        ("EXPLAIN", "empty"),
        ("RETURN 'x", "unterminated"),
        ("RETURN \"x'", "unterminated"),
        ("RETURN 'x\\'", "unterminated"),
        ("RETURN 'x\\", "unterminated"),
        ("RETURN 'x\\u00", "malformed"),
        ("RETURN `x", "unterminated"),
        ("RETURN `x``", "unterminated"),
        ("RETURN $`x", "unterminated"),
        ("RETURN 1 /* x", "unterminated"),
        ("RETURN 1 /*/", "unterminated"),
        ("RETURN 1 /* **/ ' */ CREATE (n) //'", "malformed"),
        ("RETURN 1 /***/", "malformed"),
        ("RETURN 1 // x\r CREATE (n)", "malformed"),
        ("RETURN '\\a' CREATE (n) //'", "malformed"),
        ("RETURN '\\xg0'", "malformed"),
        ("RETURN '\\u12'", "malformed"),
        ("RETURN $", "malformed"),
        ("RETURN $ x", "malformed"),
        ("RETURN 1 \0", "malformed"),
        ("RETURN a? b", "malformed"),
        ("RETURN a\u{200b}b", "malformed"),
    ] {
        assert_eq!(kind(query), expected, "{query}");
    }
}

#[test]
fn a_write_hidden_anywhere_in_an_accepted_query_is_refused() {
    // Between any two tokens of a query, a writing clause must not pass. (Not after `.`, `:` and `|`, where the engine
    // sees a name, nor before `:`, where it sees a key.)
    let query = "MATCH (a:P {x: 1})-[r:D|E*1..3]->(b) WHERE a.x IN [1, 2] AND size(b.l) > 0 WITH a AS c, $p AS d RETURN c.y, 'z' LIMIT 1;";
    let tokens = lex(query).unwrap();
    for token in &tokens {
        let (head, tail) = query.split_at(token.offset);
        if head.trim_end().ends_with(['.', ':', '|']) && !head.ends_with("..") || tail.starts_with(':') {
            continue;
        }
        for clause in [
            "CREATE (n:X)",
            "SET a.x = 1",
            "DETACH DELETE a",
            "LOAD FROM 'x'",
            "; DROP TABLE P",
            "CALL threads=2",
        ] {
            assert_ne!(
                kind(&format!("{head} {clause} {tail}")),
                "accepted",
                "{head} {clause} {tail}"
            );
        }
    }
}

#[test]
fn deep_nesting_is_refused_before_it_reaches_a_recursive_parser() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("RETURN {}1{}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a: ", "}"),
        ("CASE WHEN ", " THEN 1 END"),
        ("abs(", ")"),
    ] {
        assert_eq!(kind(&nested(open, close, MAX_DEPTH)), "accepted", "{open}");
        assert_eq!(kind(&nested(open, close, MAX_DEPTH + 1)), "too deep", "{open}");
    }
    assert_eq!(
        kind(&format!("RETURN {}", vec!["(1)"; 1000].join(", "))),
        "accepted"
    );
    assert_eq!(
        kind(&nested("CASE WHEN {end: 1}.end = 1 THEN ", " END", MAX_DEPTH)),
        "too deep",
        "n.end closes nothing"
    );
}

#[test]
fn a_refusal_says_where_what_and_why() {
    for (query, offset, text) in [
        (
            "MATCH (ü)\n  SET ü.x = 1",
            13,
            "line 2, column 3: SET writes or reaches outside the graph, which a query must not; if it is a name, write `SET`",
        ),
        (
            "RETURN 'ü', nextVal('s')",
            13,
            "line 1, column 13: the function nextVal is unknown or not allowed in queries",
        ),
        (
            "CALL threads=1",
            5,
            "line 1, column 6: CALL threads is not allowed; expected one of catalog_version, db_version",
        ),
        (
            "RETURN 1; DROP",
            10,
            "line 1, column 11: \"DROP\" stands after the end of the statement; expected a single statement",
        ),
        (
            "\n\nDROP TABLE x",
            2,
            "line 3, column 1: a read-only query cannot start with \"DROP\"; expected MATCH",
        ),
        (
            "RETURN size(range(1, 3000000000))",
            12,
            "line 1, column 13: the function range asks for 3000000000 elements; expected at most 10000 in all such calls",
        ),
        (
            "RETURN range(1,\n $n)",
            17,
            "line 2, column 2: the function range is called with $n; expected an integer written out",
        ),
        (
            "RETURN factorial( 99 )",
            18,
            "line 1, column 19: the function factorial is called with 99; expected at most 20",
        ),
        (
            "RETURN cast(NULL, $type)",
            18,
            "line 1, column 19: the function cast is called with the type $type; expected a type written out",
        ),
        ("RETURN n.`_id`", 9, "line 1, column 10: `_id` is reserved"),
        ("RETURN 'abc", 7, "line 1, column 8: this string has no end"),
        (
            "RETURN 'a\\z'",
            9,
            "line 1, column 10: \"\\\\z\" is not understood here; escapes are",
        ),
        ("", 0, "line 1, column 1: the query is empty"),
    ] {
        let refusal = check(query).unwrap_err();
        assert_eq!(refusal.position().offset, offset, "{query}");
        assert!(
            refusal.to_string().starts_with(text),
            "{refusal}\nexpected {text}"
        );
    }
}

#[test]
fn calls_that_make_something_large_say_how_large_in_the_text() {
    for query in [
        "UNWIND range(1, 1000000) AS x RETURN x",
        "RETURN range(-5000, 4994), range(5, 1), `Range` (+1 , - 3, -1)",
        "RETURN range(0, 9000000000000000000, 9000000000000000000)",
        "UNWIND RANGE(1, 400000) AS a UNWIND range(1, 600000 /* , 7 */) AS b RETURN a + b",
        // Names and content, not calls.
        "WITH $range AS range MATCH (n:range {range: 9000000000}) WHERE n.range = $n RETURN range, 'range(1, $n)'",
        "UNWIND $rows AS row UNWIND [1, 9000000000] AS x RETURN row[$from], x",
        "RETURN repeat(n.name, 10000), lpad(x, -5, '-')",
        "UNWIND range(1, 1000000) AS x RETURN repeat('x', 10000)",
        "RETURN rpad(x, 20, y), factorial(20), factorial(-1), 20!, 4 !",
        "RETURN cast(x AS INT64[100][100])",
        "RETURN cast([1, 2][$n] AS STRUCT(a INT64[ 3 ], b STRING[]))",
        "RETURN cast(x, 'INT64[]'), CAST(as AS INT64), cast(x, \"DECIMAL(10, 2)[5]\")",
        // Not forms that the engine has; it says so.
        "RETURN range(1, 9000000000, 1, 1), repeat('x'), cast(x)",
    ] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
    for query in [
        "RETURN size(range(1, 3000000000))",
        "RETURN range(0, 10000)",
        "UNWIND range(0, 1000000) AS x RETURN x",
        "UNWIND list_append(range(1, 900000), 1) AS x RETURN x",
        "UNWIND range(1, 900000) + [1] AS x RETURN x",
        "UNWIND range(1, 2000) AS x RETURN size(list_append(range(1, 900000), x))",
        "RETURN `range`(1, 3000000000)",
        "RETURN range(-9223372036854775808, 9223372036854775807)",
        "RETURN range(9223372036854775807, -9223372036854775808, -1)",
        "RETURN range(1, 99999999999999999999, 99999999999999999999)",
        "UNWIND range(1, 600000) AS a UNWIND range(1, 600000) AS b RETURN a + b",
        "RETURN range(1, $n)",
        "MATCH (n) RETURN range(1, n.x)",
        "RETURN range(1, 1 + 1)",
        "RETURN range(1, (2))",
        "RETURN range(1, --2)",
        "RETURN range(1, 1e9)",
        "RETURN range(1, 2.0)",
        "RETURN range()",
        "RETURN range(1, range(1, 2)[1])",
        "UNWIND range(1, 2) AS x WITH x WHERE EXISTS { MATCH (n) WHERE n.x IN range(1, x) } RETURN x",
        "RETURN list_transform([1], x -> range(1, x))",
        "RETURN range(1, 9000000000",
        "RETURN repeat('x', 10001)",
        "RETURN repeat('x', 6000), repeat('y', 6000)",
        "RETURN repeat('x', $n)",
        "RETURN lpad(x, 4000000000, '-')",
        "RETURN rpad(x, y, '-')",
        "RETURN factorial(21)",
        "RETURN factorial(n.x)",
        "RETURN cast(NULL AS INT64[3000000000])",
        "RETURN `cast`(NULL AS INT64[10000][1000])",
        "RETURN cast(NULL, 'STRUCT([0] INT64)[3000000000]')",
        "RETURN cast(NULL AS STRUCT(`[0]` INT64)[3000000000])",
        "RETURN cast(NULL AS STRUCT(/*[0]*/ a INT64)[3000000000])",
        "RETURN 21!",
        "RETURN $n!",
        "RETURN (1 + 2)!",
        "MATCH (n) WHERE n.x != 3 RETURN n",
        "RETURN cast(NULL AS STRUCT(a INT64[3000000000], as INT64))",
        "RETURN cast(NULL AS INT64[/* 1 */ 2])",
        "RETURN cast(NULL, 'INT64[3000000000]')",
        "RETURN cast(NULL, 'STRUCT(// INT64[3000000000])')",
        "RETURN cast(NULL, 'INT64\\x5b3000000000]')",
        "RETURN cast(NULL, 'INT64[0xfffffff]')",
        "RETURN cast(NULL, 'INT64[' + '3000000000]')",
        "RETURN cast(NULL, lower('INT64[3000000000]'))",
        "RETURN cast(NULL, $type)",
    ] {
        assert_eq!(kind(query), "function", "{query}");
    }
}

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
