//! What is not what Lance holds, in whatever way, is found, named, no longer served, and built again.

use slipstream::scrub::ScrubError;

use crate::graph::{Scene, assert_equal, restarted, scrub};
use crate::support::waiting::crash_points;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_kind_of_tampering_is_found_named_and_healed_from_lance() {
    let _scenario = crash_points();
    let Scene {
        graph,
        writer,
        mut replica,
    } = Scene::new().await;
    let swapped = [
        "MATCH (a:Thing {name: 'edge'})-[x:INSIDE]->(b:Place {id: -2}) DELETE x",
        "MATCH (a:Thing {name: 'edge'}) MATCH (b:Place {id: 3}) CREATE (a)-[x:INSIDE {since: 2020, note: 'b', _rowid: 2}]->(b)",
    ];
    let cases: [(&str, &str, &[&str]); 17] = [
        (
            "a changed text",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.text = 'other'"],
        ),
        (
            "an empty text for null",
            "Thing",
            &["MATCH (x:Thing {name: 'null'}) SET x.text = ''"],
        ),
        (
            "null for an empty text",
            "Thing",
            &["MATCH (x:Thing {name: ''}) SET x.text = NULL"],
        ),
        (
            "null for an empty list",
            "Thing",
            &["MATCH (x:Thing {name: ''}) SET x.words = NULL"],
        ),
        (
            "an empty list for null",
            "Thing",
            &["MATCH (x:Thing {name: 'null'}) SET x.numbers = CAST([] AS INT64[])"],
        ),
        (
            "another order in a list",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.flags = [false, true]"],
        ),
        (
            "a flag",
            "Thing",
            &["MATCH (x:Thing {name: 'edge'}) SET x.yes = true"],
        ),
        (
            "a number off by one",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.number = 9007199254740992"],
        ),
        (
            "a ratio off by a bit",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.ratio = 0.1000000000000000194"],
        ),
        (
            "a day",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.day = date('1970-01-01')"],
        ),
        (
            "a microsecond",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.at = timestamp('1969-12-31 23:59:59.999998')"],
        ),
        (
            "a byte",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.raw = BLOB('\\\\x00\\\\x01\\\\x02\\\\xFE')"],
        ),
        (
            "another row id",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x._rowid = x._rowid + 1000000"],
        ),
        (
            "no row id",
            "Place",
            &["MATCH (x:Place {id: 3}) SET x._rowid = NULL"],
        ),
        (
            "a row too many",
            "Place",
            &["CREATE (x:Place {id: 4, _rowid: 4})"],
        ),
        (
            "a row too few",
            "NEAR",
            &["MATCH (a:Thing {name: 'full'})-[x:NEAR]->(b:Thing {name: 'null'}) DELETE x"],
        ),
        ("an edge's other end", "INSIDE", &swapped),
    ];
    for (what, table, statements) in cases {
        replica = restarted(&graph, replica, statements).await;
        let advancer = replica.advancer.clone();
        let found = scrub(&advancer).await.expect("a verdict");
        let difference = found
            .scrub
            .difference
            .clone()
            .unwrap_or_else(|| panic!("{what} was not found"));
        assert!(
            difference.contains(&format!("table {table}")),
            "{what}: {difference}"
        );
        let different: Vec<&str> = found
            .tables
            .iter()
            .filter(|table| !table.equal)
            .map(|table| table.table.as_str())
            .collect();
        assert_eq!(different, [table], "{what}");
        assert!(
            advancer.local.current().is_none(),
            "{what}: it is not served any more"
        );
        assert_eq!(advancer.local.difference(), Some(difference), "{what}");
        assert!(advancer.local.must_build(), "{what}");
        let report = advancer.progress.reports().view().scrub;
        assert!(
            !report.running && report.last.is_some_and(|last| !last.ok),
            "{what}"
        );
        assert!(
            matches!(scrub(&advancer).await, Err(ScrubError::NoGraph)),
            "{what}: there is nothing to compare until another is built"
        );
        drop(advancer);
        replica.catch_up().await;
        assert_eq!(replica.advancer.local.difference(), None, "{what}");
        assert!(!replica.advancer.local.must_build(), "{what}");
        assert_equal(what, &replica.advancer).await;
    }
    drop(writer);
}
