//! kill -9 during commits and checkpoints: the database opens again and holds exactly a committed state.
//!
//! The victim is this test binary itself, started again with an environment variable that names its directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use kuzu::Connection;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{NODES, count, open, run};

const VICTIM: &str = "SLIPSTREAM_ENGINE_VICTIM";

#[test]
fn a_killed_writer_leaves_a_committed_state_behind() {
    if let Ok(directory) = std::env::var(VICTIM) {
        victim(Path::new(&directory));
    }
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "graph::contract::crash::a_killed_writer_leaves_a_committed_state_behind",
                "--nocapture",
            ])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let kill_after = random.random_range(5..60);
        let mut acknowledged = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line
                .strip_prefix("committed ")
                .and_then(|number| number.parse::<i64>().ok())
            {
                acknowledged = number;
                if number >= kill_after {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(
            acknowledged >= kill_after,
            "round {round}: the victim ended early, at {acknowledged}"
        );
        let database = open(directory.path());
        let connection = Connection::new(&database).unwrap();
        let held = count(&connection, "MATCH (w:W) RETURN w.n");
        assert!(
            held >= acknowledged,
            "round {round}: commit {acknowledged} was lost, the database holds {held}"
        );
        assert_eq!(
            count(&connection, NODES),
            held * 3,
            "round {round}: torn at {held}"
        );
    }
}

/// Commits three nodes and the number of the commit at a time, with a checkpoint now and then, until it is killed.
fn victim(directory: &Path) -> ! {
    let database = open(directory);
    let connection = Connection::new(&database).unwrap();
    run(&connection, "CREATE NODE TABLE N (id INT64, PRIMARY KEY (id))");
    run(
        &connection,
        "CREATE NODE TABLE W (id INT64, n INT64, PRIMARY KEY (id))",
    );
    run(&connection, "CREATE (:W {id: 0, n: 0})");
    let mut number = 0;
    loop {
        number += 1;
        run(&connection, "BEGIN TRANSACTION");
        for part in 0..3 {
            run(&connection, &format!("CREATE (:N {{id: {}}})", number * 3 + part));
        }
        run(&connection, &format!("MATCH (w:W {{id: 0}}) SET w.n = {number}"));
        run(&connection, "COMMIT");
        println!("committed {number}");
        if number % 7 == 0 {
            run(&connection, "CHECKPOINT");
        }
    }
}
