//! The servers that a graph is kept in and rung by, and what goes wrong with them: an S3 server behind a link that can be
//! slow, on a disk that can be full; a NATS server; a replica whose disk can be full.
//!
//! Owns: the servers, the link, the disks. Does not own: the nodes (`cast`), when something goes wrong (`faults`).

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::server_process::ServerProcess;
use crate::servers::Servers;
use crate::torture::TortureError;
use crate::torture::harness::Harness;
use crate::torture::slow_link::SlowLink;
use crate::torture::small_disk::SmallDisk;

/// What a slow store adds to each request.
const LATENCY: Duration = Duration::from_millis(200);
/// More than a run keeps in the store, and than a node's graphs take.
const STORE_BYTES: u64 = 1 << 30;
const NODE_BYTES: u64 = 256 << 20;

/// What goes wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blow {
    KillStore,
    /// It takes connections and answers nothing.
    PauseStore,
    SlowStore,
    FillStore,
    KillBus,
    PauseBus,
    /// A replica's disk.
    FillReplica,
}

impl Blow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillStore => "S3 server killed",
            Self::PauseStore => "S3 server paused",
            Self::SlowStore => "S3 server slow, 200 ms more per request",
            Self::FillStore => "S3 server's disk full",
            Self::KillBus => "NATS server killed",
            Self::PauseBus => "NATS server paused",
            Self::FillReplica => "replica's disk full",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Backends {
    pub(super) servers: Servers,
    link: SlowLink,
    store_disk: Option<SmallDisk>,
    replica_disk: Option<SmallDisk>,
}

impl Backends {
    /// Starts the servers with their data below `directory`.
    ///
    /// # Errors
    /// When a server does not start.
    pub(super) async fn start(directory: &Path) -> Result<Self, TortureError> {
        let mut store_disk = SmallDisk::mount(&directory.join("s3"), STORE_BYTES)?;
        let servers = match Servers::start(directory, false).await {
            // It keeps what it knows of objects in extended attributes, which not every kernel's tmpfs has.
            Err(error) if store_disk.is_some() => {
                eprintln!("the S3 server's disk is not filled, as it does not start on a small one: {error}");
                store_disk = None;
                Servers::start(directory, false).await?
            }
            started => started?,
        };
        let link = SlowLink::to(servers.s3.port()).await?;
        Ok(Self {
            servers,
            link,
            store_disk,
            replica_disk: None,
        })
    }

    /// Puts what the node `name` keeps on a small disk; it must not have been started.
    ///
    /// # Errors
    /// When there is no such disk, or the node has data already.
    pub(super) fn limit_disk(&mut self, harness: &Harness, name: &str) -> Result<(), TortureError> {
        let path = harness.directory().join("disks").join(name);
        self.replica_disk = SmallDisk::mount(&path, NODE_BYTES)?;
        let Some(disk) = &self.replica_disk else {
            return Ok(());
        };
        // Beside what fills the disk, which is not the node's to remove.
        let data = std::path::absolute(disk.path().join("data"));
        let data = data.map_err(TortureError::system("find the place of a small disk"))?;
        let link = harness.data_dir(name);
        let linked = std::fs::create_dir(&data).and_then(|()| std::os::unix::fs::symlink(&data, &link));
        linked.map_err(TortureError::system(format!(
            "link {} to a small disk",
            link.display()
        )))
    }

    /// Where nodes find the store: at the other end of the link.
    pub(super) fn storage(&self) -> crds::Storage {
        crds::Storage {
            uri: self.servers.root_uri(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.link.port())),
            region: Some("us-east-1".to_owned()),
        }
    }

    /// How nodes hear of commits; they look by themselves now and then, too.
    pub(super) fn events(&self) -> crds::Events {
        crds::Events {
            nats: Some(crds::NatsConfig {
                url: self.servers.nats_url(),
                subject: "slipstream.versionmap.default.torture".to_owned(),
            }),
            poll_interval: crds::Duration::from_secs(1),
        }
    }

    /// What can go wrong here.
    pub(super) fn blows(&self) -> Vec<Blow> {
        let always = [
            Blow::KillStore,
            Blow::PauseStore,
            Blow::SlowStore,
            Blow::KillBus,
            Blow::PauseBus,
        ];
        let disks = [
            (Blow::FillStore, &self.store_disk),
            (Blow::FillReplica, &self.replica_disk),
        ];
        let disks = disks.into_iter().filter(|(_, disk)| disk.is_some());
        always.into_iter().chain(disks.map(|(blow, _)| blow)).collect()
    }

    /// Lets it go wrong for so long, and rights it; returns when it was right again.
    ///
    /// # Errors
    /// When the system refuses, or a server does not come back.
    pub(super) async fn strike(&mut self, blow: Blow, lasts: Duration) -> Result<Instant, TortureError> {
        match blow {
            Blow::KillStore => killed(&mut self.servers.s3, lasts).await?,
            Blow::KillBus => killed(&mut self.servers.nats, lasts).await?,
            Blow::PauseStore => paused(&self.servers.s3, lasts).await?,
            Blow::PauseBus => paused(&self.servers.nats, lasts).await?,
            Blow::SlowStore => {
                self.link.add_latency(LATENCY);
                // Long enough for some commits.
                sleep(lasts * 2).await;
                self.link.add_latency(Duration::ZERO);
            }
            Blow::FillStore => filled(self.store_disk.as_ref(), lasts).await?,
            Blow::FillReplica => filled(self.replica_disk.as_ref(), lasts).await?,
        }
        let right_again = Instant::now();
        self.servers.wait().await?;
        Ok(right_again)
    }

    /// Lets the disks stay mounted, for whoever looks at what is on them; says where they are.
    pub(super) fn leave_disks(&mut self) -> Vec<String> {
        let disks = [&mut self.store_disk, &mut self.replica_disk];
        let disks = disks.into_iter().flatten();
        disks
            .map(|disk| {
                disk.leave_mounted();
                disk.path().display().to_string()
            })
            .collect()
    }

    /// Kills both servers.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn kill(&mut self) -> Result<(), TortureError> {
        self.servers.s3.kill()?;
        Ok(self.servers.nats.kill()?)
    }

    /// Starts both again.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn restart(&mut self) -> Result<(), TortureError> {
        self.servers.s3.restart()?;
        Ok(self.servers.nats.restart()?)
    }
}

async fn killed(server: &mut ServerProcess, lasts: Duration) -> Result<(), TortureError> {
    server.kill()?;
    sleep(lasts).await;
    Ok(server.restart()?)
}

async fn paused(server: &ServerProcess, lasts: Duration) -> Result<(), TortureError> {
    server.signal(Signal::SIGSTOP)?;
    sleep(lasts).await;
    Ok(server.signal(Signal::SIGCONT)?)
}

async fn filled(disk: Option<&SmallDisk>, lasts: Duration) -> Result<(), TortureError> {
    match disk {
        Some(disk) => disk.keep_full(lasts).await,
        None => Ok(()),
    }
}
