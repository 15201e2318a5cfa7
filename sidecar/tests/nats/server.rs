//! A real `nats-server` with JetStream on a port of its own, and a look into it.

#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use async_nats::jetstream::{self, consumer::Info};

use crate::support::waiting::until;

/// A server that can be killed and started again on the same port.
pub(crate) struct NatsServer {
    directory: tempfile::TempDir,
    port: u16,
    /// Further arguments.
    arguments: Vec<String>,
    process: Option<Child>,
}

impl NatsServer {
    /// One that answers.
    pub(crate) async fn start() -> Self {
        let mut server = Self::stopped(Vec::new());
        server.restart().await;
        server
    }

    /// One that is not started yet.
    pub(crate) fn stopped(arguments: Vec<String>) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free.local_addr().expect("an address").port(),
            arguments,
            process: None,
        }
    }

    /// Starts it, with what it stored before.
    pub(crate) async fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = Command::new(binary());
        command
            .args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(self.store())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(command.spawn().expect("nats-server starts"));
        let address = ("127.0.0.1", self.port);
        until("nats-server to listen", || {
            std::net::TcpStream::connect(address).is_ok()
        })
        .await;
    }

    /// Kills it; what it had stored stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
    }

    /// Forgets everything it had stored.
    pub(crate) fn forget(&self) {
        assert!(self.process.is_none(), "it runs");
        std::fs::remove_dir_all(self.store()).expect("its directory");
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The same, encrypted.
    pub(crate) fn tls_url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A connection of the test's own.
    pub(crate) async fn look(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.expect("a connection"))
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut candidates = places.map(|directory| directory.join("nats-server"));
    candidates
        .find(|candidate| Path::is_file(candidate))
        .expect("these tests need nats-server (Debian's package of that name)")
}

/// The durable `name` of `stream`; `None` where there is none.
pub(crate) async fn durable(look: &jetstream::Context, stream: &str, name: &str) -> Option<Info> {
    let stream = look.get_stream(stream).await.ok()?;
    stream.consumer_info(name).await.ok()
}

/// Waits until the durable exists and `condition` holds of it.
pub(crate) async fn durable_until(
    look: &jetstream::Context,
    name: &str,
    what: &str,
    condition: impl Fn(&Info) -> bool,
) -> Info {
    let started = std::time::Instant::now();
    loop {
        let found = durable(look, "SLIPSTREAM", name).await;
        if let Some(info) = found.as_ref().filter(|info| condition(info)) {
            return info.clone();
        }
        assert!(
            started.elapsed().as_secs() < 60,
            "waited in vain for {name} {what}: {found:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
