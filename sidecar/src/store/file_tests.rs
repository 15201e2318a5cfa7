//! What is particular to the `file` backend: leftovers of crashes, permissions, and errors of the file system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;

use super::FileStore;
use crate::store::{Key, Put, Remedy, Store};

fn fresh() -> (TempDir, FileStore) {
    let dir = TempDir::new().unwrap();
    let store = FileStore::open(&dir.path().join("made/on/opening")).unwrap();
    (dir, store)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Names in a directory of the store, hidden ones too.
fn names(store: &FileStore, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(store.files.root.join(dir)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn temporary_files_left_by_a_crash_are_neither_listed_nor_in_the_way() {
    let (_dir, store) = fresh();
    fs::create_dir(store.files.root.join("c")).unwrap();
    fs::write(store.files.root.join("c/.tmp-abc"), "half a rec").unwrap();
    assert!(matches!(
        store
            .put_if_absent(&key("c/1"), Bytes::from("one"))
            .await
            .unwrap(),
        Put::Stored(_)
    ));
    let listed = store.list("", None, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(),
        ["c/1"]
    );
}

#[tokio::test]
async fn a_crash_between_link_and_unlink_leaves_a_whole_object() {
    let (_dir, store) = fresh();
    let temp = store.files.write_temp(&key("c/1"), b"one").unwrap();
    fs::hard_link(temp.path(), store.files.root.join("c/1")).unwrap();
    let _left_behind = temp.keep().unwrap();
    assert_eq!(store.get(&key("c/1")).await.unwrap().unwrap().bytes, "one");
    assert_eq!(
        store
            .put_if_absent(&key("c/1"), Bytes::from("two"))
            .await
            .unwrap(),
        Put::Refused
    );
    store.put(&key("c/1"), Bytes::from("three")).await.unwrap();
    assert_eq!(store.get(&key("c/1")).await.unwrap().unwrap().bytes, "three");
    assert_eq!(store.list("c/", None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_call_leaves_a_temporary_file_behind() {
    let (_dir, store) = fresh();
    let etag = store.put(&key("c/1"), Bytes::from("one")).await.unwrap();
    assert_eq!(
        store
            .put_if_absent(&key("c/1"), Bytes::from("two"))
            .await
            .unwrap(),
        Put::Refused
    );
    assert!(matches!(
        store
            .put_if_match(&key("c/1"), &etag, Bytes::from("two"))
            .await
            .unwrap(),
        Put::Stored(_)
    ));
    assert_eq!(
        store
            .put_if_match(&key("c/1"), &etag, Bytes::from("three"))
            .await
            .unwrap(),
        Put::Refused
    );
    assert!(matches!(
        store.put_if_absent(&key("c/2"), Bytes::from("x")).await.unwrap(),
        Put::Stored(_)
    ));
    assert_eq!(names(&store, "c"), ["1", "2"]);
}

#[tokio::test]
async fn objects_have_the_permissions_of_ordinary_files_so_that_other_pods_can_read_them() {
    let (dir, store) = fresh();
    store.put(&key("a"), Bytes::from("x")).await.unwrap();
    let ordinary = dir.path().join("ordinary");
    fs::write(&ordinary, "x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&store.files.root.join("a")), mode(&ordinary));
}

#[tokio::test]
async fn a_directory_removed_by_somebody_is_made_again() {
    let (_dir, store) = fresh();
    store.put(&key("a/b/c"), Bytes::from("x")).await.unwrap();
    fs::remove_dir_all(store.files.root.join("a")).unwrap();
    assert_eq!(store.list("a/", None, 10).await.unwrap(), []);
    store.put(&key("a/b/c"), Bytes::from("y")).await.unwrap();
    assert_eq!(store.get(&key("a/b/c")).await.unwrap().unwrap().bytes, "y");
}

#[tokio::test]
async fn a_key_below_an_object_is_rejected_with_the_path() {
    let (_dir, store) = fresh();
    store.put(&key("a"), Bytes::from("x")).await.unwrap();
    let error = store.put(&key("a/b"), Bytes::from("y")).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Reject, "{error:?}");
    assert!(error.to_string().contains("/made/on/opening/a/b"), "{error}");
}

#[tokio::test]
async fn a_lock_held_by_a_stopped_process_delays_but_writes_nothing() {
    let (_dir, store) = fresh();
    let etag = store.put(&key("w"), Bytes::from("one")).await.unwrap();
    let held = store.files.lock(&key("w")).unwrap();
    let files = std::sync::Arc::clone(&store.files);
    let waiting = tokio::task::spawn_blocking(move || files.put_if_match(&key("w"), &etag, b"two"));
    // Reading and creating need no lock.
    assert_eq!(store.get(&key("w")).await.unwrap().unwrap().bytes, "one");
    assert_eq!(
        store.put_if_absent(&key("w"), Bytes::from("x")).await.unwrap(),
        Put::Refused
    );
    assert!(!waiting.is_finished());
    drop(held);
    assert!(matches!(waiting.await.unwrap().unwrap(), Put::Stored(_)));
}

#[tokio::test]
async fn what_crashed_puts_left_an_hour_ago_goes_with_the_next_write_to_that_directory() {
    let (_dir, store) = fresh();
    let dir = store.files.root.join("c");
    fs::create_dir(&dir).unwrap();
    for (name, age) in [(".tmp-old", 7200), (".tmp-new", 60)] {
        fs::write(dir.join(name), "half a rec").unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        fs::File::options()
            .write(true)
            .open(dir.join(name))
            .unwrap()
            .set_modified(then)
            .unwrap();
    }
    store.put(&key("c/1"), Bytes::from("one")).await.unwrap();
    assert_eq!(names(&store, "c"), [".tmp-new", "1"]);
}

#[tokio::test]
async fn what_could_not_be_made_durable_is_not_read_back_before_it_is() {
    let (_dir, store) = fresh();
    store.put(&key("c/1"), Bytes::from("one")).await.unwrap();
    // As after a sync that failed: another directory in its place, which cannot be synced while it is not there.
    store.files.unsynced().insert(store.files.root.join("c"));
    let (c, away) = (store.files.root.join("c"), store.files.root.join("away"));
    fs::rename(&c, &away).unwrap();
    let error = store.get(&key("c/1")).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    fs::rename(&away, &c).unwrap();
    assert_eq!(store.get(&key("c/1")).await.unwrap().unwrap().bytes, "one");
    assert!(store.files.unsynced().is_empty());
}

/// A file system of a few pages; `None`, saying so, where this process may not make one.
struct Tiny(TempDir);

impl Tiny {
    fn mounted(options: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            refused => {
                eprintln!("skipped: it takes root and mount(8) to make a full disk: {refused:?}");
                None
            }
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_fails_every_write_says_so_and_leaves_every_object_as_it_was() {
    let Some(disk) = Tiny::mounted("size=256k") else {
        return;
    };
    let store = FileStore::open(&disk.0.path().join("root")).unwrap();
    let etag = store.put(&key("c/1"), Bytes::from("one")).await.unwrap();
    let large = Bytes::from(vec![7_u8; 1 << 20]);
    let errors = [
        store.put(&key("c/1"), large.clone()).await.unwrap_err(),
        store.put_if_absent(&key("c/2"), large.clone()).await.unwrap_err(),
        store.put_if_match(&key("c/1"), &etag, large).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.remedy(), Remedy::Retry, "nothing happened: {error}");
        let text = error.to_string();
        assert!(
            text.contains("No space left on device") && text.contains("/root/c/"),
            "{text}"
        );
    }
    assert_eq!(names(&store, "c"), ["1"], "no temporary file holds the space");
    assert_eq!(store.get(&key("c/1")).await.unwrap().unwrap().bytes, "one");
    // With room again, it goes on.
    let put = store
        .put_if_absent(&key("c/2"), Bytes::from("two"))
        .await
        .unwrap();
    assert!(matches!(put, Put::Stored(_)));
}

#[tokio::test]
async fn without_room_for_another_name_a_put_happens_not_at_all() {
    // Each name takes one of the inodes: the root, `root`, `.locks`, `c`, its lock, and one temporary file.
    for inodes in 5..16 {
        let Some(disk) = Tiny::mounted(&format!("size=256k,nr_inodes={inodes}")) else {
            return;
        };
        let Ok(store) = FileStore::open(&disk.0.path().join("root")) else {
            continue;
        };
        let mut stored = Vec::new();
        let refused = loop {
            let name = format!("c/{}", stored.len());
            match store.put_if_absent(&key(&name), Bytes::from(name.clone())).await {
                Ok(put) => assert!(matches!(put, Put::Stored(_)), "{inodes}: {name}"),
                Err(error) => break error,
            }
            stored.push(name);
        };
        assert_eq!(refused.remedy(), Remedy::Retry, "{inodes}: {refused}");
        assert!(
            refused.to_string().contains("No space left on device"),
            "{inodes}: {refused}"
        );
        let listed = store.list("", None, 100).await.unwrap();
        let listed: Vec<&str> = listed.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(listed, stored, "{inodes}");
    }
}
