//! A `slipstream local` process: found, started, killed, stopped, and its logs.
//!
//! Owns: the supervisor's process. Its children are the supervisor's own; what is told about them comes from `/v1/status`.
//! Dropping a running one stops it, so a failed test leaves nothing behind.

use std::fs::{File, OpenOptions};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{ClientError, Node, NodeStatus};
use crate::wait::{Look, TimedOut, until};

/// How long a dropped process may take to stop before it is killed.
const DROP_WITHIN: Duration = Duration::from_secs(10);

/// What goes wrong around processes.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("there is no `slipstream` at {}; build the whole workspace first (./justw build)", .0.display())]
    NoBinary(PathBuf),
    #[error("failed to {doing}")]
    System { doing: String, source: std::io::Error },
    #[error("`slipstream local` ended by itself: {0}")]
    Ended(ExitStatus),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// Where a graph runs.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    pub binary: PathBuf,
    /// The resource file that is followed.
    pub graph_file: PathBuf,
    /// Everything the graph keeps.
    pub data_dir: PathBuf,
    /// Where the supervisor's own output goes; appended to.
    pub log_file: PathBuf,
    /// The writer's; replica *n* listens on this plus *n*.
    pub base_port: u16,
    /// Not reached by Ctrl-C in this terminal: it is to stay.
    pub detached: bool,
    /// The resource's own storage and event bus, with this environment; none for a directory on this machine.
    pub remote: Option<Vec<(String, String)>>,
}

/// A running supervisor.
#[derive(Debug)]
pub struct LocalProcess {
    pub settings: LocalSettings,
    child: Child,
    is_left: bool,
}

impl LocalProcess {
    /// Starts it; nothing is ready yet.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(settings: LocalSettings) -> Result<Self, ProcessError> {
        let failed = |doing: String| move |source| ProcessError::System { doing, source };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&settings.log_file);
        let log = log.map_err(failed(format!("open {}", settings.log_file.display())))?;
        let errors: File = log.try_clone().map_err(failed("share the log file".to_owned()))?;
        let mut command = Command::new(&settings.binary);
        command.arg("local").arg("-f").arg(&settings.graph_file);
        command.arg("--data-dir").arg(&settings.data_dir);
        command.args(["--port", &settings.base_port.to_string(), "--no-table"]);
        if let Some(environment) = &settings.remote {
            command.arg("--remote").envs(environment.iter().cloned());
        }
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // Logs are read as plain text.
        command.env("NO_COLOR", "1");
        if settings.detached {
            command.process_group(0);
        }
        let child = command
            .spawn()
            .map_err(failed(format!("start {}", settings.binary.display())))?;
        Ok(Self {
            settings,
            child,
            is_left: false,
        })
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The writer, whether it runs or not.
    pub fn writer(&self) -> Node {
        Node::new("writer", self.settings.base_port)
    }

    /// Replica `number`, from 1.
    pub fn replica(&self, number: u16) -> Node {
        Node::new(&format!("replica-{number}"), self.settings.base_port + number)
    }

    /// Replicas 1 to `count`.
    pub fn replicas(&self, count: u16) -> Vec<Node> {
        (1..=count).map(|number| self.replica(number)).collect()
    }

    /// Waits until the writer and `replicas` replicas are ready and know of the same newest commit, and hold it.
    ///
    /// # Errors
    /// When the supervisor ends before, or the time is over.
    pub async fn wait_ready(&mut self, replicas: u16, within: Duration) -> Result<(), ProcessError> {
        let mut nodes = vec![self.writer()];
        nodes.extend(self.replicas(replicas));
        until("writer and replicas to be ready", within, async || {
            if let Err(error) = self.ensure_running() {
                return Look::Found(Err(error));
            }
            let mut seqs = Vec::new();
            for node in &nodes {
                match ready_at(node.status().await) {
                    Ok(seq) => seqs.push(seq),
                    Err(seen) => return Look::NotYet(format!("{}: {seen}", node.name)),
                }
            }
            if seqs.windows(2).all(|pair| pair[0] == pair[1]) {
                Look::Found(Ok(()))
            } else {
                Look::NotYet(format!("nodes at commits {seqs:?}"))
            }
        })
        .await?
    }

    /// An error if the supervisor has ended.
    ///
    /// # Errors
    /// With its exit status.
    pub fn ensure_running(&mut self) -> Result<(), ProcessError> {
        match self.ended()? {
            Some(status) => Err(ProcessError::Ended(status)),
            None => Ok(()),
        }
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// When it does not end `within` that time.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::SIGTERM)?;
        self.wait_end(within).await
    }

    /// SIGKILL to the supervisor alone, then waits for its end.
    ///
    /// # Errors
    /// When it does not end, which no process can refuse.
    pub async fn sigkill(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::SIGKILL)?;
        let status = self.wait_end(Duration::from_secs(10)).await?;
        debug_assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
        Ok(())
    }

    /// Lets it run on when this value is dropped.
    pub fn leave_running(&mut self) {
        self.is_left = true;
    }

    /// The last `lines` lines of every log: the supervisor's output and the `*.log` files below the data directory.
    pub fn logs_tail(&self, lines: usize) -> String {
        let mut files = vec![self.settings.log_file.clone()];
        collect_logs(&self.settings.data_dir, 3, &mut files);
        files.iter().map(|file| tail(file, lines)).collect()
    }

    async fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        until("`slipstream local` to end", within, async || match self.ended() {
            Ok(Some(status)) => Look::Found(Ok(status)),
            Ok(None) => Look::NotYet("still running".to_owned()),
            Err(error) => Look::Found(Err(error)),
        })
        .await?
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| ProcessError::System {
            doing: "look after the process".to_owned(),
            source,
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        send_signal(self.pid(), signal)
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        if self.is_left || !matches!(self.ended(), Ok(None)) {
            return;
        }
        // Nobody is left to tell when this fails.
        let _ = self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + DROP_WITHIN;
        while matches!(self.ended(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `slipstream` that was built together with the running program: beside a binary, or one directory above a test.
///
/// # Errors
/// When it is not there.
pub fn find_binary() -> Result<PathBuf, ProcessError> {
    let program = std::env::current_exe().map_err(|source| ProcessError::System {
        doing: "find this program's own path".to_owned(),
        source,
    })?;
    let mut directory = program.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let binary = directory.join("slipstream");
    if binary.is_file() {
        Ok(binary)
    } else {
        Err(ProcessError::NoBinary(binary))
    }
}

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process, or it is not ours.
pub fn send_signal(pid: u32, signal: Signal) -> Result<(), ProcessError> {
    kill(Pid::from_raw(pid.cast_signed()), signal).map_err(|errno| ProcessError::System {
        doing: format!("send {signal} to process {pid}"),
        source: errno.into(),
    })
}

/// Whether there is a process with this id.
pub fn is_alive(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(nix::errno::Errno::ESRCH)
}

/// The commit that a ready node holds, being the newest it knows of; otherwise what is missing.
fn ready_at(status: Result<NodeStatus, ClientError>) -> Result<u64, String> {
    let status = status.map_err(|error| error.to_string())?;
    match status.seq {
        Some(seq) if status.ready && seq == status.head.seq => Ok(seq),
        seq => Err(format!(
            "ready: {}, at commit {seq:?} of {}",
            status.ready, status.head.seq
        )),
    }
}

fn collect_logs(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && depth > 0 {
            collect_logs(&path, depth - 1, files);
        } else if path.extension().is_some_and(|extension| extension == "log") && !files.contains(&path) {
            files.push(path);
        }
    }
}

fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("(failed to read it: {error})"));
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    format!("--- end of {}\n{}\n", file.display(), last.join("\n"))
}
