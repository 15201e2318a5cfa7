//! One server process on a port of this machine: killed, stopped, continued, started again with the same port and data.
//!
//! Owns: the process; dropping it ends it. Does not own: which server it is and what it keeps (`servers`).

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::local_process::send_signal;
use crate::ports::is_listening;
use crate::servers::{ServersError, system};

/// A server, running or killed.
#[derive(Debug)]
pub struct ServerProcess {
    /// In words: `the S3 server`.
    name: &'static str,
    command: Command,
    port: u16,
    child: Child,
    is_left: bool,
}

impl ServerProcess {
    /// Starts `command`, which listens on `port` of this machine; it may not listen yet. With `detached`, Ctrl-C in this
    /// terminal does not reach it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(
        name: &'static str,
        mut command: Command,
        port: u16,
        detached: bool,
    ) -> Result<Self, ServersError> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if detached {
            command.process_group(0);
        }
        let child = spawn(&mut command, name)?;
        Ok(Self {
            name,
            command,
            port,
            child,
            is_left: false,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of what runs or ran last.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it takes connections; one that is stopped does as well.
    pub fn is_listening(&self) -> bool {
        is_listening(self.port)
    }

    /// SIGKILL, and waits for the end; nothing where it has ended.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<(), ServersError> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map(drop).map_err(system(format!("kill {}", self.name)))
    }

    /// Starts it again; one that runs is killed before.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn restart(&mut self) -> Result<(), ServersError> {
        self.kill()?;
        self.child = spawn(&mut self.command, self.name)?;
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), ServersError> {
        let sent = send_signal(self.pid(), signal);
        sent.map_err(|error| system(format!("signal {}", self.name))(std::io::Error::other(error)))
    }

    /// Lets it run on when this value is dropped.
    pub fn leave_running(&mut self) {
        self.is_left = true;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if !self.is_left {
            // Nobody is left to tell when this fails.
            let _ = self.kill();
        }
    }
}

fn spawn(command: &mut Command, name: &str) -> Result<Child, ServersError> {
    command.spawn().map_err(system(format!("start {name}")))
}
