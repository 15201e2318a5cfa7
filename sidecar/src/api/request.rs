//! What several routes read from a request: JSON bodies within limits, query strings, headers.

use axum::body::Body;
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use crate::node::Role;
use crate::writer::Writer;

/// The running writer behind this interface.
pub(super) fn writer_of(state: &ApiState) -> Result<&Writer, Problem> {
    match (state.writer.get(), state.role) {
        (Some(writer), _) => Ok(writer),
        (None, Role::Replica) => Err(Problem::new(
            ProblemKind::ReplicaRefusesWrites,
            "replicas refuse mutations; send it to the writer",
        )),
        (None, Role::Writer) => Err(Problem::new(
            ProblemKind::NotCommitted,
            "this writer has not taken over yet",
        )),
    }
}

/// A JSON body, and how many bytes it had.
///
/// # Errors
/// 415 for another content type (which also keeps web pages of other origins out), 413 for more than `max_bytes`, 400 with
/// the place in the text for what is not the JSON expected.
pub(super) async fn json_body<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
) -> Result<(T, usize), Problem> {
    let content_type = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    if !is_json(content_type) {
        let detail = format!("Content-Type: expected application/json, found {content_type:?}");
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    let bytes = read_body(body, max_bytes).await?;
    // Structs are also read from arrays, by position: not a form anybody should come to rely on.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let detail = "body: expected a JSON object, found an array";
        return Err(Problem::new(ProblemKind::MalformedRequest, detail));
    }
    let value = serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!("body: {error}");
        Problem::new(ProblemKind::MalformedRequest, detail).at_position(error.line(), error.column())
    })?;
    Ok((value, bytes.len()))
}

async fn read_body(body: Body, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(
                ProblemKind::MalformedRequest,
                format!("failed to receive the body: {error}"),
            )
        })?;
        if bytes.len() + chunk.len() > max_bytes {
            let detail = format!("body: expected at most {max_bytes} bytes, found more");
            return Err(Problem::new(ProblemKind::BodyTooLarge, detail).with("max_bytes", max_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The parameters in a URL.
pub(super) fn url_parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let parsed = Query::<T>::try_from_uri(uri);
    parsed
        .map(|Query(value)| value)
        .map_err(|error| Problem::new(ProblemKind::MalformedRequest, error.body_text()))
}

/// A header's text; what is not visible ASCII counts as absent.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The trace that a commit belongs to: this request's span where spans are exported, or else the client's.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    telemetry::current_traceparent().or_else(|| client_traceparent(headers))
}

/// The `traceparent` header, if it is what W3C Trace Context (section 3.2) allows; anything else is to be ignored.
pub(super) fn client_traceparent(headers: &HeaderMap) -> Option<String> {
    header(headers, "traceparent")
        .filter(|text| is_traceparent(text))
        .map(str::to_owned)
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [2, 32, 16, 2]
        && parts.iter().all(|part| is_hex(part))
        && parts[0] != "ff"
        && !is_zero(parts[1])
        && !is_zero(parts[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_taken() {
        for (text, taken) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("", false),
        ] {
            assert_eq!(is_traceparent(text), taken, "{text}");
        }
    }

    #[tokio::test]
    async fn a_body_of_just_the_limit_is_read_and_one_byte_more_is_refused() {
        assert_eq!(read_body(Body::from("abcd"), 4).await.unwrap(), b"abcd");
        let refused = read_body(Body::from("abcde"), 4).await.unwrap_err();
        assert_eq!(refused.kind(), ProblemKind::BodyTooLarge);
    }

    #[tokio::test]
    async fn malformed_json_is_refused_with_its_place() {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap())]);
        let body = Body::from("{\n  \"a\": ]");
        let document = json_body::<serde_json::Value>(&headers, body, 100)
            .await
            .unwrap_err()
            .to_json();
        assert_eq!(document["status"], 400);
        assert_eq!(
            (&document["position"]["line"], &document["position"]["column"]),
            (&2.into(), &8.into())
        );
    }
}
