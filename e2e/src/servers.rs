//! A real S3 server and a real NATS server as processes on this machine, for `slipstream local --remote`.
//!
//! Owns: the two processes, their ports and directories; dropping them ends them. Does not own: what is kept in them.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_yaml::Value;

use crate::ports::{NoFreePorts, free_base_port, is_listening};
use crate::wait::{Look, TimedOut, until};

const WITHIN: Duration = Duration::from_secs(30);
/// The bucket that exists from the start.
const BUCKET: &str = "graphs";
/// Keys of a server that only this machine reaches.
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "slipstream"),
    ("AWS_SECRET_ACCESS_KEY", "slipstream-secret"),
];

/// What goes wrong with the servers.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    #[error("there is no {program} at {}; {remedy}", place.display())]
    NoProgram {
        program: &'static str,
        place: PathBuf,
        remedy: &'static str,
    },
    #[error("failed to {doing}: {source}")]
    System { doing: String, source: std::io::Error },
    #[error("{} is not a resource: {detail}", path.display())]
    Resource { path: PathBuf, detail: String },
    #[error(transparent)]
    Ports(#[from] NoFreePorts),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// The running servers.
#[derive(Debug)]
pub struct Servers {
    children: [Child; 2],
    s3_port: u16,
    nats_port: u16,
    is_left: bool,
}

impl Servers {
    /// Starts both with their data below `directory`, and waits until they take connections. With `detached`, Ctrl-C in this
    /// terminal does not reach them.
    ///
    /// # Errors
    /// When a program is missing, does not start or does not answer.
    pub async fn start(directory: &Path, detached: bool) -> Result<Self, ServersError> {
        let (versitygw, nats) = (versitygw()?, nats_server()?);
        let base = free_base_port()?;
        let (s3_port, nats_port) = (base, base + 1);
        let [buckets, streams] = ["s3", "nats"].map(|name| directory.join(name));
        for path in [&buckets.join(BUCKET), &streams] {
            std::fs::create_dir_all(path).map_err(system(format!("make {}", path.display())))?;
        }
        let mut s3 = Command::new(versitygw);
        s3.args(["--port", &format!("127.0.0.1:{s3_port}"), "posix"])
            .arg(&buckets);
        s3.env("ROOT_ACCESS_KEY", KEYS[0].1)
            .env("ROOT_SECRET_KEY", KEYS[1].1);
        let mut bus = Command::new(nats);
        bus.args(["-js", "-a", "127.0.0.1", "-p", &nats_port.to_string(), "-sd"])
            .arg(&streams);
        let mut servers = Self {
            children: [
                spawn(s3, detached, "the S3 server")?,
                spawn(bus, detached, "the NATS server")?,
            ],
            s3_port,
            nats_port,
            is_left: false,
        };
        servers.wait().await?;
        Ok(servers)
    }

    /// Environment that gives a process the keys.
    pub fn environment(&self) -> Vec<(String, String)> {
        KEYS.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// Where the S3 server answers.
    pub fn s3_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    /// The root of the graph whose resource [`Servers::name_in`] rewrote.
    pub fn root_uri(&self) -> String {
        format!("s3://{BUCKET}/demo")
    }

    /// Rewrites a resource file so that it names these servers.
    ///
    /// # Errors
    /// When the file cannot be read, is no resource or cannot be written.
    pub fn name_in(&self, resource: &Path) -> Result<(), ServersError> {
        let shown = resource.display();
        let text = std::fs::read_to_string(resource).map_err(system(format!("read {shown}")))?;
        let bad = |error: serde_yaml::Error| ServersError::Resource {
            path: resource.to_owned(),
            detail: error.to_string(),
        };
        let mut document: Value = serde_yaml::from_str(&text).map_err(bad)?;
        let nats = Value::from(format!("nats://127.0.0.1:{}", self.nats_port));
        document["spec"]["storage"]["uri"] = Value::from(self.root_uri());
        document["spec"]["storage"]["endpoint"] = Value::from(self.s3_endpoint());
        document["spec"]["events"]["nats"] =
            Value::Mapping([(Value::from("url"), nats)].into_iter().collect());
        let text = serde_yaml::to_string(&document).map_err(bad)?;
        std::fs::write(resource, text).map_err(system(format!("write {shown}")))
    }

    /// Lets them run on when this value is dropped.
    pub fn leave_running(&mut self) {
        self.is_left = true;
    }

    /// Their process ids: S3, NATS.
    pub fn pids(&self) -> [u32; 2] {
        [self.children[0].id(), self.children[1].id()]
    }

    async fn wait(&mut self) -> Result<(), ServersError> {
        let ports = [self.s3_port, self.nats_port];
        until("the S3 and NATS servers", WITHIN, async || {
            match ports.iter().find(|port| !is_listening(**port)) {
                None => Look::Found(()),
                Some(port) => Look::NotYet(format!("nobody listens on port {port}")),
            }
        })
        .await?;
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        for child in &mut self.children {
            // One that has ended already needs no signal.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(mut command: Command, detached: bool, what: &str) -> Result<Child, ServersError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if detached {
        command.process_group(0);
    }
    command.spawn().map_err(system(format!("start {what}")))
}

fn system(doing: String) -> impl FnOnce(std::io::Error) -> ServersError {
    move |source| ServersError::System { doing, source }
}

/// Built by `./justw tools`, kept outside the checkout.
fn versitygw() -> Result<PathBuf, ServersError> {
    let cache = std::env::var_os("SLIPSTREAM_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/slipstream"),
        PathBuf::from,
    );
    existing(
        "S3 server",
        cache.join("tools/bin/versitygw"),
        "build it once with ./justw tools versitygw",
    )
}

/// Debian keeps it in sbin, which not every PATH has.
fn nats_server() -> Result<PathBuf, ServersError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("nats-server"))
        .find(|program| program.is_file());
    let program = found.unwrap_or_else(|| PathBuf::from("/usr/sbin/nats-server"));
    existing("NATS server", program, "install the package nats-server")
}

fn existing(program: &'static str, place: PathBuf, remedy: &'static str) -> Result<PathBuf, ServersError> {
    if place.is_file() {
        Ok(place)
    } else {
        Err(ServersError::NoProgram {
            program,
            place,
            remedy,
        })
    }
}
