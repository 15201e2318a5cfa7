//! Listing by whole key in order, page by page, and removing what is listed below a directory.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{backends, body, key, keys};

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
