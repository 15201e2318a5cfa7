//! A real S3 server and a real NATS server on this machine, for `slipstream local --remote` and for the torture.
//!
//! Owns: which programs they are, their ports, directories and keys. Does not own: the processes (`server_process`), what is
//! kept in them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_yaml::Value;

use crate::ports::{NoFreePorts, free_base_port};
use crate::server_process::ServerProcess;
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
    pub s3: ServerProcess,
    pub nats: ServerProcess,
}

impl Servers {
    /// Starts both with their data below `directory` (`s3/`, `nats/`), and waits until they take connections. With
    /// `detached`, Ctrl-C in this terminal does not reach them.
    ///
    /// # Errors
    /// When a program is missing, does not start or does not answer.
    pub async fn start(directory: &Path, detached: bool) -> Result<Self, ServersError> {
        let (versitygw, nats_server) = (versitygw()?, nats_server()?);
        let base = free_base_port()?;
        let (s3_port, nats_port) = (base, base + 1);
        let [buckets, streams] = ["s3", "nats"].map(|name| directory.join(name));
        for path in [&buckets.join(BUCKET), &streams] {
            std::fs::create_dir_all(path).map_err(system(format!("make {}", path.display())))?;
        }
        let mut s3 = server(&versitygw, detached);
        s3.args(["--port", &format!("127.0.0.1:{s3_port}"), "posix"])
            .arg(&buckets);
        s3.env("ROOT_ACCESS_KEY", KEYS[0].1)
            .env("ROOT_SECRET_KEY", KEYS[1].1);
        let mut nats = server(&nats_server, detached);
        nats.args(["-js", "-a", "127.0.0.1", "-p", &nats_port.to_string(), "-sd"])
            .arg(&streams);
        let servers = Self {
            s3: ServerProcess::start("the S3 server", s3, s3_port, detached)?,
            nats: ServerProcess::start("the NATS server", nats, nats_port, detached)?,
        };
        servers.wait().await?;
        Ok(servers)
    }

    /// Waits until both take connections.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn wait(&self) -> Result<(), ServersError> {
        until("the S3 and NATS servers", WITHIN, async || {
            match [&self.s3, &self.nats].into_iter().find(|one| !one.is_listening()) {
                None => Look::Found(()),
                Some(one) => Look::NotYet(format!("nobody listens on port {}", one.port())),
            }
        })
        .await?;
        Ok(())
    }

    /// Environment that gives a process the keys.
    pub fn environment(&self) -> Vec<(String, String)> {
        KEYS.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// Where the S3 server answers.
    pub fn s3_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3.port())
    }

    /// Where the NATS server answers.
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.nats.port())
    }

    /// The root of the graph that is kept in them.
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
        let nats = Value::from(self.nats_url());
        document["spec"]["storage"]["uri"] = Value::from(self.root_uri());
        document["spec"]["storage"]["endpoint"] = Value::from(self.s3_endpoint());
        document["spec"]["events"]["nats"] =
            Value::Mapping([(Value::from("url"), nats)].into_iter().collect());
        let text = serde_yaml::to_string(&document).map_err(bad)?;
        std::fs::write(resource, text).map_err(system(format!("write {shown}")))
    }

    /// Lets them run on when this value is dropped.
    pub fn leave_running(&mut self) {
        self.s3.leave_running();
        self.nats.leave_running();
    }

    /// Their process ids: S3, NATS.
    pub fn pids(&self) -> [u32; 2] {
        [self.s3.pid(), self.nats.pid()]
    }
}

/// Unless it is to go on alone, a server ends with this program, however that ends.
fn server(program: &Path, detached: bool) -> Command {
    if detached {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// For `map_err`: what was being done.
pub(crate) fn system(doing: String) -> impl FnOnce(std::io::Error) -> ServersError {
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
