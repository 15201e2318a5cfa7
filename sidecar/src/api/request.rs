//! What several routes read from a request: whom it is for, query strings, headers. Bodies are in `json_body`.

use axum::extract::Query;
use axum::http::{HeaderMap, Uri};
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

/// The `Idempotency-Key` header.
///
/// # Errors
/// 400 for one that cannot be taken as it is: to ignore it would make a retry write twice.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let refused = |detail: &str| {
        Problem::new(
            ProblemKind::MalformedRequest,
            format!("Idempotency-Key: {detail}"),
        )
    };
    let mut keys = headers.get_all("idempotency-key").iter();
    let (key, another) = (keys.next(), keys.next());
    if another.is_some() {
        return Err(refused("expected one, found several"));
    }
    key.map(|key| key.to_str().map(str::to_owned))
        .transpose()
        .map_err(|_| refused("expected visible ASCII characters, found others"))
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
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_idempotency_key_is_taken_as_it_is_or_refused_never_ignored() {
        let keys = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
            }
            idempotency_key(&headers)
        };
        assert_eq!(keys(&[]), Ok(None));
        assert_eq!(keys(&[b"load 7"]), Ok(Some("load 7".to_owned())));
        // Empty: refused like an empty key of a transaction, by the writer.
        assert_eq!(keys(&[b""]), Ok(Some(String::new())));
        let wrong: [&[&[u8]]; 3] = [&["schlüssel".as_bytes()], &[b"\xff"], &[b"a", b"b"]];
        for wrong in wrong {
            let document = keys(wrong).unwrap_err().to_json();
            let detail = document["detail"].as_str().unwrap();
            assert_eq!(document["status"], 400);
            assert!(detail.starts_with("Idempotency-Key: expected "), "{detail}");
        }
    }

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
}
