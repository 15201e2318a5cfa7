//! A real S3 server process for one test: versitygw on a directory, on a free port of 127.0.0.1.
//!
//! Owns: the process, its directory and its port. Dropping it ends the process and removes the directory. Unit tests of the
//! store, and the end-to-end tests, use this same file.

#![allow(dead_code, reason = "every test uses another part")]
#![allow(clippy::unwrap_used, reason = "what fails fails the test")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Keys that the server accepts.
pub(crate) const ACCESS_KEY: &str = "slipstream-test";
pub(crate) const SECRET_KEY: &str = "slipstream-test-secret";

const READY_WITHIN: Duration = Duration::from_secs(30);
/// Somebody else may take a free port before the server does.
const PORTS_TRIED: usize = 5;

/// A running server.
#[derive(Debug)]
pub(crate) struct Versitygw {
    program: PathBuf,
    directory: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Versitygw {
    /// Starts a server with these buckets, empty, and waits until it answers.
    pub(crate) fn start(buckets: &[&str]) -> Self {
        let program = program();
        let mut directory = tempfile::Builder::new()
            .prefix("slipstream-s3-")
            .tempdir()
            .unwrap();
        for bucket in buckets {
            std::fs::create_dir(directory.path().join(bucket)).unwrap();
        }
        for _ in 0..PORTS_TRIED {
            let address = free_address();
            let child = spawn(&program, &directory, address);
            let mut server = Self {
                program: program.clone(),
                directory,
                address,
                child,
            };
            if server.answers() {
                return server;
            }
            // What implements Drop cannot be taken apart.
            directory = std::mem::replace(&mut server.directory, TempDir::new().unwrap());
        }
        panic!("versitygw did not start on any of {PORTS_TRIED} free ports");
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the server keeps a bucket.
    pub(crate) fn bucket_dir(&self, bucket: &str) -> PathBuf {
        self.directory.path().join(bucket)
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Versitygw::kill`], with the same address and content.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.program, &self.directory, self.address);
        assert!(
            self.answers(),
            "versitygw ended instead of starting again on {}",
            self.address
        );
    }

    /// SIGSTOP: connections are accepted by the system, and nothing answers. Returns once every thread stands still.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let deadline = Instant::now() + READY_WITHIN;
        while !self.is_stopped() {
            assert!(Instant::now() < deadline, "versitygw does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The state of a thread follows its name, which is in parentheses.
    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits until it accepts connections; false when it ends before.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            assert!(
                Instant::now() < deadline,
                "versitygw does not answer on {}",
                self.address
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Versitygw {
    fn drop(&mut self) {
        // SIGKILL also ends a stopped process; one that has ended already needs none.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let cache = match std::env::var_os("SLIPSTREAM_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/slipstream"),
    };
    let program = cache.join("tools/bin/versitygw");
    assert!(
        program.exists(),
        "the S3 server for tests is not at {}; build it once with ./justw tools versitygw",
        program.display()
    );
    program
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn spawn(program: &PathBuf, directory: &TempDir, address: SocketAddr) -> Child {
    Command::new(program)
        .args(["--port", &address.to_string(), "posix"])
        .arg(directory.path())
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
