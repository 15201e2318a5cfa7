//! Asking this process for a snapshot now: the way from `POST /v1/snapshots` to the replica's task.

use tokio::sync::{mpsc, oneshot};

use super::SnapshotMeta;

/// Requests that wait at most; more are refused.
const QUEUE: usize = 16;

/// Why there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefusal {
    #[error("{holder} has the duty to take snapshots now; ask again when it is done")]
    Busy { holder: String },
    #[error("this replica has no graph to take a snapshot of yet")]
    NoGraph,
    #[error("too many requests for a snapshot wait already")]
    TooMany,
    #[error("the replica is shutting down")]
    Leaving,
    #[error("no snapshot was taken: {0}")]
    Failed(String),
}

/// A snapshot that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotAnswer {
    pub meta: SnapshotMeta,
    /// It was there already: nothing was committed since, and it was read and found good.
    pub existed: bool,
}

pub(super) type Request = oneshot::Sender<Result<SnapshotAnswer, SnapshotRefusal>>;

/// Asks the replica of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotRequests(mpsc::Sender<Request>);

/// The replica's end.
#[derive(Debug)]
pub struct SnapshotInbox(pub(super) mpsc::Receiver<Request>);

impl SnapshotRequests {
    /// Both ends.
    pub fn channel() -> (Self, SnapshotInbox) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), SnapshotInbox(receiver))
    }

    /// A snapshot of the node as it is now; returns when it is stored and verified. One that runs already is waited for first.
    pub async fn ask(&self) -> Result<SnapshotAnswer, SnapshotRefusal> {
        let (sender, answer) = oneshot::channel();
        match self.0.try_send(sender) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(SnapshotRefusal::TooMany),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(SnapshotRefusal::Leaving),
        }
        answer.await.unwrap_or(Err(SnapshotRefusal::Leaving))
    }
}
