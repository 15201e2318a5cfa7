//! Sums stay constant for readers while transfers commit.

use std::sync::atomic::{AtomicBool, Ordering};

use kuzu::{Connection, Value};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{count, open, run};

const ROUNDS: i64 = 600;

#[test]
fn readers_see_a_constant_sum_while_transfers_commit() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    run(
        &connection,
        "CREATE NODE TABLE A (id INT64, b INT64, _rowid INT64, PRIMARY KEY (id))",
    );
    run(
        &connection,
        "CREATE REL TABLE T (FROM A TO A, id INT64, _rowid INT64)",
    );
    run(
        &connection,
        "UNWIND range(0, 9) AS i CREATE (:A {id: i, b: 1000, _rowid: i})",
    );
    run(&connection, "CHECKPOINT");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reads = 0_u64;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let connection = Connection::new(&database).unwrap();
                    run(&connection, "BEGIN TRANSACTION READ ONLY");
                    let sum = run(&connection, "MATCH (a:A) RETURN sum(a.b), count(*)");
                    if sum[0][0] != "10000" {
                        let again = run(&connection, "MATCH (a:A) RETURN a.id, a.b");
                        run(&connection, "ROLLBACK");
                        let fresh = run(&connection, "MATCH (a:A) RETURN sum(a.b), count(*)");
                        done.store(true, Ordering::Relaxed);
                        panic!("read {reads}: {sum:?}, the same transaction again {again:?}, a fresh one {fresh:?}");
                    }
                    run(&connection, "ROLLBACK");
                    reads += 1;
                }
            });
        }
        let mut random = StdRng::seed_from_u64(7);
        let mut balances = [1000_i64; 10];
        let writer = Connection::new(&database).unwrap();
        let mut set = writer
            .prepare("MATCH (x:A {id: $k}) SET x.b = $b, x._rowid = $r RETURN count(*)")
            .unwrap();
        let mut create = writer.prepare("MATCH (a:A {id: $f}) MATCH (b:A {id: $t}) CREATE (a)-[x:T {id: $i, _rowid: $i}]->(b) RETURN count(*)").unwrap();
        for round in 0..ROUNDS {
            if done.load(Ordering::Relaxed) {
                break;
            }
            run(&writer, "BEGIN TRANSACTION");
            let (from, to) = (random.random_range(0..10), random.random_range(0..9));
            let to = if to >= from { to + 1 } else { to };
            balances[from] -= 7;
            balances[to] += 7;
            for id in [from, to] {
                let parameters = vec![
                    ("k", Value::Int64(id as i64)),
                    ("b", Value::Int64(balances[id])),
                    ("r", Value::Int64(round)),
                ];
                assert_eq!(writer.execute(&mut set, parameters).unwrap().count(), 1);
            }
            let parameters = vec![
                ("f", Value::Int64(from as i64)),
                ("t", Value::Int64(to as i64)),
                ("i", Value::Int64(round)),
            ];
            assert_eq!(writer.execute(&mut create, parameters).unwrap().count(), 1);
            run(&writer, "COMMIT");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        count(&connection, "MATCH (a:A) RETURN CAST(sum(a.b) AS INT64)"),
        10000
    );
}
