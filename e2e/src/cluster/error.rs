//! What goes wrong around the cluster, always with the output that tells why.

use std::path::PathBuf;

use crate::wait::TimedOut;

/// A cluster that did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no cluster runs in {}; start one with ./justw cluster up", .0.display())]
    NotRunning(PathBuf),
    #[error("another process starts or stops the cluster in {} right now", .0.display())]
    Busy(PathBuf),
    #[error("a cluster needs root: namespaces, mounts and control groups are made")]
    NotRoot,
    #[error("{name} ended by itself. The end of {}:\n{tail}", log.display())]
    ComponentEnded {
        name: String,
        log: PathBuf,
        tail: String,
    },
    #[error("{name} did not get ready: {source}. The end of {}:\n{tail}", log.display())]
    ComponentNotReady {
        name: String,
        log: PathBuf,
        tail: String,
        source: Box<TimedOut>,
    },
    /// A command that ran and failed.
    #[error("`{command}` failed with {status}:\n{output}")]
    Command {
        command: String,
        status: std::process::ExitStatus,
        output: String,
    },
    #[error("failed to {doing}")]
    System { doing: String, source: std::io::Error },
    #[error("there is no `{name}` at {}; {remedy}", path.display())]
    Missing {
        name: String,
        path: PathBuf,
        remedy: &'static str,
    },
    #[error("failed to remove what the cluster left: {0}")]
    LeftBehind(String),
    #[error("failed to make a client of the cluster: {0}")]
    Client(String),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// For `map_err`: names what was tried.
pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> ClusterError {
    let doing = doing.into();
    move |source| ClusterError::System { doing, source }
}
