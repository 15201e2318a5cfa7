//! One `slipstream writer` or `slipstream replica`, started directly: killed, stopped, continued, started again.
//!
//! Owns: the process, its log file. Dropping it kills it. Does not own: what it works on (`harness`).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::TortureError;
use crate::client::{Node, NodeStatus};
use crate::local_process::send_signal;
use crate::wait::{Look, until};

/// What a process does in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Writer,
    Replica,
}

/// Where a process meets its end, or stops: `SLIPSTREAM_CRASH` of the sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// Name of a fail point.
    pub point: String,
    /// At which pass, from 1.
    pub nth: u64,
    /// SIGSTOP instead of SIGKILL.
    pub stops: bool,
}

impl Crash {
    /// SIGKILL at the `nth` pass of `point`.
    pub fn kill(point: &str, nth: u64) -> Self {
        Self {
            point: point.to_owned(),
            nth,
            stops: false,
        }
    }

    /// SIGSTOP at the `nth` pass of `point`.
    pub fn stop(point: &str, nth: u64) -> Self {
        Self {
            stops: true,
            ..Self::kill(point, nth)
        }
    }

    fn order(&self) -> String {
        let blow = if self.stops { "stop" } else { "kill" };
        format!("{}*{}={blow}", self.point, self.nth)
    }
}

/// How one node is started.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    pub role: Role,
    /// Holder or replica id; its directory and log are named so, too.
    pub name: String,
    pub binary: PathBuf,
    pub config: PathBuf,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    pub port: u16,
    pub environment: Vec<(String, String)>,
}

/// A node's process, running or not.
#[derive(Debug)]
pub struct NodeProcess {
    pub spec: NodeSpec,
    child: Option<Child>,
    ended: Option<ExitStatus>,
    /// Bytes in its log when it was started last.
    logged_before: usize,
}

impl NodeProcess {
    /// Starts it; nothing is ready yet.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(spec: NodeSpec, crash: Option<&Crash>) -> Result<Self, TortureError> {
        let mut process = Self {
            spec,
            child: None,
            ended: None,
            logged_before: 0,
        };
        process.restart(crash)?;
        Ok(process)
    }

    /// Starts it again on its data directory and port; one that runs is killed before.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn restart(&mut self, crash: Option<&Crash>) -> Result<(), TortureError> {
        self.kill()?;
        let spec = &self.spec;
        let log = OpenOptions::new().create(true).append(true).open(&spec.log);
        let log = log.map_err(TortureError::system(format!("open {}", spec.log.display())))?;
        self.logged_before = log.metadata().map_or(0, |file| file.len() as usize);
        let errors: File = log
            .try_clone()
            .map_err(TortureError::system("share the log file"))?;
        let (role, name) = match spec.role {
            Role::Writer => ("writer", "--holder"),
            Role::Replica => ("replica", "--id"),
        };
        let arguments: [OsString; 9] = [
            role.into(),
            "--config".into(),
            spec.config.clone().into(),
            "--data-dir".into(),
            spec.data_dir.clone().into(),
            "--listen".into(),
            format!("127.0.0.1:{}", spec.port).into(),
            name.into(),
            spec.name.clone().into(),
        ];
        let mut command = Command::new(&spec.binary);
        // It ends when this program does, however that ends: its standard input is closed then.
        command.args(arguments).arg("--exit-with-parent");
        command.stdin(Stdio::piped()).stdout(log).stderr(errors);
        command
            .env("NO_COLOR", "1")
            .envs(spec.environment.iter().cloned());
        if let Some(crash) = crash {
            command.env("SLIPSTREAM_CRASH", crash.order());
        }
        let child = command
            .spawn()
            .map_err(TortureError::system(format!("start {}", spec.binary.display())))?;
        self.child = Some(child);
        self.ended = None;
        Ok(())
    }

    /// Its HTTP API.
    pub fn node(&self) -> Node {
        Node::new(&self.spec.name, self.spec.port)
    }

    /// The process id of what runs or ran last.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, unless it runs (or is stopped).
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, TortureError> {
        if self.ended.is_none()
            && let Some(child) = &mut self.child
        {
            let found = child.try_wait();
            self.ended = found.map_err(TortureError::system(format!("look after {}", self.spec.name)))?;
        }
        Ok(self.ended)
    }

    /// Whether it was ended by SIGKILL, its own or ours.
    ///
    /// # Errors
    /// As [`NodeProcess::ended`].
    pub fn was_killed(&mut self) -> Result<bool, TortureError> {
        let signal = self.ended()?.and_then(|status| status.signal());
        Ok(signal == Some(Signal::SIGKILL as i32))
    }

    /// Whether it is stopped by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before the state is in brackets and may hold anything.
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), TortureError> {
        let pid = self.pid().unwrap_or_default();
        Ok(send_signal(pid, signal)?)
    }

    /// SIGKILL, and waits for the end; nothing where it has ended.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<(), TortureError> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        if let Some(child) = &mut self.child {
            let failed = || TortureError::system(format!("kill {}", self.spec.name));
            child.kill().map_err(failed())?;
            self.ended = Some(child.wait().map_err(failed())?);
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, TortureError> {
        self.signal(Signal::SIGTERM)?;
        self.wait_ended(within).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait_ended(&mut self, within: Duration) -> Result<ExitStatus, TortureError> {
        let what = format!("{} to end", self.spec.name);
        until(&what, within, async || match self.ended() {
            Ok(Some(status)) => Look::Found(Ok(status)),
            Ok(None) => Look::NotYet("it runs".to_owned()),
            Err(error) => Look::Found(Err(error)),
        })
        .await?
    }

    /// Waits until its status is as wanted; `wanted` gives what is missing.
    ///
    /// # Errors
    /// When it ends, or it takes too long.
    pub async fn wait_status(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&NodeStatus) -> Result<(), String>,
    ) -> Result<NodeStatus, TortureError> {
        let node = self.node();
        let what = format!("{} {what}", self.spec.name);
        until(&what, within, async || {
            match self.ended() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    let name = self.spec.name.clone();
                    return Look::Found(Err(TortureError::Ended { name, status }));
                }
                Err(error) => return Look::Found(Err(error)),
            }
            match node.status().await {
                Ok(status) => match wanted(&status) {
                    Ok(()) => Look::Found(Ok(status)),
                    Err(missing) => Look::NotYet(missing),
                },
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await?
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// As [`NodeProcess::wait_status`].
    pub async fn wait_ready(&mut self, within: Duration) -> Result<(), TortureError> {
        let ready = |status: &NodeStatus| match status.ready {
            true => Ok(()),
            false => Err(format!(
                "state {:?}: {:?}",
                status.other.get("state"),
                status.other.get("state_detail")
            )),
        };
        self.wait_status("to be ready", within, ready).await.map(drop)
    }

    /// Waits until it holds commit `seq`, or a later one.
    ///
    /// # Errors
    /// As [`NodeProcess::wait_status`].
    pub async fn wait_seq(&mut self, seq: u64, within: Duration) -> Result<(), TortureError> {
        let holds = |status: &NodeStatus| match status.seq {
            Some(found) if found >= seq => Ok(()),
            found => Err(format!(
                "at commit {found:?}, {:?}",
                status.other.get("state_detail")
            )),
        };
        self.wait_status(&format!("to hold commit {seq}"), within, holds)
            .await
            .map(drop)
    }

    /// Whether `text` stands in its log.
    pub fn logged(&self, text: &str) -> bool {
        self.printed(0, text)
    }

    /// Whether it has printed `text` since it was started last.
    pub fn logged_lately(&self, text: &str) -> bool {
        self.printed(self.logged_before, text)
    }

    fn printed(&self, from: usize, text: &str) -> bool {
        let log = std::fs::read(&self.spec.log).unwrap_or_default();
        let since = log.get(from..).unwrap_or_default();
        String::from_utf8_lossy(since).contains(text)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Nobody is left to tell when this fails.
        let _ = self.kill();
    }
}

/// The last lines of a log, for people.
pub(super) fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    format!("--- end of {}\n{}\n", log.display(), last.join("\n"))
}
