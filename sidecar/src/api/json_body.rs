//! JSON bodies: received within limits, parsed where it holds up nobody.
//!
//! Owns: how large a body may be, and on which thread it is parsed. Does not own: the room for all bodies together
//! (`body_room`), and what becomes of the rest of a refused one (`drain`).

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::body_room::BodyShare;
use super::drain::DrainedBody;
use super::problem::{Problem, ProblemKind};
use super::request::header;

/// Bodies above this are parsed on a blocking thread: it takes so long that other requests would feel it.
const PARSED_INLINE: usize = 256 << 10;
/// Longest time in which nothing of a body comes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A JSON body.
///
/// # Errors
/// As [`json_bytes`] and [`from_json`].
pub(super) async fn json_body<T: DeserializeOwned + Send + 'static>(
    headers: &HeaderMap,
    body: DrainedBody,
    max_bytes: usize,
) -> Result<T, Problem> {
    let bytes = json_bytes(headers, body, max_bytes, None).await?;
    parsed(bytes.len(), move || from_json(&bytes)).await
}

/// The bytes of a JSON body. `share`: what it takes of the room for bodies, where that is bounded.
///
/// # Errors
/// 415 for another content type (which also keeps web pages of other origins out), 413 for more than `max_bytes`, 429 without
/// room. Before more of the body is kept, in any case.
pub(super) async fn json_bytes(
    headers: &HeaderMap,
    body: DrainedBody,
    max_bytes: usize,
    share: Option<&mut BodyShare>,
) -> Result<Vec<u8>, Problem> {
    let content_type = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    if !is_json(content_type) {
        let detail = format!("Content-Type: expected application/json, found {content_type:?}");
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    if body.announced() > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    if let Some(share) = &share {
        share.expect_room(body.announced())?;
    }
    read_body(body, max_bytes, share).await
}

async fn read_body(
    mut body: DrainedBody,
    max_bytes: usize,
    mut share: Option<&mut BodyShare>,
) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    loop {
        // A client that stops halfway holds room that others wait for.
        let Ok(next) = timeout(LONGEST_PAUSE, body.next()).await else {
            let detail = format!("body: nothing came for {} s", LONGEST_PAUSE.as_secs());
            return Err(Problem::new(ProblemKind::MalformedRequest, detail));
        };
        let Some(chunk) = next else { return Ok(bytes) };
        let chunk = chunk.map_err(|error| {
            Problem::new(
                ProblemKind::MalformedRequest,
                format!("failed to receive the body: {error}"),
            )
        })?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        if let Some(share) = &mut share {
            share.grow(chunk.len())?;
        }
        bytes.extend_from_slice(&chunk);
    }
}

fn too_large(max_bytes: usize) -> Problem {
    let detail = format!("body: expected at most {max_bytes} bytes, found more");
    Problem::new(ProblemKind::BodyTooLarge, detail).with("max_bytes", max_bytes)
}

/// The value that a JSON body is.
///
/// # Errors
/// 400 with the place in the text for what is not the JSON expected.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Structs are also read from arrays, by position: not a form anybody should come to rely on.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let detail = "body: expected a JSON object, found an array";
        return Err(Problem::new(ProblemKind::MalformedRequest, detail));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = format!("body: {error}");
        Problem::new(ProblemKind::MalformedRequest, detail).at_position(error.line(), error.column())
    })
}

/// What `parse` makes of a body of so many bytes: parsed here if it is small, else on a blocking thread.
///
/// # Errors
/// Those of `parse`.
///
/// # Panics
/// Where `parse` does.
pub(super) async fn parsed<T: Send + 'static>(
    bytes: usize,
    parse: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= PARSED_INLINE {
        return parse();
    }
    match tokio::task::spawn_blocking(parse).await {
        Ok(parsed) => parsed,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels.
            Err(error) => Err(Problem::new(ProblemKind::Internal, error.to_string())),
        },
    }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::super::body_room::BodyRoom;
    use super::*;

    fn json_headers() -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap())])
    }

    #[tokio::test]
    async fn a_body_of_just_the_limit_is_read_and_one_byte_more_is_refused() {
        let read =
            async |text: &'static str| json_bytes(&json_headers(), Body::from(text).into(), 4, None).await;
        assert_eq!(read("abcd").await.unwrap(), b"abcd");
        assert_eq!(read("abcde").await.unwrap_err().kind(), ProblemKind::BodyTooLarge);
    }

    /// A body in chunks of four bytes, which announces no length.
    fn in_chunks(chunks: usize) -> DrainedBody {
        let chunks = futures::stream::iter(0..chunks).map(|_| Ok::<_, std::io::Error>("abcd"));
        Body::from_stream(chunks).into()
    }

    #[tokio::test]
    async fn a_body_holds_its_room_while_it_is_kept_and_one_without_room_is_refused() {
        let (headers, room) = (json_headers(), BodyRoom::new(10));
        let mut share = room.share();
        let kept = json_bytes(&headers, in_chunks(2), 100, Some(&mut share)).await;
        assert_eq!(kept.unwrap().len(), 8);
        for body in [in_chunks(1), DrainedBody::from(Body::from("abcd"))] {
            let refused = json_bytes(&headers, body, 100, Some(&mut room.share())).await;
            assert_eq!(refused.unwrap_err().kind(), ProblemKind::Overloaded);
        }
        // What no room would ever hold is told so, not to come back later.
        for body in [in_chunks(4), DrainedBody::from(Body::from("0123456789ab"))] {
            let refused = json_bytes(&headers, body, 3, Some(&mut room.share())).await;
            assert_eq!(refused.unwrap_err().kind(), ProblemKind::BodyTooLarge);
        }
        drop(share);
        let kept = json_bytes(&headers, in_chunks(2), 100, Some(&mut room.share())).await;
        assert_eq!(kept.unwrap().len(), 8);
    }

    #[tokio::test]
    async fn a_large_body_is_parsed_beside_the_runtime_and_a_small_one_right_here() {
        let here = std::thread::current().id();
        for (bytes, is_here) in [(0, true), (PARSED_INLINE, true), (PARSED_INLINE + 1, false)] {
            let at = parsed(bytes, || Ok(std::thread::current().id())).await.unwrap();
            assert_eq!(at == here, is_here, "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn malformed_json_is_refused_with_its_place() {
        let body = Body::from("{\n  \"a\": ]").into();
        let document = json_body::<serde_json::Value>(&json_headers(), body, 100)
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
