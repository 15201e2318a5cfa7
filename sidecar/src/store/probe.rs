//! Finds out, by trying, whether the store honours conditional writes: the commit point and the epoch rest on them, and a
//! server that ignores the headers would let two writers commit the same `seq` without an error.
//!
//! Cost: five small requests and a delete, on an object of its own, so processes that start together do not meet. A crash
//! in between leaves that object behind (`probes/…`, a few bytes), which nobody reads.

use bytes::Bytes;
use uuid::Uuid;

use super::{Key, Put, Store, StoreError};

/// Tries both conditional writes the way the commit log and `writer.json` use them.
///
/// # Errors
/// [`StoreError::NotConditional`] says which write went wrong; otherwise why the store could not be asked.
pub async fn check_conditional_writes(store: &dyn Store) -> Result<(), StoreError> {
    let key = Key::new(format!("{PROBES}/{}", Uuid::now_v7()))?;
    let tried = try_out(store, &key).await;
    let deleted = store.delete(&key).await;
    tried.and(deleted)
}

/// Where the objects that are tried on are.
pub(crate) const PROBES: &str = "probes";

async fn try_out(store: &dyn Store, key: &Key) -> Result<(), StoreError> {
    let wrong = |found| Err(StoreError::NotConditional { found });
    let Put::Stored(first) = store.put_if_absent(key, Bytes::from_static(b"first")).await? else {
        return wrong("it refused to create an object that did not exist (If-None-Match: *)");
    };
    if store.put_if_absent(key, Bytes::from_static(b"again")).await? != Put::Refused {
        return wrong("it created an object twice (If-None-Match: * is ignored)");
    }
    let Put::Stored(second) = store
        .put_if_match(key, &first, Bytes::from_static(b"second"))
        .await?
    else {
        return wrong("it refused to replace an object whose ETag was the expected one (If-Match)");
    };
    if store
        .put_if_match(key, &first, Bytes::from_static(b"stale"))
        .await?
        != Put::Refused
    {
        return wrong("it replaced an object whose ETag was not the expected one (If-Match is ignored)");
    }
    match store.get(key).await? {
        Some(object) if object.bytes == "second" && object.etag == second => Ok(()),
        _ => wrong("it did not return what was written last"),
    }
}
