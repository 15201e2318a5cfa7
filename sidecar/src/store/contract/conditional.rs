//! The two conditional writes: they store or refuse, and of any number of writers at the same time one wins.

use std::sync::Arc;

use super::{WRITERS, backends, body, key, keys};
use crate::store::{Key, Object, Put, Store, check_conditional_writes};

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

#[tokio::test]
async fn every_backend_is_found_to_honour_conditional_writes_by_processes_that_start_together() {
    for backend in backends() {
        let checks = race(backend.handles(), |_, store| async move {
            check_conditional_writes(&*store).await.unwrap();
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
