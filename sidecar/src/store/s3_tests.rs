//! The `s3` backend against a real server that fails: killed, paused, not ours, without the bucket. The contract itself is
//! in `contract/`.

use std::time::{Duration, Instant};

use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bytes::Bytes;

use super::s3::{PART_BYTES, S3Store};
use super::s3_client::Timeouts;
use super::versitygw::{ACCESS_KEY, SECRET_KEY, Versitygw};
use super::{Key, Object, Put, Remedy, Store, StoreError, StoreOptions};

const BUCKET: &str = "graphs";
const ROOT: &str = "s3://graphs/debian";

/// A server with one bucket, and stores on it.
pub(super) struct Server {
    pub(super) process: Versitygw,
}

impl Server {
    pub(super) fn start() -> Self {
        Self {
            process: Versitygw::start(&[BUCKET]),
        }
    }

    /// A separately opened store, as a process of its own would have.
    pub(super) fn store(&self, uri: &str) -> S3Store {
        store_at(uri, &self.process.endpoint(), SECRET_KEY)
    }
}

/// Waits short times only.
pub(super) fn store_at(uri: &str, endpoint: &str, secret: &str) -> S3Store {
    let options = StoreOptions {
        endpoint: Some(endpoint.to_owned()),
        ..StoreOptions::from(uri)
    };
    let keys = Credentials::new(ACCESS_KEY, secret, None, None, "test");
    let timeouts = Timeouts {
        connect: Duration::from_secs(1),
        attempt: Duration::from_secs(3),
        operation: Duration::from_secs(9),
    };
    S3Store::open(options)
        .unwrap()
        .with(SharedCredentialsProvider::new(keys), timeouts)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn is_unknown(error: &StoreError) -> bool {
    matches!(error, StoreError::OutcomeUnknown { .. }) && error.remedy() == Remedy::ReadBack
}

#[tokio::test]
async fn a_paused_server_leaves_writes_in_doubt_and_reads_to_be_retried() {
    let server = Server::start();
    let store = server.store(ROOT);
    let etag = store.put(&key("w"), Bytes::from("one")).await.unwrap();
    server.process.pause();
    let (c, w, p) = (key("c"), key("w"), key("p"));
    let (create, replace, put, get) = tokio::join!(
        store.put_if_absent(&c, Bytes::from("mine")),
        store.put_if_match(&w, &etag, Bytes::from("two")),
        store.put(&p, Bytes::from("x")),
        store.get(&w),
    );
    for error in [create.unwrap_err(), replace.unwrap_err(), put.unwrap_err()] {
        assert!(is_unknown(&error), "{error:?}");
    }
    let error = get.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    server.process.resume();
    // The object decides what became of the writes: each is whole, or is not there.
    let created = store.get(&c).await.unwrap().map(|object| object.bytes);
    assert!(
        created.is_none() || created.as_deref() == Some(b"mine"),
        "{created:?}"
    );
    let replaced = store.get(&w).await.unwrap().unwrap().bytes;
    assert!(replaced == "one" || replaced == "two", "{replaced:?}");
}

#[tokio::test]
async fn a_server_that_is_gone_was_not_reached_and_one_that_is_back_holds_what_was_acknowledged() {
    let mut server = Server::start();
    let store = server.store(ROOT);
    let etag = store.put(&key("w"), Bytes::from("one")).await.unwrap();
    server.process.kill();
    let started = Instant::now();
    let mut errors = vec![store.get(&key("w")).await.unwrap_err()];
    // The connection that was open may be lost with the first request; later ones are refused.
    let _ = store.put(&key("w"), Bytes::from("one")).await;
    errors.push(
        store
            .put_if_absent(&key("c"), Bytes::from("x"))
            .await
            .unwrap_err(),
    );
    errors.push(
        store
            .put_if_match(&key("w"), &etag, Bytes::from("x"))
            .await
            .unwrap_err(),
    );
    errors.push(store.list("", None, 10).await.unwrap_err());
    for error in errors {
        assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
        assert!(error.to_string().contains(&server.process.endpoint()), "{error}");
    }
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    server.process.restart();
    let expected = Object {
        bytes: Bytes::from("one"),
        etag,
    };
    assert_eq!(store.get(&key("w")).await.unwrap(), Some(expected));
    assert_eq!(
        store.get(&key("c")).await.unwrap(),
        None,
        "it was reported as not written"
    );
}

/// Kills the server while writers race, and compares what they were told with what is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_amid_writes_makes_no_answer_a_lie() {
    const OBJECTS: usize = 400;
    let mut server = Server::start();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = server.store(ROOT);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for number in 0..OBJECTS {
                    let content = Bytes::from(format!("{writer}"));
                    let answer = store.put_if_absent(&key(&format!("c/{number}")), content).await;
                    let is_down = answer.is_err();
                    answers.push(answer);
                    if is_down {
                        break;
                    }
                }
                answers
            })
        })
        .collect();
    let watching = server.store(ROOT);
    while watching.get(&key("c/20")).await.unwrap().is_none() {}
    server.process.kill();
    let mut answers = Vec::new();
    for writer in writers {
        answers.push(writer.await.unwrap());
    }
    server.process.restart();
    assert!(
        answers.iter().any(|answers| answers.len() < OBJECTS),
        "the kill came too late to matter"
    );
    for number in 0..OBJECTS {
        let found = watching.get(&key(&format!("c/{number}"))).await.unwrap();
        let found = found.map(|object| String::from_utf8(object.bytes.to_vec()).unwrap());
        for (writer, answers) in answers.iter().enumerate() {
            let is_ours = found.as_deref() == Some(&writer.to_string());
            match answers.get(number) {
                Some(Ok(Put::Stored(_))) => {
                    assert!(is_ours, "c/{number}: {writer} was told so, found {found:?}")
                }
                Some(Ok(Put::Refused)) => {
                    assert!(
                        found.is_some() && !is_ours,
                        "c/{number}: {writer} was refused, found {found:?}"
                    );
                }
                Some(Err(error)) if error.remedy() == Remedy::ReadBack => {}
                Some(Err(error)) => {
                    assert!(!is_ours, "c/{number}: {writer} was told {error}, and it is there")
                }
                None => assert!(!is_ours, "c/{number}: {writer} never wrote it"),
            }
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_rejected_and_the_message_says_where_they_come_from() {
    let server = Server::start();
    let store = store_at(ROOT, &server.process.endpoint(), "not the secret");
    // An object that is there, so that a refusal is not taken for its absence.
    server.store(ROOT).put(&key("w"), Bytes::from("x")).await.unwrap();
    let mut errors = vec![store.get(&key("w")).await.unwrap_err()];
    errors.push(store.put(&key("w"), Bytes::from("x")).await.unwrap_err());
    errors.push(
        store
            .put_if_absent(&key("w"), Bytes::from("x"))
            .await
            .unwrap_err(),
    );
    errors.push(store.list("", None, 1).await.unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert_eq!(error.remedy(), Remedy::Reject, "{text}");
        assert!(
            text.contains("refuses these credentials (from AWS_ACCESS_KEY_ID"),
            "{text}"
        );
        assert!(text.contains(&server.process.endpoint()), "{text}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_rejected_and_named_with_its_server() {
    let server = Server::start();
    let store = server.store("s3://nowhere/debian");
    let mut errors = vec![store.get(&key("w")).await.unwrap_err()];
    errors.push(store.put(&key("w"), Bytes::from("x")).await.unwrap_err());
    errors.push(
        store
            .put_if_absent(&key("w"), Bytes::from("x"))
            .await
            .unwrap_err(),
    );
    errors.push(store.list("commits/", None, 1).await.unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert_eq!(error.remedy(), Remedy::Reject, "{text}");
        assert!(text.contains("the bucket does not exist"), "{text}");
        assert!(text.contains("s3://nowhere/debian/"), "{text}");
        assert!(
            text.contains(&format!("at {}", server.process.endpoint())),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_comes_back_whole() {
    let server = Server::start();
    let store = server.store(ROOT);
    let bytes: Vec<u8> = (0..PART_BYTES * 2 + 12_345)
        .map(|place| (place % 251) as u8)
        .collect();
    let bytes = Bytes::from(bytes);
    let etag = store.put(&key("big"), bytes.clone()).await.unwrap();
    assert!(etag.as_str().contains("-3"), "three parts: {etag:?}");
    let object = store.get(&key("big")).await.unwrap().unwrap();
    assert!(
        object.bytes == bytes && object.etag == etag,
        "{} bytes",
        object.bytes.len()
    );
    let replaced = store
        .put_if_match(&key("big"), &etag, Bytes::from("small"))
        .await
        .unwrap();
    assert!(matches!(replaced, Put::Stored(_)));
    // As a single request, because the condition must come with the content.
    let created = store
        .put_if_absent(&key("also-big"), bytes.clone())
        .await
        .unwrap();
    let Put::Stored(etag) = created else {
        panic!("refused on an empty store")
    };
    // This server may refuse before it has read the whole body, and then the refusal gets lost.
    match store.put_if_absent(&key("also-big"), bytes.slice(1..)).await {
        Ok(put) => assert_eq!(put, Put::Refused),
        Err(error) => assert!(is_unknown(&error), "{error:?}"),
    }
    assert_eq!(store.get(&key("also-big")).await.unwrap().unwrap().etag, etag);
}

#[tokio::test]
async fn a_listing_of_more_than_a_page_is_whole_and_in_order() {
    let server = Server::start();
    let store = server.store(ROOT);
    let dir = server.process.bucket_dir(BUCKET).join("debian/commits");
    std::fs::create_dir_all(&dir).unwrap();
    for number in 0..2500 {
        std::fs::write(dir.join(format!("{number:020}.json")), "{}").unwrap();
    }
    // Not a key, and on a page all the same.
    std::fs::write(dir.join(".hidden"), "x").unwrap();
    let listed = store.list("commits/", None, usize::MAX).await.unwrap();
    let names: Vec<_> = listed.iter().map(|entry| entry.key.to_string()).collect();
    let expected: Vec<_> = (0..2500)
        .map(|number| format!("commits/{number:020}.json"))
        .collect();
    assert_eq!(names, expected);
    let after = key(&format!("commits/{:020}.json", 1199));
    let listed = store.list("commits/", Some(&after), 1100).await.unwrap();
    assert_eq!(
        (listed.len(), listed[0].key.as_str()),
        (1100, expected[1200].as_str())
    );
    let mut removed = Vec::new();
    loop {
        match store.remove_below(&key("commits"), 10_000).await.unwrap() {
            0 => break,
            count => removed.push(count),
        }
    }
    assert_eq!(removed, [1000, 1000, 501]);
}
