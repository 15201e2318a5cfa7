//! How each crash point is reached: who dies there, and what must happen so that the place is passed.
//!
//! Owns: the way to a point. Does not own: what is checked afterwards (`matrix`).

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::TortureError;
use super::harness::{Crash, Harness, NodeProcess, READY_WITHIN};
use super::matrix_staging::{grow_schema, leave_lease, scrubbed, snapshot_taken, tamper};
use super::running::Running;
use super::workload::Habits;
use crate::wait::{Look, until};

/// Rare steps come often: checkpoints, heartbeats, leases, bulk commits ahead of the graph.
const SETTINGS: &str = "checkpoint_commits=6,heartbeat_ms=300,lease_ttl_ms=3000,coalesce=8,deferral_min_rows=30,\
                        deferral_share=100000,deferral_quiet_ms=50,snapshot_part_bytes=65536,snapshot_look_ms=100,\
                        cleaning_min_age_ms=500,idempotency_commits=60";
/// Time for a process to come to its point.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// Who died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Writer,
    Replica(usize),
}

/// How a point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipe {
    /// A writer is killed under load, and the next one dies while it takes over.
    Takeover,
    /// As before, and the schema grew meanwhile.
    SchemaChange,
    /// The writer dies under load, at one of the first passes.
    Writing,
    /// A replica dies while it follows.
    Following,
    /// A replica without a graph dies while it builds one.
    Building,
    /// A replica dies while it leaves.
    Leaving,
    /// A replica dies while it takes or removes snapshots.
    Snapshot,
    /// A replica without a graph dies while it starts from a snapshot.
    Restore,
    /// The writer dies while it optimizes.
    Optimizing,
    /// A replica dies while its graph is compared with the tables.
    Scrubbing,
    /// The same, and its graph was changed behind its back.
    Tampered,
}

impl Recipe {
    /// The way to `point`.
    pub(super) fn of(point: &str) -> Self {
        match point {
            "takeover::after_create_tables"
            | "takeover::before_schema_commit"
            | "takeover::after_schema_commit" => Self::SchemaChange,
            "replica::before_build"
            | "replica::between_tables"
            | "replica::before_swap"
            | "replica::after_swap" => Self::Building,
            "replica::before_release" => Self::Leaving,
            _ => match point.split("::").next().unwrap_or_default() {
                "takeover" => Self::Takeover,
                "replica" => Self::Following,
                "snapshot" => Self::Snapshot,
                "restore" => Self::Restore,
                "optimizer" => Self::Optimizing,
                "scrub" if point.ends_with("after_difference") => Self::Tampered,
                "scrub" => Self::Scrubbing,
                _ => Self::Writing,
            },
        }
    }

    /// Replicas that run beside the writer.
    pub(super) fn replicas(self) -> usize {
        match self {
            // The duty falls to the one that is to die.
            Self::Snapshot | Self::Restore => 1,
            _ => 2,
        }
    }

    /// Settings and cadences under which the point is passed often.
    ///
    /// # Errors
    /// When the config cannot be written.
    pub(super) fn prepare(self, harness: &mut Harness) -> Result<(), TortureError> {
        harness.set_environment("SLIPSTREAM_TEST_SETTINGS", SETTINGS);
        harness.edit(|config| match self {
            Self::Snapshot | Self::Restore => {
                config.snapshots.enabled = true;
                config.snapshots.schedule = "0 0 1 1 *".to_owned();
                config.snapshots.every_commits = 8;
                config.snapshots.keep_last = 1;
                config.snapshots.max_age = crds::Duration::from_millis(1);
            }
            Self::Optimizing => {
                config.optimizer.interval = crds::OptimizerInterval::Every(crds::Duration::from_secs(1));
                config.optimizer.time_travel_window = crds::Duration::from_secs(1);
                config.optimizer.indices.min_unindexed_rows = 1;
                for property in config
                    .schema
                    .nodes
                    .iter_mut()
                    .flat_map(|node| &mut node.properties)
                {
                    if property.name == "owner" {
                        property.index = Some(crds::IndexKind::Scalar);
                    }
                }
            }
            _ => {}
        })
    }

    /// How clients behave meanwhile.
    pub(super) fn habits(self) -> Habits {
        let bulk = match self {
            Self::Writing | Self::Tampered => 0.3,
            _ => Habits::default().bulk,
        };
        Habits {
            bulk,
            ..Habits::default()
        }
    }

    /// What is left to do once the victim is back.
    ///
    /// # Errors
    /// When it is not done.
    pub(super) async fn afterwards(self, running: &mut Running, victim: Victim) -> Result<(), TortureError> {
        if let (Self::Tampered, Victim::Replica(index)) = (self, victim) {
            // The one that died may have told nobody what it found.
            scrubbed(&running.replicas[index].node()).await?;
            running.replicas[index].wait_ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// Brings the victim to `point`, where it kills itself.
    ///
    /// # Errors
    /// When the point is not reached.
    pub(super) async fn drive(
        self,
        running: &mut Running,
        point: &str,
        random: &mut StdRng,
    ) -> Result<Victim, TortureError> {
        match self {
            Self::Takeover | Self::SchemaChange => {
                // Killed, not stopped: stray versions and an open Kuzu transaction are left behind.
                running.writer.kill()?;
                if self == Self::SchemaChange {
                    grow_schema(&running.harness)?;
                }
                let nth = if point.contains("between") {
                    random.random_range(1..=3)
                } else {
                    1
                };
                running.writer.restart(Some(&Crash::kill(point, nth)))?;
                died(&mut running.writer, point).await?;
                Ok(Victim::Writer)
            }
            Self::Writing | Self::Optimizing => {
                running.writer.kill()?;
                let nth = random.random_range(1..=3);
                if point.ends_with("lease_trim") {
                    for number in 1..=nth {
                        leave_lease(&running.harness.store(), number)?;
                    }
                }
                running.writer.restart(Some(&Crash::kill(point, nth)))?;
                died(&mut running.writer, point).await?;
                Ok(Victim::Writer)
            }
            Self::Scrubbing | Self::Tampered => {
                let index = random.random_range(0..running.replicas.len());
                let replica = &mut running.replicas[index];
                replica.kill()?;
                if self == Self::Tampered {
                    tamper(&running.harness.data_dir(&replica.spec.name)).await?;
                }
                replica.restart(Some(&Crash::kill(point, 1)))?;
                replica.wait_ready(READY_WITHIN).await?;
                // It dies over it, so there is no answer.
                let _ = scrubbed(&replica.node()).await;
                died(replica, point).await?;
                Ok(Victim::Replica(index))
            }
            Self::Following | Self::Snapshot => {
                let index = random.random_range(0..running.replicas.len());
                let nth = random.random_range(1..=3);
                let replica = &mut running.replicas[index];
                replica.restart(Some(&Crash::kill(point, nth)))?;
                died(replica, point).await?;
                Ok(Victim::Replica(index))
            }
            Self::Building | Self::Restore => {
                if self == Self::Restore {
                    snapshot_taken(&running.harness.store()).await?;
                }
                let index = random.random_range(0..running.replicas.len());
                let replica = &mut running.replicas[index];
                replica.kill()?;
                running.harness.wipe(&replica.spec.name)?;
                let nth = if point.contains("between") {
                    random.random_range(1..=2)
                } else {
                    1
                };
                replica.restart(Some(&Crash::kill(point, nth)))?;
                died(replica, point).await?;
                Ok(Victim::Replica(index))
            }
            Self::Leaving => {
                let index = random.random_range(0..running.replicas.len());
                let replica = &mut running.replicas[index];
                replica.restart(Some(&Crash::kill(point, 1)))?;
                replica.wait_ready(READY_WITHIN).await?;
                replica.signal(nix::sys::signal::Signal::SIGTERM)?;
                died(replica, point).await?;
                Ok(Victim::Replica(index))
            }
        }
    }
}

/// Waits until `process` killed itself at `point`.
async fn died(process: &mut NodeProcess, point: &str) -> Result<(), TortureError> {
    let what = format!("{} to die at {point}", process.spec.name);
    until(&what, REACHED_WITHIN, async || match process.ended() {
        Ok(None) => Look::NotYet("it lives".to_owned()),
        Ok(Some(status)) => Look::Found(Ok(status)),
        Err(error) => Look::Found(Err(error)),
    })
    .await??;
    let status = process.ended()?;
    if process.was_killed()? && process.logged_lately(&format!("crash point {point}, ")) {
        Ok(())
    } else {
        Err(TortureError::NotReached(format!(
            "{} ended without coming to {point}: {status:?}",
            process.spec.name
        )))
    }
}
