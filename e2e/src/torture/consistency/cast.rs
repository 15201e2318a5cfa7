//! The processes of the graph: a writer, perhaps an older one that is fenced, replicas; and where clients find them.
//!
//! A node that ends by itself is a failure, unless it is `supervised`: then it is started again, as a kubelet would, and
//! counted. Owns: the processes and their way back. Does not own: what is done to them (`faults`).

use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::time::sleep;

use super::shared::Shared;
use crate::client::Node;
use crate::torture::TortureError;
use crate::torture::harness::{Harness, NodeProcess, READY_WITHIN};
use crate::wait::{Look, until};

/// The replicas' names.
pub(super) const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];
/// Names of writers, used in turns.
const WRITERS: [&str; 2] = ["writer-a", "writer-b"];
/// How long a fenced writer may take to end.
const END_WITHIN: Duration = Duration::from_secs(60);
/// From the end of a supervised process to its next start.
const START_AGAIN: Duration = Duration::from_millis(500);

/// Where clients find the graph.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    /// The newest last.
    writers: Vec<Node>,
    replicas: Vec<Node>,
}

impl Nodes {
    /// Everybody who may answer a read.
    pub(super) fn all(&self) -> Vec<Node> {
        self.writers.iter().chain(&self.replicas).cloned().collect()
    }

    pub(super) fn any(&self, random: &mut StdRng) -> Node {
        let all = self.all();
        all.choose(random).cloned().unwrap_or_else(|| self.writer())
    }

    /// The newest writer.
    pub(super) fn writer(&self) -> Node {
        self.writers[self.writers.len() - 1].clone()
    }

    /// The newest writer, or now and then one that may be fenced.
    pub(super) fn any_writer(&self, random: &mut StdRng) -> Node {
        match random.random_bool(0.2) {
            true => self
                .writers
                .choose(random)
                .cloned()
                .unwrap_or_else(|| self.writer()),
            false => self.writer(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) writer: NodeProcess,
    /// A fenced writer that still runs.
    pub(super) older: Option<NodeProcess>,
    pub(super) replicas: Vec<NodeProcess>,
    turn: usize,
    is_supervised: bool,
    /// How often a writer and how often a replica ended by itself.
    pub(super) ended: [usize; 2],
}

impl Cast {
    /// A writer and its replicas, ready.
    pub(super) async fn start(harness: &Harness, is_supervised: bool) -> Result<Self, TortureError> {
        let mut writer = harness.start_writer(WRITERS[0])?;
        writer.wait_ready(READY_WITHIN).await?;
        let mut replicas = Vec::new();
        for name in REPLICAS {
            replicas.push(harness.start_replica(name)?);
        }
        for replica in &mut replicas {
            replica.wait_ready(READY_WITHIN).await?;
        }
        Ok(Self {
            writer,
            older: None,
            replicas,
            turn: 0,
            is_supervised,
            ended: [0; 2],
        })
    }

    pub(super) fn nodes(&self) -> Nodes {
        let writers = self.older.iter().chain([&self.writer]);
        Nodes {
            writers: writers.map(NodeProcess::node).collect(),
            replicas: self.replicas.iter().map(NodeProcess::node).collect(),
        }
    }

    /// Waits until everybody is ready and holds the newest commit.
    pub(super) async fn heal(&mut self, shared: &Shared) -> Result<(), TortureError> {
        self.end_older(shared).await?;
        let [writers_ended, replicas_ended] = &mut self.ended;
        come_back(&mut self.writer, self.is_supervised, 0, writers_ended).await?;
        let writer = self.writer.node();
        let head = until(
            "the writer to tell its head",
            READY_WITHIN,
            async || match writer.status().await {
                Ok(status) => Look::Found(status.head.seq),
                Err(error) => Look::NotYet(error.to_string()),
            },
        )
        .await?;
        for replica in &mut self.replicas {
            come_back(replica, self.is_supervised, head, replicas_ended).await?;
        }
        Ok(())
    }

    /// Starts the other writer; the one before stays as it is.
    pub(super) async fn replace_writer(
        &mut self,
        harness: &Harness,
        shared: &Shared,
    ) -> Result<(), TortureError> {
        self.turn += 1;
        let mut fresh = harness.start_writer(WRITERS[self.turn % WRITERS.len()])?;
        fresh.wait_ready(READY_WITHIN).await?;
        self.older = Some(std::mem::replace(&mut self.writer, fresh));
        shared.set_nodes(self.nodes());
        Ok(())
    }

    /// SIGKILL for all of them.
    pub(super) fn kill_all(&mut self) -> Result<(), TortureError> {
        self.writer.kill()?;
        self.replicas.iter_mut().try_for_each(NodeProcess::kill)
    }

    /// Starts all of them again.
    pub(super) fn restart_all(&mut self) -> Result<(), TortureError> {
        for replica in &mut self.replicas {
            replica.restart(None)?;
        }
        self.writer.restart(None)
    }

    /// A fenced writer must end by itself, and say so by its exit status.
    async fn end_older(&mut self, shared: &Shared) -> Result<(), TortureError> {
        let Some(mut older) = self.older.take() else {
            return Ok(());
        };
        let status = older.wait_ended(END_WITHIN).await?;
        shared.set_nodes(self.nodes());
        match status.success() {
            true => Err(TortureError::NotReached(format!(
                "{}, fenced, ended as if all were well",
                older.spec.name
            ))),
            false => Ok(()),
        }
    }
}

/// Waits until a node is ready and holds commit `seq`; if it is supervised and ends, it is started again, and `ended` counts.
async fn come_back(
    node: &mut NodeProcess,
    is_supervised: bool,
    seq: u64,
    ended: &mut usize,
) -> Result<(), TortureError> {
    let began = Instant::now();
    loop {
        let left = READY_WITHIN.saturating_sub(began.elapsed());
        let back = match node.wait_ready(left).await {
            Ok(()) => node.wait_seq(seq, left).await,
            Err(error) => Err(error),
        };
        match back {
            Err(TortureError::Ended { .. }) if is_supervised && !left.is_zero() => {
                *ended += 1;
                sleep(START_AGAIN).await;
                node.restart(None)?;
            }
            other => return other,
        }
    }
}
