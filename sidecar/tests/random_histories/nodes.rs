//! The nodes of a history: started, crashed at random points, restarted, wiped.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use slipstream::replica::AdvanceError;
use slipstream::settings::Deferral;
use slipstream::writer::TakeoverError;

use super::History;
use crate::support::cluster::{ReplicaNode, WriterNode};

/// Before and after each durable step of a takeover.
const TAKEOVER_POINTS: [&str; 14] = [
    "takeover::before_claim",
    "takeover::after_claim",
    "takeover::after_barrier",
    "takeover::between_settles",
    "takeover::after_settle",
    "takeover::after_create_tables",
    "takeover::before_schema_commit",
    "takeover::after_schema_commit",
    "takeover::before_roll_forward",
    "replica::before_graph_commit",
    "replica::after_graph_commit",
    "replica::before_build",
    "replica::before_swap",
    "takeover::after_roll_forward",
];
/// Before and after each durable step of a replica's pass.
const REPLICA_POINTS: [&str; 8] = [
    "replica::before_read",
    "replica::after_read",
    "replica::before_graph_commit",
    "replica::after_graph_commit",
    "replica::before_build",
    "replica::before_swap",
    "replica::before_checkpoint",
    "replica::after_checkpoint",
];

impl History {
    pub(crate) fn writer(&mut self) -> WriterNode {
        self.writer.take().expect("a writer runs")
    }

    /// Starts the writer on its directory, as often as it takes.
    pub(crate) async fn start_writer(&mut self) {
        loop {
            self.arm(&TAKEOVER_POINTS, 0.4);
            let before = self.graph.current_graph("writer");
            let mut settings = self.graph.settings("writer");
            settings.checkpoint_commits = self.rng.random_range(1..20);
            settings.deferral = self.deferral();
            let started = self.graph.try_start_writer(settings, &self.graph.schema).await;
            disarm(&TAKEOVER_POINTS);
            self.assert_in_place("writer", before);
            match started {
                Ok(writer) => {
                    self.writer = Some(writer);
                    return;
                }
                Err(TakeoverError::Crashed(_)) => self.crashes += 1,
                Err(TakeoverError::Local(detail)) if detail.contains("crash point") => self.crashes += 1,
                Err(error) => panic!("the writer could not take over: {error}"),
            }
        }
    }

    /// Bulk commits of any size run ahead of the graph, or none; and the graph follows at once, or when it must.
    fn deferral(&mut self) -> Deferral {
        let millis = |choices: [u64; 3], rng: &mut StdRng| {
            Duration::from_millis(*choices.choose(rng).expect("a choice"))
        };
        Deferral {
            min_rows: *[1, 1, 40, u64::MAX].choose(&mut self.rng).expect("a choice"),
            share: *[5, 1_000].choose(&mut self.rng).expect("a choice"),
            quiet: millis([0, 10, 60_000], &mut self.rng),
            at_most: millis([1, 200, 60_000], &mut self.rng),
        }
    }

    pub(crate) async fn open_replica(&mut self, name: &str) -> ReplicaNode {
        let (coalesce, checkpoint) = (self.rng.random_range(1..8), self.rng.random_range(1..20));
        self.graph.start_replica_with(name, coalesce, checkpoint).await
    }

    pub(crate) async fn restart_replica(&mut self, index: usize, wiped: bool) {
        let replica = self.replicas.remove(index);
        let name = replica.name.clone();
        replica.stop().await;
        if wiped {
            std::fs::remove_dir_all(self.graph.data_dir(&name)).expect("a directory to wipe");
        }
        let replica = self.open_replica(&name).await;
        self.replicas.insert(index, replica);
    }

    pub(crate) async fn pass(&mut self, index: usize) {
        let name = self.replicas[index].name.clone();
        let before = self.graph.current_graph(&name);
        self.arm(&REPLICA_POINTS, 0.15);
        let passed = self.replicas[index].pass().await;
        disarm(&REPLICA_POINTS);
        match passed {
            Ok(_) => {}
            Err(AdvanceError::Crashed(_)) => {
                self.crashes += 1;
                self.restart_replica(index, false).await;
            }
            Err(error) => panic!("{name} cannot follow: {error}"),
        }
        self.assert_in_place(&name, before);
    }

    /// A node that had a graph goes on with it: a rebuild would hide that it could not apply a commit.
    pub(crate) fn assert_in_place(&self, name: &str, before: Option<String>) {
        if before.is_some() {
            assert_eq!(
                self.graph.current_graph(name),
                before,
                "{name} had to rebuild its graph"
            );
        }
    }

    /// Sets one crash point, perhaps.
    pub(crate) fn arm(&mut self, points: &[&str], probability: f64) {
        if self.rng.random_bool(probability) {
            let point = points.choose(&mut self.rng).expect("a point");
            fail::cfg(*point, "1*return").expect("crash points are compiled in");
        }
    }
}

/// Whatever of these was not met is not met any more.
pub(crate) fn disarm(points: &[&str]) {
    for point in points {
        fail::remove(*point);
    }
}
