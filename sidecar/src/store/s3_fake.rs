//! Stores that break the rules, as tiny S3 servers of our own: what a real one hardly ever does on demand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use sha2::{Digest as _, Sha256};

use super::s3::PART_BYTES;
use super::s3_tests::store_at;
use super::{Key, Put, Remedy, Store as _, StoreError, check_conditional_writes};

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    IgnoresIfNoneMatch,
    IgnoresIfMatch,
    /// Answers 501, as servers do that know the header but cannot honour it.
    RefusesIfMatch,
    /// Does the first write, and then answers 500.
    FailsAfterTheFirstWrite,
    /// Answers 409 to the first two writes.
    ConflictsTwice,
    /// Refuses the second part of a large object.
    RefusesASecondPart,
    /// Completes a large object, and then answers 500.
    FailsAfterCompleting,
}

#[derive(Debug)]
struct Fake {
    fault: Fault,
    objects: Mutex<HashMap<String, (Vec<u8>, String)>>,
    writes: AtomicUsize,
    aborts: AtomicUsize,
}

impl Fake {
    /// Its endpoint, and what it holds.
    async fn start(fault: Fault) -> (String, Arc<Self>) {
        let fake = Arc::new(Self {
            fault,
            objects: Mutex::default(),
            writes: AtomicUsize::new(0),
            aborts: AtomicUsize::new(0),
        });
        let object = put(Self::put)
            .get(Self::get)
            .delete(Self::delete)
            .post(Self::post);
        let router = Router::new()
            .route("/graphs/{*key}", object)
            .layer(DefaultBodyLimit::disable())
            .with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (endpoint, fake)
    }

    async fn put(
        State(fake): State<Arc<Self>>,
        Path(key): Path<String>,
        RawQuery(query): RawQuery,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        if let Some(query) = query.filter(|query| query.contains("uploadId")) {
            let is_refused = fake.fault == Fault::RefusesASecondPart && query.contains("partNumber=2");
            return match is_refused {
                true => error(StatusCode::FORBIDDEN, "AccessDenied"),
                false => [("etag", "\"part\"")].into_response(),
            };
        }
        let write = fake.writes.fetch_add(1, Ordering::Relaxed);
        let mut objects = fake.objects.lock().unwrap();
        let found = objects.get(&key).map(|(_, etag)| etag.clone());
        let expected = headers.get("if-match").map(|etag| etag.to_str().unwrap());
        if fake.fault == Fault::ConflictsTwice && write < 2 {
            return error(StatusCode::CONFLICT, "ConditionalRequestConflict");
        }
        if expected.is_some() && fake.fault == Fault::RefusesIfMatch {
            return error(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
        }
        let is_there = headers.contains_key("if-none-match") && found.is_some();
        let is_other = expected.is_some() && expected != found.as_deref();
        if is_there && fake.fault != Fault::IgnoresIfNoneMatch
            || is_other && fake.fault != Fault::IgnoresIfMatch
        {
            return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
        objects.insert(key, (body.to_vec(), etag.clone()));
        if fake.fault == Fault::FailsAfterTheFirstWrite && write == 0 {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        [("etag", etag)].into_response()
    }

    async fn get(State(fake): State<Arc<Self>>, Path(key): Path<String>) -> Response {
        match fake.objects.lock().unwrap().get(&key) {
            Some((bytes, etag)) => ([("etag", etag.clone())], bytes.clone()).into_response(),
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        }
    }

    /// Begins or completes a large object.
    async fn post(
        State(fake): State<Arc<Self>>,
        Path(key): Path<String>,
        RawQuery(query): RawQuery,
    ) -> Response {
        if query.is_some_and(|query| !query.contains("uploadId")) {
            let text =
                "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
            return text.into_response();
        }
        let large = (b"whole".to_vec(), "\"large\"".to_owned());
        fake.objects.lock().unwrap().insert(key, large);
        if fake.fault == Fault::FailsAfterCompleting {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        "<CompleteMultipartUploadResult><ETag>\"large\"</ETag></CompleteMultipartUploadResult>"
            .into_response()
    }

    async fn delete(
        State(fake): State<Arc<Self>>,
        Path(key): Path<String>,
        RawQuery(query): RawQuery,
    ) -> StatusCode {
        if query.is_some_and(|query| query.contains("uploadId")) {
            fake.aborts.fetch_add(1, Ordering::Relaxed);
            return StatusCode::NO_CONTENT;
        }
        fake.objects.lock().unwrap().remove(&key);
        StatusCode::NO_CONTENT
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    (
        status,
        format!("<Error><Code>{code}</Code><Message>as told</Message></Error>"),
    )
        .into_response()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out_and_left_clean() {
    for (fault, expected) in [
        (Fault::None, None),
        (Fault::IgnoresIfNoneMatch, Some("If-None-Match: * is ignored")),
        (Fault::IgnoresIfMatch, Some("If-Match is ignored")),
    ] {
        let (endpoint, fake) = Fake::start(fault).await;
        let store = store_at("s3://graphs/debian", &endpoint, "secret");
        let found = check_conditional_writes(&store).await;
        let found = found.err().map(|error| {
            assert!(matches!(error, StoreError::NotConditional { .. }), "{error:?}");
            assert_eq!(error.remedy(), Remedy::Reject);
            error.to_string()
        });
        match (expected, &found) {
            (None, None) => {}
            (Some(expected), Some(found)) if found.contains(expected) => {}
            _ => panic!("{fault:?}: expected {expected:?}, found {found:?}"),
        }
        assert!(
            fake.objects.lock().unwrap().is_empty(),
            "{fault:?} leaves its probe"
        );
    }
}

#[tokio::test]
async fn a_store_that_cannot_honour_a_condition_is_rejected_with_its_own_words() {
    let (endpoint, fake) = Fake::start(Fault::RefusesIfMatch).await;
    let store = store_at("s3://graphs/debian", &endpoint, "secret");
    let error = check_conditional_writes(&store).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Reject);
    assert!(
        error.to_string().contains("NotImplemented: as told (HTTP 501)"),
        "{error}"
    );
    assert!(fake.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_conditional_write_that_may_have_happened_is_never_called_refused() {
    let (endpoint, fake) = Fake::start(Fault::FailsAfterTheFirstWrite).await;
    let store = store_at("s3://graphs/debian", &endpoint, "secret");
    let error = store
        .put_if_absent(&key("c/1"), Bytes::from("mine"))
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::ReadBack, "{error}");
    assert_eq!(
        fake.writes.load(Ordering::Relaxed),
        1,
        "a second attempt would have met the first"
    );
    assert_eq!(store.get(&key("c/1")).await.unwrap().unwrap().bytes, "mine");
}

#[tokio::test]
async fn a_conflict_is_resolved_by_asking_again() {
    let (endpoint, fake) = Fake::start(Fault::ConflictsTwice).await;
    let store = store_at("s3://graphs/debian", &endpoint, "secret");
    let put = store
        .put_if_absent(&key("c/1"), Bytes::from("mine"))
        .await
        .unwrap();
    assert!(matches!(put, Put::Stored(_)));
    assert_eq!(fake.writes.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_large_object_whose_part_is_refused_leaves_nothing_and_certainly_was_not_written() {
    let (endpoint, fake) = Fake::start(Fault::RefusesASecondPart).await;
    let store = store_at("s3://graphs/debian", &endpoint, "secret");
    let bytes = Bytes::from(vec![7; PART_BYTES + 1]);
    let error = store.put(&key("big"), bytes).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Reject, "{error}");
    assert_eq!(fake.aborts.load(Ordering::Relaxed), 1);
    assert_eq!(store.get(&key("big")).await.unwrap(), None);
}

#[tokio::test]
async fn a_large_object_that_may_be_complete_is_in_doubt() {
    for (fault, expected) in [
        (Fault::None, None),
        (Fault::FailsAfterCompleting, Some(Remedy::ReadBack)),
    ] {
        let (endpoint, _fake) = Fake::start(fault).await;
        let store = store_at("s3://graphs/debian", &endpoint, "secret");
        let put = store.put(&key("big"), Bytes::from(vec![7; PART_BYTES + 1])).await;
        assert_eq!(put.err().map(|error| error.remedy()), expected, "{fault:?}");
        assert!(store.get(&key("big")).await.unwrap().is_some(), "{fault:?}");
    }
}
