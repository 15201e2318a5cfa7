//! `POST /v1/snapshots`: take a snapshot of this replica now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use crate::snapshot::{SnapshotMeta, SnapshotRefusal};

/// The answer: what is in `snapshot-meta.json`, and whether it was there before.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    #[serde(flatten)]
    meta: SnapshotMeta,
    existed: bool,
}

/// Answers when the snapshot is stored and verified. It goes on when the client leaves.
pub(super) async fn take(State(state): State<Arc<ApiState>>) -> Result<Json<Taken>, Problem> {
    let Some(requests) = &state.snapshots else {
        return Err(Problem::new(
            ProblemKind::WriterTakesNoSnapshots,
            "this is the writer; ask a replica",
        ));
    };
    let answer = requests.ask().await.map_err(|refusal| {
        let kind = match &refusal {
            SnapshotRefusal::Busy { .. } => ProblemKind::SnapshotUnderWay,
            SnapshotRefusal::NoGraph => ProblemKind::NoGraph,
            SnapshotRefusal::TooMany => ProblemKind::Busy,
            SnapshotRefusal::Leaving | SnapshotRefusal::Failed(_) => ProblemKind::SnapshotFailed,
        };
        Problem::new(kind, refusal.to_string())
    })?;
    Ok(Json(Taken {
        meta: answer.meta,
        existed: answer.existed,
    }))
}
