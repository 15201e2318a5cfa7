//! Running a command to its end; a failure keeps what it printed.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::error::{ClusterError, failed};

/// Directories that a person's `PATH` may lack and our programs need (iptables, runc).
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that finds system programs, whatever `PATH` is.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:{SYSTEM_PATH}"));
    command.kill_on_drop(true);
    command
}

/// Runs it; stdout.
pub(super) async fn output(command: &mut Command) -> Result<String, ClusterError> {
    command.stdin(Stdio::null());
    let output = command
        .output()
        .await
        .map_err(failed(format!("run {}", shown(command))))?;
    checked(command, output)
}

/// Runs it with this input; stdout.
pub(super) async fn output_with_stdin(command: &mut Command, stdin: &str) -> Result<String, ClusterError> {
    let doing = format!("run {}", shown(command));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed(doing.clone()))?;
    let mut pipe = child.stdin.take();
    let write = async {
        if let Some(pipe) = &mut pipe {
            // A program that ends early tells why itself: a broken pipe says less.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        }
        drop(pipe);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    checked(command, output.map_err(failed(doing))?)
}

fn checked(command: &Command, output: Output) -> Result<String, ClusterError> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(ClusterError::Command {
        command: shown(command),
        status: output.status,
        output: [stdout.trim(), stderr.trim()].join("\n").trim().to_owned(),
    })
}

/// The command line, without the way into the network.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let mut words: Vec<_> = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    if words.first().is_some_and(|program| program == "nsenter") {
        words.drain(..2);
    }
    words.join(" ")
}
