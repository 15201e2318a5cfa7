//! Why a command failed, as one sentence for the person who typed it.

use std::path::{Path, PathBuf};

use super::problem::Problem;
use crate::local::LocalError;

/// A failed command; its text is printed after `error: `.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Nothing answers at the address.
    #[error("nothing answers at {address} ({cause}); {advice}")]
    Unreachable {
        address: String,
        cause: String,
        /// What to start, or which option names another address.
        advice: String,
    },
    /// The node answered with a problem document.
    #[error("{address} answered: {problem}")]
    Problem { address: String, problem: Box<Problem> },
    /// The exchange began but had no usable end.
    #[error("failed to {action} {address}: {detail}")]
    Exchange {
        action: &'static str,
        address: String,
        detail: String,
    },
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file of rows that is not what it should be.
    #[error("{}{place}: {detail}", path.display())]
    Input {
        path: PathBuf,
        /// `, line 3, column "size"`, or nothing.
        place: String,
        detail: String,
    },
    /// A load in chunks that failed after some of them.
    #[error("{failure} ({commits} of its chunks were committed before, and stand)")]
    Partly { failure: Box<CliError>, commits: u64 },
    /// A resource file with fields that are wrong, one line each.
    #[error("{}: {detail}", path.display())]
    Resource { path: PathBuf, detail: String },
    /// An argument that clap could not judge.
    #[error("{0}")]
    Argument(String),
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A comparison found that graphs are not what their tables hold, or could not be made.
    #[error("{0}")]
    Verify(String),
    /// Something is left that was to be removed.
    #[error(transparent)]
    Cleanup(#[from] crate::cleanup::CleanupError),
}

impl CliError {
    /// A whole file that is not what it should be.
    pub(super) fn input(path: &Path, detail: impl std::fmt::Display) -> Self {
        Self::Input {
            path: path.to_owned(),
            place: String::new(),
            detail: detail.to_string(),
        }
    }

    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            action: "read",
            path: path.to_owned(),
            source,
        }
    }
}

/// An error with all its causes, outermost first, without those whose text the one before already contains.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The innermost cause, which for a refused connection is the one that says something.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
