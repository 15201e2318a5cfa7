//! Why a scenario did not pass.

use crate::client::ClientError;
use crate::cluster::ClusterError;
use crate::debian::InputError;
use crate::local_process::ProcessError;
use crate::steps::StepError;
use crate::wait::TimedOut;

/// What was found that must not be, or what stood in the way of finding out.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error(transparent)]
    Cluster(Box<ClusterError>),
    /// The API server said no, or nothing.
    #[error("failed to ask the API server: {0}")]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("failed to list {uri}: {source}")]
    Bucket {
        uri: String,
        #[source]
        source: lance::Error,
    },
    /// [`StepError::Wrong`] and the like.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl From<ClusterError> for ScenarioError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

impl ScenarioError {
    /// Something was found that must not be.
    pub fn wrong(what: impl Into<String>, expected: impl Into<String>, found: impl std::fmt::Debug) -> Self {
        Self::Step(StepError::Wrong {
            what: what.into(),
            expected: expected.into(),
            found: format!("{found:?}"),
        })
    }

    /// For an error of the system; the text completes "failed to …".
    pub fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let failed = StepError::system(doing);
        move |source| Self::Step(failed(source))
    }
}
