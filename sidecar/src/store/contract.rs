//! The contract of [`super::Store`] as tests, each run over every backend.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::s3_tests::Server;
use super::{Key, Object, Put, Remedy, Store, StoreError, open};

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
async fn put_if_absent_stores_once_and_then_refuses_without_changing_anything() {
    for backend in backends() {
        let store = backend.handle();
        let Put::Stored(etag) = store.put_if_absent(&key("c/1"), body("one")).await.unwrap() else {
            panic!("{}: refused on an empty store", backend.name)
        };
        for content in ["two", "one"] {
            assert_eq!(
                store.put_if_absent(&key("c/1"), body(content)).await.unwrap(),
                Put::Refused
            );
        }
        assert_eq!(
            store.get(&key("c/1")).await.unwrap(),
            Some(Object {
                bytes: body("one"),
                etag
            })
        );
        store.delete(&key("c/1")).await.unwrap();
        assert!(matches!(
            store.put_if_absent(&key("c/1"), body("three")).await.unwrap(),
            Put::Stored(_)
        ));
    }
}

#[tokio::test]
async fn put_if_match_replaces_only_the_content_it_was_told() {
    for backend in backends() {
        let store = backend.handle();
        let first = store.put(&key("w"), body("one")).await.unwrap();
        let Put::Stored(second) = store.put_if_match(&key("w"), &first, body("two")).await.unwrap() else {
            panic!("{}: refused with the current etag", backend.name)
        };
        assert_eq!(
            store
                .put_if_match(&key("w"), &first, body("three"))
                .await
                .unwrap(),
            Put::Refused
        );
        assert_eq!(
            store
                .put_if_match(&key("other"), &second, body("x"))
                .await
                .unwrap(),
            Put::Refused,
            "it is missing"
        );
        assert_eq!(store.get(&key("other")).await.unwrap(), None);
        assert_eq!(
            store.get(&key("w")).await.unwrap(),
            Some(Object {
                bytes: body("two"),
                etag: second.clone()
            })
        );
        store.delete(&key("w")).await.unwrap();
        assert_eq!(
            store
                .put_if_match(&key("w"), &second, body("four"))
                .await
                .unwrap(),
            Put::Refused,
            "it was deleted"
        );
    }
}

/// Runs one task per handle, all released at once, and returns their answers.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    handles: Vec<Arc<dyn Store>>,
    run: impl Fn(usize, Arc<dyn Store>) -> F,
) -> Vec<T> {
    let barrier = Arc::new(tokio::sync::Barrier::new(handles.len()));
    let spawn = |(writer, store)| {
        let (barrier, work) = (Arc::clone(&barrier), run(writer, store));
        tokio::spawn(async move {
            barrier.wait().await;
            work.await
        })
    };
    let tasks: Vec<_> = handles.into_iter().enumerate().map(spawn).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Checks that one writer won, and that the object holds what that one wrote.
async fn assert_one_winner(store: &dyn Store, key: &Key, answers: &[Put], context: &str) {
    let winners: Vec<usize> = (0..answers.len())
        .filter(|&writer| answers[writer] != Put::Refused)
        .collect();
    assert_eq!(winners.len(), 1, "{context}: winners {winners:?}");
    let object = store.get(key).await.unwrap().unwrap();
    assert_eq!(object.bytes, body(format!("writer {}", winners[0])), "{context}");
    assert_eq!(answers[winners[0]], Put::Stored(object.etag), "{context}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_writers_exactly_one_creates_an_object() {
    for backend in backends() {
        let store = backend.handle();
        for round in 0..25 {
            // Odd rounds share one handle, even ones open eight.
            let handles = if round % 2 == 0 {
                backend.handles()
            } else {
                vec![Arc::clone(&store); WRITERS]
            };
            let key = key(&format!("commits/{round}"));
            let raced = key.clone();
            let answers = race(handles, move |writer, store| {
                let key = raced.clone();
                async move {
                    store
                        .put_if_absent(&key, body(format!("writer {writer}")))
                        .await
                        .unwrap()
                }
            });
            assert_one_winner(
                &*store,
                &key,
                &answers.await,
                &format!("{} round {round}", backend.name),
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_writers_exactly_one_replaces_an_object() {
    for backend in backends() {
        let store = backend.handle();
        for round in 0..25 {
            let handles = if round % 2 == 0 {
                backend.handles()
            } else {
                vec![Arc::clone(&store); WRITERS]
            };
            let key = key("writer.json");
            let etag = store.put(&key, body(format!("round {round}"))).await.unwrap();
            let raced = key.clone();
            let answers = race(handles, move |writer, store| {
                let (key, etag) = (raced.clone(), etag.clone());
                async move {
                    store
                        .put_if_match(&key, &etag, body(format!("writer {writer}")))
                        .await
                        .unwrap()
                }
            });
            assert_one_winner(
                &*store,
                &key,
                &answers.await,
                &format!("{} round {round}", backend.name),
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_by_compare_and_swap_is_lost() {
    const INCREMENTS: u32 = 10;
    async fn increment(store: &dyn Store, key: &Key) {
        loop {
            let object = store.get(key).await.unwrap().unwrap();
            let count: u32 = std::str::from_utf8(&object.bytes).unwrap().parse().unwrap();
            let next = body((count + 1).to_string());
            if store.put_if_match(key, &object.etag, next).await.unwrap() != Put::Refused {
                return;
            }
        }
    }
    for backend in backends() {
        backend.handle().put(&key("count"), body("0")).await.unwrap();
        race(backend.handles(), |_, store| async move {
            for _ in 0..INCREMENTS {
                increment(&*store, &key("count")).await;
            }
        })
        .await;
        let total = backend.handle().get(&key("count")).await.unwrap().unwrap();
        assert_eq!(
            total.bytes,
            body((INCREMENTS * WRITERS as u32).to_string()),
            "{}",
            backend.name
        );
    }
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

#[tokio::test]
async fn a_list_is_sorted_by_whole_key_and_bounded_by_prefix_after_and_limit() {
    for backend in backends() {
        let store = backend.handle();
        // '-' and '.' sort before '/', digits after it.
        let sorted = [
            "a-b", "a.json", "a/1", "a/2/x", "a/2/y", "a/20", "a/3", "a0", "b/1", "ü/1",
        ];
        for text in [
            "a0", "a/20", "b/1", "a/2/y", "ü/1", "a/1", "a.json", "a/3", "a-b", "a/2/x",
        ] {
            store.put(&key(text), body(text)).await.unwrap();
        }
        let all = usize::MAX;
        assert_eq!(keys(&*store, "", None, all).await, sorted, "{}", backend.name);
        assert_eq!(
            keys(&*store, "a/", None, all).await,
            ["a/1", "a/2/x", "a/2/y", "a/20", "a/3"]
        );
        assert_eq!(keys(&*store, "a/2", None, all).await, ["a/2/x", "a/2/y", "a/20"]);
        assert_eq!(keys(&*store, "a/2/", None, all).await, ["a/2/x", "a/2/y"]);
        assert_eq!(keys(&*store, "a/2/x", None, all).await, ["a/2/x"]);
        assert_eq!(
            keys(&*store, "a/", Some("a/2/x"), all).await,
            ["a/2/y", "a/20", "a/3"]
        );
        assert_eq!(
            keys(&*store, "a/", Some("a/2"), 2).await,
            ["a/2/x", "a/2/y"],
            "`after` need not exist"
        );
        assert_eq!(keys(&*store, "", Some("a/20"), 2).await, ["a/3", "a0"]);
        assert_eq!(
            keys(&*store, "b", Some("a"), all).await,
            ["b/1"],
            "`after` before the prefix"
        );
        for nothing in ["c", "a/4", "a/1/", "/", "../", "a//", "a/../a/", ".", ".locks/"] {
            assert_eq!(
                keys(&*store, nothing, None, all).await,
                [""; 0],
                "{} {nothing:?}",
                backend.name
            );
        }
        assert_eq!(keys(&*store, "a/", Some("b"), all).await, [""; 0]);
        assert_eq!(keys(&*store, "", None, 0).await, [""; 0]);
    }
}

#[tokio::test]
async fn random_pages_of_random_keys_equal_those_of_a_sorted_set() {
    let seed = rand::random();
    println!("seed {seed}");
    for backend in backends() {
        let mut random = StdRng::seed_from_u64(seed);
        let store = backend.handle();
        let mut model = BTreeSet::new();
        for _ in 0..60 {
            let mut text = format!("f{}", random.random_range(0..30));
            for _ in 0..random.random_range(0..3) {
                text = format!("{}/{text}", ["d", "d-", "d0", "e"][random.random_range(0..4)]);
            }
            store.put(&key(&text), body("x")).await.unwrap();
            model.insert(text);
        }
        for _ in 0..100 {
            let prefix = ["", "d", "d/", "d0/", "d/d", "e/f1", "f"][random.random_range(0..7)];
            let after = model.iter().nth(random.random_range(0..model.len())).cloned();
            let limit = random.random_range(1..20);
            let matches = |text: &&String| text.starts_with(prefix) && Some(*text) > after.as_ref();
            let expected: Vec<_> = model.iter().filter(matches).take(limit).cloned().collect();
            let listed = keys(&*store, prefix, after.as_deref(), limit).await;
            assert_eq!(
                listed, expected,
                "{} seed {seed} {prefix:?} {after:?} {limit}",
                backend.name
            );
        }
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

#[tokio::test]
async fn what_is_below_a_directory_is_removed_in_steps_and_nothing_beside_it() {
    for backend in backends() {
        let store = backend.handle();
        for text in [
            "lance/a/1",
            "lance/a/2",
            "lance/b",
            "lance.json",
            "lance2/x",
            "a/lance/x",
        ] {
            store.put(&key(text), body("x")).await.unwrap();
        }
        for expected in [2, 1, 0, 0] {
            assert_eq!(
                store.remove_below(&key("lance"), 2).await.unwrap(),
                expected,
                "{}",
                backend.name
            );
        }
        assert_eq!(
            keys(&*store, "", None, 10).await,
            ["a/lance/x", "lance.json", "lance2/x"],
            "{}",
            backend.name
        );
    }
}

#[tokio::test]
async fn every_backend_is_found_to_honour_conditional_writes_by_processes_that_start_together() {
    for backend in backends() {
        let checks = race(backend.handles(), |_, store| async move {
            super::check_conditional_writes(&*store).await.unwrap();
        });
        checks.await;
        assert_eq!(
            keys(&*backend.handle(), "", None, 10).await,
            [""; 0],
            "{}",
            backend.name
        );
    }
}
