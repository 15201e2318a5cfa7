//! Transactions, deletes, counts and readers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kuzu::{Connection, Value};

use super::{NODES, RELS, chain, count, fails, open, run};

#[test]
fn a_rolled_back_transaction_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 100);
    for round in 0..20 {
        run(&connection, "BEGIN TRANSACTION");
        run(
            &connection,
            &format!("CREATE (:N {{id: {}, v: 1}})", 1000 + round),
        );
        run(&connection, "MATCH (n:N {id: 5}) SET n.v = 7");
        run(&connection, "MATCH (:N {id: 3})-[r:R]->() DELETE r");
        run(&connection, "ROLLBACK");
        assert_eq!(count(&connection, NODES), 100, "round {round}");
        assert_eq!(count(&connection, RELS), 99, "round {round}");
    }
    drop(connection);
    drop(database);
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    assert_eq!((count(&connection, NODES), count(&connection, RELS)), (100, 99));
    assert_eq!(
        count(&connection, "MATCH (n:N) WHERE n.v <> 0 RETURN count(*)"),
        0
    );
}

#[test]
fn a_plain_delete_of_a_node_refuses_while_an_edge_remains() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 10);
    run(&connection, "BEGIN TRANSACTION");
    let error = fails(&connection, "MATCH (n:N {id: 5}) DELETE n");
    assert!(error.contains("has connected edges"), "{error}");
    // The error has ended the transaction.
    assert!(connection.query("COMMIT").is_err());
    assert_eq!((count(&connection, NODES), count(&connection, RELS)), (10, 9));
    run(&connection, "MATCH (:N {id: 5})-[r:R]->(:N) DELETE r");
    run(&connection, "MATCH (:N)-[r:R]->(:N {id: 5}) DELETE r");
    run(&connection, "MATCH (n:N {id: 5}) DELETE n");
    assert_eq!((count(&connection, NODES), count(&connection, RELS)), (9, 7));
}

#[test]
fn every_changing_statement_tells_how_many_rows_it_changed() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 10);
    for (text, expected) in [
        ("MATCH (x:N {id: 3}) SET x.v = 1 RETURN count(*)", 1),
        ("MATCH (x:N {id: 99}) SET x.v = 1 RETURN count(*)", 0),
        ("CREATE (x:N {id: 50, v: 0}) RETURN count(*)", 1),
        (
            "MATCH (a:N {id: 50}) MATCH (b:N {id: 3}) CREATE (a)-[x:R {w: 9}]->(b) RETURN count(*)",
            1,
        ),
        (
            "MATCH (a:N {id: 50}) MATCH (b:N {id: 98}) CREATE (a)-[x:R {w: 9}]->(b) RETURN count(*)",
            0,
        ),
        (
            "MATCH (a:N {id: 50})-[x:R]->(b:N {id: 3}) SET x.w = 10 RETURN count(*)",
            1,
        ),
        (
            "MATCH (a:N {id: 50})-[x:R]->(b:N {id: 3}) DELETE x RETURN count(*)",
            1,
        ),
        ("MATCH (x:N {id: 50}) DELETE x RETURN count(*)", 1),
        ("MATCH (x:N {id: 50}) DELETE x RETURN count(*)", 0),
    ] {
        assert_eq!(count(&connection, text), expected, "{text}");
    }
}

#[test]
fn a_second_write_transaction_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let (first, second) = (
        Connection::new(&database).unwrap(),
        Connection::new(&database).unwrap(),
    );
    chain(&first, 3);
    run(&first, "BEGIN TRANSACTION");
    run(&first, "CREATE (:N {id: 10, v: 0})");
    let started = Instant::now();
    fails(&second, "CREATE (:N {id: 11, v: 0})");
    assert!(started.elapsed() < Duration::from_secs(2));
    run(&first, "COMMIT");
    assert_eq!(count(&second, NODES), 4);
}

#[test]
fn readers_keep_their_snapshot_and_hold_up_neither_commit_nor_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let (writer, reader) = (
        Connection::new(&database).unwrap(),
        Connection::new(&database).unwrap(),
    );
    chain(&writer, 10);
    run(&reader, "BEGIN TRANSACTION READ ONLY");
    assert_eq!(count(&reader, NODES), 10);
    let started = Instant::now();
    run(&writer, "BEGIN TRANSACTION");
    run(&writer, "CREATE (:N {id: 20, v: 0})");
    run(&writer, "COMMIT");
    assert_eq!(count(&reader, NODES), 10, "the reader's snapshot moved");
    run(&writer, "CHECKPOINT");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "held up for {:?}",
        started.elapsed()
    );
    assert_eq!(
        count(&reader, NODES),
        10,
        "the reader's snapshot moved at the checkpoint"
    );
    run(&reader, "COMMIT");
    assert_eq!(count(&reader, NODES), 11);
}

#[test]
fn no_reader_ever_sees_half_a_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    chain(&Connection::new(&database).unwrap(), 50);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let connection = Connection::new(&database).unwrap();
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let row = connection
                        .query("MATCH (n:N) RETURN min(n.v), max(n.v)")
                        .unwrap()
                        .next()
                        .unwrap();
                    assert_eq!(row[0], row[1], "torn read");
                    reads += 1;
                }
            });
        }
        let connection = Connection::new(&database).unwrap();
        for round in 1..=60 {
            run(&connection, "BEGIN TRANSACTION");
            run(
                &connection,
                &format!("MATCH (n:N) WHERE n.id < 25 SET n.v = {round}"),
            );
            run(
                &connection,
                &format!("MATCH (n:N) WHERE n.id >= 25 SET n.v = {round}"),
            );
            run(&connection, "COMMIT");
            if round % 10 == 0 {
                run(&connection, "CHECKPOINT");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_read_only_transaction_refuses_writes_and_is_no_sandbox() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 3);
    run(&connection, "BEGIN TRANSACTION READ ONLY");
    assert!(fails(&connection, "CREATE (:N {id: 9, v: 0})").contains("read-only"));
    let _ = connection.query("ROLLBACK");
    // Why query_guard exists: this reads a file although nothing may be written.
    let file = directory.path().join("secret.csv");
    std::fs::write(&file, "a\nb\n").unwrap();
    run(&connection, "BEGIN TRANSACTION READ ONLY");
    let text = format!("LOAD FROM '{}' (header=false) RETURN *", file.display());
    assert_eq!(run(&connection, &text).len(), 2);
    run(&connection, "COMMIT");
}

#[test]
fn several_statements_are_refused_by_prepare() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 3);
    assert!(connection.prepare("RETURN 1; CREATE (:N {id: 9, v: 0})").is_err());
    assert!(connection.prepare("MATCH (n:N) RETURN n").unwrap().is_read_only());
    assert!(
        !connection
            .prepare("CREATE (:N {id: 9, v: 0})")
            .unwrap()
            .is_read_only()
    );
}

#[test]
fn a_query_beyond_its_timeout_is_interrupted_and_the_database_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 2000);
    connection.set_query_timeout(50);
    let error = fails(
        &connection,
        "MATCH (a:N), (b:N), (c:N) WHERE a.v + b.v + c.v < 0 RETURN count(*)",
    );
    assert!(error.contains("Interrupted"), "{error}");
    connection.set_query_timeout(60_000);
    assert_eq!(count(&connection, NODES), 2000);
}

#[test]
fn a_prepared_statement_takes_nulls_and_other_types_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    chain(&connection, 3);
    let mut statement = connection
        .prepare("MATCH (n:N {id: $id}) SET n.v = $v RETURN n.v")
        .unwrap();
    for (id, value) in [(0, Some(1)), (1, None), (2, Some(3)), (0, None)] {
        let value = value.map_or(Value::Null(kuzu::LogicalType::Int64), Value::Int64);
        let parameters = vec![
            ("id", Value::Int64(id)),
            ("v", value.clone()),
            ("unused", Value::Bool(true)),
        ];
        let rows: Vec<Vec<Value>> = connection.execute(&mut statement, parameters).unwrap().collect();
        assert_eq!(rows, vec![vec![value]], "id {id}");
    }
}
