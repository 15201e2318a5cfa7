//! One child process: started, signalled by its id, waited for.
//!
//! Owns: the child from start to exit; only the task that waits for it signals it, so an id is never used after the child
//! is gone. Does not own: when to do which (`plan`).

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::plan::ChildId;

/// Bounds of memory that are set by the environment alone. The sidecar's image sets the same (`Dockerfile`).
///
/// Lance's delta API leaves no way to bound its scan, which by default holds up to 2 GiB of the storage's answers and on object
/// storage makes batches of 16,384 rows. With these it is as our own scans are (`lake`), whose bounds stand in the code.
const MEMORY_BOUNDS: [(&str, &str); 2] = [
    ("LANCE_DEFAULT_BATCH_SIZE", "8192"),
    ("LANCE_DEFAULT_IO_BUFFER_SIZE", "16777216"),
];

/// What children are started from: this program, or a test's stand-in.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) executable: PathBuf,
    pub(super) first_arguments: Vec<OsString>,
}

/// A child that was started.
#[derive(Debug)]
pub(super) struct Process {
    signals: mpsc::UnboundedSender<Signal>,
}

/// A child that ended.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) id: ChildId,
    /// `exit status: 1`, `signal: 9 (SIGKILL)`
    pub(super) how: String,
}

/// Starts a child in a process group of its own, so that Ctrl-C at the terminal reaches the supervisor alone. Its output is
/// appended to `log`; its standard input is a pipe that ends when this process does. Its end is reported to `exits`.
/// Its environment is this process's, with [`MEMORY_BOUNDS`] where that says nothing.
///
/// # Errors
/// When the log cannot be opened or the program cannot be run.
pub(super) fn start(
    id: ChildId,
    program: &Program,
    arguments: &[OsString],
    log: &Path,
    exits: mpsc::UnboundedSender<Exit>,
) -> io::Result<Process> {
    let log = File::options().create(true).append(true).open(log)?;
    let child = Command::new(&program.executable)
        .args(&program.first_arguments)
        .args(arguments)
        .envs(
            MEMORY_BOUNDS
                .into_iter()
                .filter(|(name, _)| std::env::var_os(name).is_none()),
        )
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (signals, received) = mpsc::unbounded_channel();
    tokio::spawn(attend(id, child, received, exits));
    Ok(Process { signals })
}

impl Process {
    pub(super) fn signal(&self, signal: Signal) {
        // A child that has just ended needs none.
        let _ = self.signals.send(signal);
    }
}

async fn attend(
    id: ChildId,
    mut child: Child,
    mut signals: mpsc::UnboundedReceiver<Signal>,
    exits: mpsc::UnboundedSender<Exit>,
) {
    // `wait` would close it, and the child would take that for the end of the supervisor.
    let input = child.stdin.take();
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            Some(signal) = signals.recv() => {
                if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok())
                    && let Err(error) = kill(Pid::from_raw(pid), signal)
                {
                    tracing::warn!(%id, %signal, %error, "failed to signal");
                }
            }
        }
    };
    drop(input);
    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
    // When nobody listens, the supervisor is ending and the child's end needs no answer.
    let _ = exits.send(Exit { id, how });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_has_the_bounds_of_memory_that_the_image_sets_where_the_user_set_none() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let program = Program {
            executable: PathBuf::from("/bin/sh"),
            first_arguments: vec!["-c".into(), "env".into()],
        };
        let (exits, mut exited) = mpsc::unbounded_channel();
        let _process = start(ChildId::Writer, &program, &[], &log, exits).unwrap();
        exited.recv().await.unwrap();
        let environment = std::fs::read_to_string(log).unwrap();
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Dockerfile");
        let image = std::fs::read_to_string(image).unwrap();
        for (name, value) in MEMORY_BOUNDS {
            let expected = std::env::var(name).unwrap_or_else(|_| value.to_owned());
            let line = format!("{name}={expected}");
            assert!(environment.lines().any(|found| found == line), "{line}");
            let set = format!("{name}={value}");
            assert!(
                image.split_ascii_whitespace().any(|word| word == set),
                "the image sets no {set}"
            );
        }
    }
}
