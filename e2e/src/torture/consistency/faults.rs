//! What goes wrong while clients work: one fault after the other, each healed before the next, all kinds in random order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::client::Shared;
use crate::client::Node;
use crate::torture::TortureError;
use crate::torture::harness::{Harness, NodeProcess, READY_WITHIN};

const REPLICAS: usize = 2;
/// Names of writers, used in turns.
const WRITERS: [&str; 2] = ["writer-a", "writer-b"];
/// Longest pause of a process, and longest rest between two faults.
const PAUSE_MS: u64 = 4_000;
const REST_MS: u64 = 2_500;
/// How long a fenced writer may take to end.
const END_WITHIN: Duration = Duration::from_secs(60);

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillWriter,
    KillReplica,
    /// Its local graph is lost as well.
    LoseReplica,
    /// SIGSTOP: to the others it looks like a node whose network is cut.
    PauseWriter,
    PauseReplica,
    /// Another writer takes over while the first is paused; then the first continues.
    Zombie,
    /// Another writer takes over while the first works.
    Usurp,
    KillAll,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::KillWriter,
        Self::KillReplica,
        Self::LoseReplica,
        Self::PauseWriter,
        Self::PauseReplica,
        Self::Zombie,
        Self::Usurp,
        Self::KillAll,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillWriter => "writer killed",
            Self::KillReplica => "replica killed",
            Self::LoseReplica => "replica killed, its disk lost",
            Self::PauseWriter => "writer paused",
            Self::PauseReplica => "replica paused",
            Self::Zombie => "writer paused, replaced, continued",
            Self::Usurp => "writer replaced while it works",
            Self::KillAll => "all processes killed",
        }
    }
}

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

/// The processes of the graph.
#[derive(Debug)]
pub(super) struct Cast {
    writer: NodeProcess,
    /// A fenced writer that still runs.
    older: Option<NodeProcess>,
    replicas: Vec<NodeProcess>,
    turn: usize,
}

impl Cast {
    /// A writer and its replicas, ready.
    pub(super) async fn start(harness: &Harness) -> Result<Self, TortureError> {
        let mut writer = harness.start_writer(WRITERS[0])?;
        writer.wait_ready(READY_WITHIN).await?;
        let mut replicas = Vec::new();
        for number in 1..=REPLICAS {
            replicas.push(harness.start_replica(&format!("replica-{number}"))?);
        }
        for replica in &mut replicas {
            replica.wait_ready(READY_WITHIN).await?;
        }
        Ok(Self {
            writer,
            older: None,
            replicas,
            turn: 0,
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
    pub(super) async fn heal(&mut self, harness: &Harness, shared: &Shared) -> Result<(), TortureError> {
        self.end_older(harness, shared).await?;
        self.writer.wait_ready(READY_WITHIN).await?;
        let head = self.writer.node().status().await?.head.seq;
        for replica in &mut self.replicas {
            replica.wait_ready(READY_WITHIN).await?;
            replica.wait_seq(head, READY_WITHIN).await?;
        }
        Ok(())
    }

    /// Starts the other writer; the one before stays as it is.
    async fn replace_writer(&mut self, harness: &Harness, shared: &Shared) -> Result<(), TortureError> {
        self.turn += 1;
        let mut fresh = harness.start_writer(WRITERS[self.turn % WRITERS.len()])?;
        fresh.wait_ready(READY_WITHIN).await?;
        self.older = Some(std::mem::replace(&mut self.writer, fresh));
        shared.set_nodes(self.nodes());
        Ok(())
    }

    /// A fenced writer must end by itself, and say so by its exit status.
    async fn end_older(&mut self, _harness: &Harness, shared: &Shared) -> Result<(), TortureError> {
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

/// Which faults happened, and how long the graph took to be whole again.
#[derive(Debug)]
pub(super) struct Faults {
    random: StdRng,
    pub(super) happened: BTreeMap<Fault, (usize, Duration)>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            happened: BTreeMap::new(),
        }
    }

    /// One fault after the other until the run is over.
    pub(super) async fn run(
        &mut self,
        cast: &mut Cast,
        harness: &Harness,
        shared: &Shared,
    ) -> Result<(), TortureError> {
        let mut coming = Vec::new();
        while !shared.is_over() {
            sleep(Duration::from_millis(self.random.random_range(200..REST_MS))).await;
            if coming.is_empty() {
                coming = Fault::ALL.to_vec();
                coming.shuffle(&mut self.random);
            }
            let Some(fault) = coming.pop() else { break };
            let took = self.commit(fault, cast, harness, shared).await?;
            let (times, longest) = self.happened.entry(fault).or_default();
            *times += 1;
            *longest = took.max(*longest);
        }
        Ok(())
    }

    /// Carries one out and heals it; returns how long everybody took to be ready after the last blow.
    async fn commit(
        &mut self,
        fault: Fault,
        cast: &mut Cast,
        harness: &Harness,
        shared: &Shared,
    ) -> Result<Duration, TortureError> {
        let pause = Duration::from_millis(self.random.random_range(100..PAUSE_MS));
        let replica = self.random.random_range(0..cast.replicas.len());
        let healing = match fault {
            Fault::KillWriter => {
                cast.writer.kill()?;
                sleep(pause / 4).await;
                let healing = Instant::now();
                cast.writer.restart(None)?;
                healing
            }
            Fault::KillReplica | Fault::LoseReplica => {
                let replica = &mut cast.replicas[replica];
                replica.kill()?;
                if fault == Fault::LoseReplica {
                    harness.wipe(&replica.spec.name)?;
                }
                sleep(pause / 4).await;
                let healing = Instant::now();
                replica.restart(None)?;
                healing
            }
            Fault::PauseWriter => paused(&cast.writer, pause).await?,
            Fault::PauseReplica => paused(&cast.replicas[replica], pause).await?,
            Fault::Zombie => {
                cast.writer.signal(Signal::SIGSTOP)?;
                sleep(pause / 4).await;
                cast.replace_writer(harness, shared).await?;
                sleep(pause / 2).await;
                let healing = Instant::now();
                if let Some(older) = &cast.older {
                    older.signal(Signal::SIGCONT)?;
                }
                healing
            }
            Fault::Usurp => {
                cast.replace_writer(harness, shared).await?;
                Instant::now()
            }
            Fault::KillAll => {
                cast.writer.kill()?;
                for replica in &mut cast.replicas {
                    replica.kill()?;
                }
                let healing = Instant::now();
                for replica in &mut cast.replicas {
                    replica.restart(None)?;
                }
                cast.writer.restart(None)?;
                healing
            }
        };
        cast.heal(harness, shared).await?;
        Ok(healing.elapsed())
    }
}

async fn paused(process: &NodeProcess, pause: Duration) -> Result<Instant, TortureError> {
    process.signal(Signal::SIGSTOP)?;
    sleep(pause).await;
    let healing = Instant::now();
    process.signal(Signal::SIGCONT)?;
    Ok(healing)
}
