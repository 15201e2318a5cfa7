//! The `memory` backend: a map, shared by name within the process. For tests; nothing outlives the process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{ETag, Entry, Key, Object, Put, Store, StoreError};

type Stores = HashMap<String, Arc<MemoryStore>>;

static STORES: LazyLock<Mutex<Stores>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
pub(super) struct MemoryStore {
    objects: Mutex<BTreeMap<Key, Object>>,
}

impl MemoryStore {
    /// The store of that name; made on first use.
    pub(super) fn shared(name: &str) -> Arc<Self> {
        Arc::clone(lock(&STORES).entry(name.to_owned()).or_default())
    }
}

/// No holder leaves a map half changed, so a panic elsewhere does not matter here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn insert(objects: &mut BTreeMap<Key, Object>, key: &Key, bytes: Bytes) -> ETag {
    let etag = ETag::of_content(&bytes);
    objects.insert(
        key.clone(),
        Object {
            bytes,
            etag: etag.clone(),
        },
    );
    etag
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        Ok(lock(&self.objects).get(key).cloned())
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<ETag, StoreError> {
        Ok(insert(&mut lock(&self.objects), key, bytes))
    }

    async fn put_if_absent(&self, key: &Key, bytes: Bytes) -> Result<Put, StoreError> {
        let mut objects = lock(&self.objects);
        if objects.contains_key(key) {
            return Ok(Put::Refused);
        }
        Ok(Put::Stored(insert(&mut objects, key, bytes)))
    }

    async fn put_if_match(&self, key: &Key, expected: &ETag, bytes: Bytes) -> Result<Put, StoreError> {
        let mut objects = lock(&self.objects);
        if objects.get(key).is_none_or(|object| object.etag != *expected) {
            return Ok(Put::Refused);
        }
        Ok(Put::Stored(insert(&mut objects, key, bytes)))
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let objects = lock(&self.objects);
        let entries = objects
            .range::<Key, _>((from, Bound::Unbounded))
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .take(limit)
            .map(|(key, object)| Entry {
                key: key.clone(),
                size: object.bytes.len() as u64,
            });
        Ok(entries.collect())
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        lock(&self.objects).remove(key);
        Ok(())
    }

    async fn remove_below(&self, dir: &Key, limit: usize) -> Result<usize, StoreError> {
        let below = format!("{dir}/");
        let mut objects = lock(&self.objects);
        let keys = objects.keys().filter(|key| key.as_str().starts_with(&below));
        let keys: Vec<Key> = keys.take(limit).cloned().collect();
        keys.iter().for_each(|key| {
            objects.remove(key);
        });
        Ok(keys.len())
    }

    fn local_dir(&self) -> Option<&Path> {
        None
    }
}
