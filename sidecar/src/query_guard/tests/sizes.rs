//! Bounds of a query's text: how deep it nests, and how much its calls may make.

use super::kind;
use crate::query_guard::{MAX_DEPTH, check};

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
