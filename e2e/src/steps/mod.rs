//! The demo's steps, one per file, in the order they are played. Each verifies what it claims.

pub mod change;
pub mod checks;
pub mod kill;
pub mod latency;
pub mod load;
pub mod queries;
pub mod refusals;
pub mod replicate;
pub mod scale;
pub mod start;
pub mod stop;

use std::path::PathBuf;

use crate::client::{ClientError, Node};
use crate::debian::{Debian, InputError};
use crate::local_process::{LocalProcess, ProcessError};
use crate::report::Measurements;
use crate::wait::TimedOut;

/// Replicas that the resource file asks for at first.
pub const REPLICAS: u16 = 2;

/// What the steps share.
#[derive(Debug)]
pub struct Scene {
    pub local: LocalProcess,
    /// The directory of the example.
    pub example: PathBuf,
    /// What every node must hold.
    pub graph: Debian,
    /// The `tx_id` of the newest commit that the demo made.
    pub newest_tx: String,
    /// Replicas that should be running.
    pub replicas: u16,
    pub measurements: Measurements,
}

impl Scene {
    /// All replicas.
    pub fn replica_nodes(&self) -> Vec<Node> {
        self.local.replicas(self.replicas)
    }
}

/// Why a step did not pass.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("failed to {doing}")]
    System { doing: String, source: std::io::Error },
    /// Something was found that must not be.
    #[error("{what}: expected {expected}, found {found}")]
    Wrong {
        what: String,
        expected: String,
        found: String,
    },
}

impl StepError {
    /// For an error of the system; the text completes "failed to …".
    pub fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}

/// Fails the step unless both are equal.
///
/// # Errors
/// [`StepError::Wrong`].
pub fn expect_equal<T: PartialEq + std::fmt::Debug>(
    what: impl Into<String>,
    found: &T,
    expected: &T,
) -> Result<(), StepError> {
    if found == expected {
        return Ok(());
    }
    Err(StepError::Wrong {
        what: what.into(),
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
    })
}

/// Fails the step unless it holds.
///
/// # Errors
/// [`StepError::Wrong`].
pub fn expect(
    holds: bool,
    what: impl Into<String>,
    expected: impl Into<String>,
    found: impl std::fmt::Debug,
) -> Result<(), StepError> {
    if holds {
        return Ok(());
    }
    Err(StepError::Wrong {
        what: what.into(),
        expected: expected.into(),
        found: format!("{found:?}"),
    })
}
