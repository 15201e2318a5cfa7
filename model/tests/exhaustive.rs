//! Every order of steps within small bounds: no property may break, and the behaviour that each search is for must occur.

mod searches;

use std::time::{Duration, Instant};

use stateright::{Checker, Model};

use searches::{SEARCHES, Search};
use slipstream_model::{Protocol, path};

/// Far more than any of them takes; a search that does not end proves nothing.
const LIMIT: Duration = Duration::from_secs(300);

fn holds(name: &str) {
    let search: &Search = SEARCHES
        .iter()
        .find(|search| search.name == name)
        .expect("one of SEARCHES");
    let started = Instant::now();
    let checker = Protocol::new(search.bounds, search.expected)
        .checker()
        .threads(2)
        .timeout(LIMIT)
        .spawn_bfs()
        .join();
    println!(
        "{name}: {} states, {} steps, longest path {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64(),
    );
    for (property, path) in checker.discoveries() {
        let is_example = checker.discovery_classification(property).to_string() == "example";
        assert!(
            is_example,
            "{name}: \"{property}\" does not hold:\n{}",
            path::told(&path)
        );
    }
    assert!(started.elapsed() < LIMIT, "{name}: not searched to its end");
    checker.assert_properties();
}

macro_rules! searches {
    ($($test:ident)*) => {
        $(#[test] fn $test() { holds(stringify!($test)); })*
    };
}

searches! {
    two_writers_and_two_tables
    two_writers_crash_and_come_back
    two_writers_and_lost_answers
    three_writers
    two_replicas_follow
    cleaning_and_a_replica_that_slept
    snapshots_and_cleaning
    zombies_over_a_trimmed_log
    a_replica_that_slept_over_a_trimmed_log
    events_lost_and_forged
}

#[test]
fn every_search_is_a_test() {
    let source = include_str!("exhaustive.rs");
    for search in SEARCHES {
        assert!(
            source.contains(&format!("    {}\n", search.name)),
            "{} is not run",
            search.name
        );
    }
}
