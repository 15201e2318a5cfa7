//! What is refused wherever it stands in a query, and what the refusal says.

use super::kind;
use crate::query_guard::check;
use crate::query_guard::lexer::lex;

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
