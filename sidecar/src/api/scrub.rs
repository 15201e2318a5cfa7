//! `POST /v1/scrub`: compare this node's graph with Lance now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use crate::scrub::{ScrubError, Scrubbed};

/// Answers when the comparison is done: 200 whether or not something differs (`ok`, and per table `equal`).
pub(super) async fn scrub(State(state): State<Arc<ApiState>>) -> Result<Json<Scrubbed>, Problem> {
    let scrubbed = state.scrub.scrub().await;
    scrubbed.map(Json).map_err(|error| {
        let kind = match error.as_ref() {
            ScrubError::NoGraph => ProblemKind::NoGraph,
            _ => ProblemKind::ScrubFailed,
        };
        Problem::new(kind, error.to_string())
    })
}
