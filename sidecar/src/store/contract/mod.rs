//! The contract of [`super::Store`] as tests, each run over every backend: whole objects here, conditional writes in
//! `conditional.rs`, listing in `list.rs`.

mod conditional;
mod list;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::s3_tests::Server;
use super::{Key, Object, Remedy, Store, StoreError, open};

const WRITERS: usize = 8;

/// One fresh, empty store, reachable by a URI.
struct Backend {
    name: &'static str,
    uri: String,
    /// Of the `s3` backend.
    server: Option<Server>,
    _dir: TempDir,
}

impl Backend {
    fn handle(&self) -> Arc<dyn Store> {
        match &self.server {
            Some(server) => Arc::new(server.store(&self.uri)),
            None => open(&self.uri).expect(self.name),
        }
    }

    /// As many separately opened handles, as separate processes would have.
    fn handles(&self) -> Vec<Arc<dyn Store>> {
        (0..WRITERS).map(|_| self.handle()).collect()
    }
}

fn backends() -> [Backend; 3] {
    ["file", "memory", "s3"].map(|name| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().display();
        let (uri, server) = match name {
            "file" => (format!("file://{path}/root"), None),
            "memory" => (format!("memory://{path}"), None),
            _ => ("s3://graphs/of/contract".to_owned(), Some(Server::start())),
        };
        Backend {
            name,
            uri,
            server,
            _dir: dir,
        }
    })
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn body(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

async fn keys(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(key);
    let entries = store.list(prefix, after.as_ref(), limit).await.unwrap();
    entries.into_iter().map(|entry| entry.key.to_string()).collect()
}

#[tokio::test]
async fn a_put_is_read_back_by_every_handle_and_replaces_what_was_there() {
    for backend in backends() {
        let (writer, reader) = (backend.handle(), backend.handle());
        assert_eq!(reader.get(&key("a/b")).await.unwrap(), None, "{}", backend.name);
        let first = writer.put(&key("a/b"), body("one")).await.unwrap();
        assert_eq!(
            reader.get(&key("a/b")).await.unwrap(),
            Some(Object {
                bytes: body("one"),
                etag: first.clone()
            })
        );
        let second = writer.put(&key("a/b"), body("")).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(
            reader.get(&key("a/b")).await.unwrap(),
            Some(Object {
                bytes: body(""),
                etag: second
            })
        );
        assert_eq!(
            reader.get(&key("a")).await.unwrap(),
            None,
            "a directory is no object"
        );
        assert_eq!(
            reader.get(&key("a/b/c")).await.unwrap(),
            None,
            "nothing is below an object"
        );
    }
}

#[tokio::test]
async fn a_delete_removes_one_object_and_may_be_repeated() {
    for backend in backends() {
        let store = backend.handle();
        for text in ["a/1", "a/2"] {
            store.put(&key(text), body("x")).await.unwrap();
        }
        for _ in 0..2 {
            store.delete(&key("a/1")).await.unwrap();
            assert_eq!(store.get(&key("a/1")).await.unwrap(), None);
            assert_eq!(keys(&*store, "", None, 10).await, ["a/2"], "{}", backend.name);
        }
        store.delete(&key("never/was")).await.unwrap();
        store.delete(&key("a/2/below")).await.unwrap();
        store.delete(&key("a/2")).await.unwrap();
        assert_eq!(keys(&*store, "", None, 10).await, [""; 0]);
        store.put(&key("a/1"), body("again")).await.unwrap();
    }
}

#[test]
fn a_bad_uri_is_refused_with_one_sentence_that_names_what_is_supported() {
    for uri in [
        "s3://",
        "gs://b",
        "",
        "/var/lib/x",
        "file:/x",
        "file://relative/x",
        "file://",
        "file:///",
        "file:///a/../b",
        "file:///a%20b",
        "memory://",
        "memory:x",
    ] {
        let error = open(uri).expect_err(uri);
        let text = error.to_string();
        assert!(matches!(error, StoreError::BadUri { .. }), "{text}");
        assert_eq!(error.remedy(), Remedy::Reject);
        assert!(
            text.contains(&format!("{uri:?}"))
                && text.contains("s3://bucket/prefix, file:///absolute/path and memory://name"),
            "{text}"
        );
    }
}

#[test]
fn only_the_file_backend_has_a_directory_to_watch() {
    let [file, memory, s3] = backends();
    let dir = file.handle().local_dir().unwrap().to_owned();
    assert_eq!(file.uri, format!("file://{}", dir.display()));
    assert!(dir.is_dir());
    assert_eq!(memory.handle().local_dir(), None);
    assert_eq!(s3.handle().local_dir(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_and_lists_beside_a_writer_see_whole_objects() {
    const SIZE: usize = 300_000;
    for backend in backends() {
        let (writer, reader) = (backend.handle(), backend.handle());
        writer.put(&key("big"), Bytes::from(vec![0; SIZE])).await.unwrap();
        let writing = tokio::spawn(async move {
            for round in 1..=40 {
                writer
                    .put(&key("big"), Bytes::from(vec![round; SIZE]))
                    .await
                    .unwrap();
            }
        });
        let mut seen = BTreeSet::new();
        loop {
            let done = writing.is_finished();
            let object = reader
                .get(&key("big"))
                .await
                .unwrap()
                .expect("it is never missing");
            assert!(
                object.bytes.iter().all(|byte| *byte == object.bytes[0]),
                "{}: mixed content",
                backend.name
            );
            let entries = reader.list("", None, 10).await.unwrap();
            let listed: Vec<_> = entries
                .iter()
                .map(|entry| (entry.key.as_str(), entry.size))
                .collect();
            assert_eq!(listed, [("big", SIZE as u64)], "{}", backend.name);
            assert_eq!(object.bytes.len(), SIZE);
            seen.insert(object.bytes[0]);
            if done {
                break;
            }
        }
        writing.await.unwrap();
        assert!(
            seen.contains(&40),
            "{}: the last write is not visible",
            backend.name
        );
    }
}
