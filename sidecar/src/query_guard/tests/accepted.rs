//! Queries that pass: all that only reads, whatever its names, comments and content spell.

use crate::query_guard::check;

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
