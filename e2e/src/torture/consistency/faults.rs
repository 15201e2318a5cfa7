//! What goes wrong while clients work: one fault after the other, each healed before the next, all kinds in random order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::backends::{Backends, Blow};
use super::cast::Cast;
use super::shared::Shared;
use crate::torture::TortureError;
use crate::torture::harness::{Harness, NodeProcess};

/// Longest pause of a process, and longest rest between two faults.
const PAUSE_MS: u64 = 4_000;
const REST_MS: u64 = 2_500;

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
    /// A server or a disk fails.
    Server(Blow),
    /// All nodes and all servers are killed, and started again at once.
    PowerCut,
}

impl Fault {
    /// Without servers.
    const OF_NODES: [Self; 8] = [
        Self::KillWriter,
        Self::KillReplica,
        Self::LoseReplica,
        Self::PauseWriter,
        Self::PauseReplica,
        Self::Zombie,
        Self::Usurp,
        Self::KillAll,
    ];
    /// What nodes suffer beside the servers' faults: takeovers and builds over a real store.
    const BESIDE_SERVERS: [Self; 4] = [Self::KillWriter, Self::KillReplica, Self::Zombie, Self::PowerCut];

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
            Self::Server(blow) => blow.name(),
            Self::PowerCut => "all nodes and servers killed",
        }
    }

    /// What can happen: to nodes alone, or to the servers as well.
    fn all(backends: Option<&Backends>) -> Vec<Self> {
        match backends {
            None => Self::OF_NODES.to_vec(),
            Some(backends) => {
                let blows = backends.blows().into_iter().map(Self::Server);
                blows.chain(Self::BESIDE_SERVERS).collect()
            }
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
    ///
    /// # Errors
    /// When the graph does not become whole again; says after which fault.
    pub(super) async fn run(
        &mut self,
        cast: &mut Cast,
        backends: &mut Option<Backends>,
        harness: &Harness,
        shared: &Shared,
    ) -> Result<(), TortureError> {
        let mut coming = Vec::new();
        while !shared.is_over() {
            sleep(Duration::from_millis(self.random.random_range(200..REST_MS))).await;
            if coming.is_empty() {
                coming = Fault::all(backends.as_ref());
                coming.shuffle(&mut self.random);
            }
            let Some(fault) = coming.pop() else { break };
            let took = self.commit(fault, cast, backends, harness, shared).await;
            let took =
                took.map_err(|error| TortureError::NotReached(format!("{}: {error}", fault.name())))?;
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
        backends: &mut Option<Backends>,
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
                cast.kill_all()?;
                let healing = Instant::now();
                cast.restart_all()?;
                healing
            }
            Fault::Server(blow) => match backends {
                Some(backends) => backends.strike(blow, pause).await?,
                None => Instant::now(),
            },
            Fault::PowerCut => {
                cast.kill_all()?;
                if let Some(backends) = backends {
                    backends.kill()?;
                    backends.restart()?;
                }
                let healing = Instant::now();
                cast.restart_all()?;
                healing
            }
        };
        cast.heal(shared).await?;
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
