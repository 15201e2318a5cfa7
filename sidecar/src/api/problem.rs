//! Problem documents (RFC 9457): the one form of every error on the wire.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

const TYPE_PREFIX: &str = "https://slipstream.dev/problems/";

/// Every kind of problem that this interface answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProblemKind {
    MalformedRequest,
    QueryFailed,
    ForbiddenStatement,
    ReplicaRefusesWrites,
    NotFound,
    UnknownTable,
    MethodNotAllowed,
    NotAcceptable,
    IdempotencyConflict,
    WriterTakesNoSnapshots,
    SnapshotUnderWay,
    SnapshotFailed,
    BodyTooLarge,
    UnsupportedMediaType,
    Refused,
    AnswerTooLarge,
    Overloaded,
    Internal,
    Fenced,
    NotCommitted,
    FloorNotReached,
    NoGraph,
    NotReady,
    ScrubFailed,
    LogUnavailable,
    Busy,
    OutcomeUnknown,
    QueryTimeout,
}

impl ProblemKind {
    /// Status, last part of `type`, and `title`.
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedRequest => (S::BAD_REQUEST, "malformed-request", "The request is malformed"),
            Self::QueryFailed => (S::BAD_REQUEST, "query-failed", "The query failed"),
            Self::ForbiddenStatement => (
                S::FORBIDDEN,
                "forbidden-statement",
                "The statement is not allowed in a query",
            ),
            Self::ReplicaRefusesWrites => (
                S::FORBIDDEN,
                "replica-refuses-writes",
                "Replicas refuse mutations",
            ),
            Self::NotFound => (S::NOT_FOUND, "not-found", "There is nothing here"),
            Self::UnknownTable => (S::NOT_FOUND, "unknown-table", "The graph has no such table"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The method is not allowed here",
            ),
            Self::NotAcceptable => (
                S::NOT_ACCEPTABLE,
                "not-acceptable",
                "No acceptable form of answer",
            ),
            Self::IdempotencyConflict => (
                S::CONFLICT,
                "idempotency-conflict",
                "The idempotency key was used for another request",
            ),
            Self::WriterTakesNoSnapshots => (
                S::CONFLICT,
                "writer-takes-no-snapshots",
                "Only replicas take snapshots",
            ),
            Self::SnapshotUnderWay => (
                S::CONFLICT,
                "snapshot-under-way",
                "Another replica takes a snapshot",
            ),
            Self::SnapshotFailed => (S::SERVICE_UNAVAILABLE, "snapshot-failed", "No snapshot was taken"),
            Self::BodyTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The request body is too large",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The content type is not supported",
            ),
            Self::Refused => (
                S::UNPROCESSABLE_ENTITY,
                "refused",
                "The transaction was refused; nothing was changed",
            ),
            Self::AnswerTooLarge => (
                S::UNPROCESSABLE_ENTITY,
                "answer-too-large",
                "The answer is too large for JSON",
            ),
            Self::Overloaded => (
                S::TOO_MANY_REQUESTS,
                "overloaded",
                "The writer has no room for more",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Something is wrong inside this node",
            ),
            Self::Fenced => (S::SERVICE_UNAVAILABLE, "fenced", "This writer was fenced"),
            Self::NotCommitted => (S::SERVICE_UNAVAILABLE, "not-committed", "Nothing was committed"),
            Self::FloorNotReached => (
                S::SERVICE_UNAVAILABLE,
                "floor-not-reached",
                "This node does not hold the state asked for in time",
            ),
            Self::NoGraph => (S::SERVICE_UNAVAILABLE, "no-graph", "This node has no graph yet"),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not-ready", "This node is not ready"),
            Self::ScrubFailed => (
                S::SERVICE_UNAVAILABLE,
                "scrub-failed",
                "The graph could not be compared with its tables",
            ),
            Self::LogUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "log-unavailable",
                "The commit log cannot be read",
            ),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", "Too many queries are running"),
            Self::OutcomeUnknown => (
                S::GATEWAY_TIMEOUT,
                "outcome-unknown",
                "Whether the transaction was committed is not known",
            ),
            Self::QueryTimeout => (S::GATEWAY_TIMEOUT, "query-timeout", "The query took too long"),
        }
    }

    /// When a client may try again, in seconds, where trying again makes sense.
    fn retry_after(self) -> Option<HeaderValue> {
        matches!(
            self,
            Self::Overloaded | Self::NotCommitted | Self::NoGraph | Self::LogUnavailable | Self::Busy
        )
        .then(|| HeaderValue::from_static("1"))
    }
}

/// One error, ready to be answered: as a whole response, or as the last line of a stream that has begun already.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    kind: ProblemKind,
    /// Names the place, what was found, what was expected.
    detail: String,
    /// Further members: `operation`, `row`, `column`, `table`, `position`, …
    members: Map<String, Value>,
}

impl Problem {
    /// A problem without further members.
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            members: Map::new(),
        }
    }

    /// The same with one more member.
    pub(super) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// The same with one more member, if there is a value.
    pub(super) fn with_some(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Where in a text something is wrong, both from 1.
    pub(super) fn at_position(self, line: usize, column: usize) -> Self {
        self.with("position", json!({"line": line, "column": column}))
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The document.
    pub(super) fn to_json(&self) -> Value {
        let (status, slug, title) = self.kind.describe();
        let mut document = self.members.clone();
        document.insert("type".to_owned(), json!(format!("{TYPE_PREFIX}{slug}")));
        document.insert("title".to_owned(), json!(title));
        document.insert("status".to_owned(), json!(status.as_u16()));
        document.insert("detail".to_owned(), json!(self.detail));
        Value::Object(document)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.describe();
        if self.kind == ProblemKind::Internal {
            tracing::error!(detail = self.detail, "answered with an internal error");
        }
        let mut response = (status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_the_rfc_and_its_own() {
        let problem = Problem::new(ProblemKind::Refused, "row 3: no")
            .with("row", 3)
            .with_some("column", None::<&str>);
        assert_eq!(
            problem.to_json(),
            json!({
                "type": "https://slipstream.dev/problems/refused",
                "title": "The transaction was refused; nothing was changed",
                "status": 422,
                "detail": "row 3: no",
                "row": 3,
            })
        );
        let response = problem.into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers().get(RETRY_AFTER), None);
    }

    #[test]
    fn only_problems_that_pass_say_when_to_try_again() {
        let overloaded = Problem::new(ProblemKind::Overloaded, "").into_response();
        assert_eq!(
            (overloaded.status().as_u16(), &overloaded.headers()[RETRY_AFTER]),
            (429, &HeaderValue::from_static("1"))
        );
        // A blind retry of an unknown outcome could write twice.
        let unknown = Problem::new(ProblemKind::OutcomeUnknown, "").into_response();
        assert_eq!(unknown.headers().get(RETRY_AFTER), None);
    }
}
