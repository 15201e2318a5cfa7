//! `POST /v1/transactions`: a JSON transaction, whole or not at all.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::ApiState;
use super::problem::Problem;
use super::request::{json_body, traceparent, writer_of};
use crate::writer::{CommitAnswer, Transaction, TransactionRequest};

/// Answers once the commit is durable.
pub(super) async fn commit(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CommitAnswer>, Problem> {
    let writer = writer_of(&state)?;
    let (request, bytes) =
        json_body::<TransactionRequest>(&headers, body, state.settings.max_body_bytes).await?;
    let mut transaction = Transaction::parse(&writer.schema(), &request, bytes)?;
    transaction.traceparent = traceparent(&headers);
    Ok(Json(writer.submit(transaction).await?))
}
