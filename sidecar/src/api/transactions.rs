//! `POST /v1/transactions`: a JSON transaction, whole or not at all.
//!
//! Memory: all bodies together are bounded by [`super::body_room`], until their transactions are planned.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::ApiState;
use super::drain::DrainedBody;
use super::json_body::{from_json, json_bytes, parsed};
use super::problem::Problem;
use super::request::{traceparent, writer_of};
use crate::writer::{CommitAnswer, Transaction, TransactionRequest};

/// Answers once the commit is durable.
pub(super) async fn commit(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CommitAnswer>, Problem> {
    // From here on every refusal reaches a client that is still sending.
    let body = DrainedBody::from(body);
    let writer = writer_of(&state)?;
    let mut share = state.bodies.share();
    let bytes = json_bytes(&headers, body, state.settings.max_body_bytes, Some(&mut share)).await?;
    let schema = writer.schema();
    let mut transaction = parsed(bytes.len(), move || {
        let request: TransactionRequest = from_json(&bytes)?;
        let mut transaction = Transaction::parse(&schema, &request, bytes.len())?;
        // It goes where the transaction goes: a client that leaves does not take it out of the queue.
        transaction.room = share.into_kept();
        Ok(transaction)
    })
    .await?;
    transaction.traceparent = traceparent(&headers);
    Ok(Json(writer.submit(transaction).await?))
}
