//! Between a body and the reader of its batches: back-pressure, who is told when the other ends, and errors that are not the body's.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};

use crate::rows::tests::everything;
use crate::rows::{DecodeError, Format, decode_stream};

#[tokio::test]
async fn an_error_of_the_transport_is_passed_on() {
    for format in [Format::Ndjson, Format::ArrowStream, Format::Parquet] {
        let body = stream::iter([Ok(Bytes::new()), Err(io::Error::other("connection reset"))]);
        let error = decode_stream(everything(), format, body, 10, &std::env::temp_dir())
            .try_collect::<Vec<_>>()
            .await;
        let DecodeError::Body(source) = error.unwrap_err() else {
            panic!("{format}")
        };
        assert_eq!(source.to_string(), "connection reset");
    }
}

#[tokio::test]
async fn a_spool_directory_that_is_missing_is_an_error_of_its_own() {
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let body = stream::iter([Ok::<_, io::Error>(Bytes::new())]);
    let batches = decode_stream(everything(), Format::Parquet, body, 10, &missing)
        .try_collect::<Vec<_>>()
        .await;
    assert!(matches!(batches.unwrap_err(), DecodeError::Spool(_)));
}

#[tokio::test]
async fn a_decoder_that_panics_does_not_look_like_the_end() {
    let body =
        stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, io::Error>>> { panic!("broken body") });
    let batches: Vec<_> = decode_stream(everything(), Format::Ndjson, body, 10, &std::env::temp_dir())
        .collect()
        .await;
    assert!(
        matches!(batches.as_slice(), [Err(DecodeError::Stopped { .. })]),
        "{batches:?}"
    );
}

/// Counts how often it was asked, and says when it is dropped.
fn watched(
    asked: Arc<AtomicUsize>,
    line: &'static str,
) -> (
    impl Stream<Item = Result<Bytes, io::Error>>,
    tokio::sync::oneshot::Receiver<()>,
) {
    let (guard, dropped) = tokio::sync::oneshot::channel::<()>();
    let body = stream::repeat_with(move || {
        let _held = &guard;
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(line))
    });
    (body, dropped)
}

#[tokio::test]
async fn the_body_is_read_no_faster_than_its_batches_are_taken_and_dropped_with_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (body, dropped) = watched(Arc::clone(&asked), "{\"id\": 1}\n");
    let mut batches = Box::pin(decode_stream(
        everything(),
        Format::Ndjson,
        body,
        1,
        &std::env::temp_dir(),
    ));
    for _ in 0..10 {
        batches.next().await.unwrap().unwrap();
    }
    // Taken, waiting in the channel, waiting to be sent, and one being made.
    assert!(asked.load(Ordering::Relaxed) <= 13);
    drop(batches);
    // Its sender is dropped with the body.
    assert!(dropped.await.is_err());
}

#[tokio::test]
async fn a_silent_body_is_dropped_when_nobody_waits_for_it() {
    let (guard, dropped) = tokio::sync::oneshot::channel::<()>();
    let silent = stream::poll_fn(move |_| -> std::task::Poll<Option<Result<Bytes, io::Error>>> {
        let _held = &guard;
        std::task::Poll::Pending
    });
    drop(decode_stream(
        everything(),
        Format::Parquet,
        silent,
        10,
        &std::env::temp_dir(),
    ));
    assert!(dropped.await.is_err());
}
