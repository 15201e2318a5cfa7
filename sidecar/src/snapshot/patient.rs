//! The store, asked again while that may help: a snapshot is many requests, and one that fails must not cost all of it.

use std::time::Duration;

use bytes::Bytes;

use crate::store::{Entry, Key, Object, Put, Remedy, Store, StoreError};

/// Tries of one request, and the wait after the first; doubled after each.
const TRIES: (u32, Duration) = (5, Duration::from_millis(200));

/// A store whose requests are repeated. Every request here may be: it either changes nothing or the same thing again.
#[derive(Clone, Copy)]
pub(super) struct Patient<'a>(pub(super) &'a dyn Store);

struct Tries {
    left: u32,
    wait: Duration,
}

impl Tries {
    fn new() -> Self {
        Self {
            left: TRIES.0 - 1,
            wait: TRIES.1,
        }
    }

    /// Waits until the next try, or gives the error back: it is final.
    async fn again(&mut self, error: StoreError) -> Result<(), StoreError> {
        if self.left == 0 || error.remedy() == Remedy::Reject {
            return Err(error);
        }
        tracing::debug!(%error, retry_in = ?self.wait, "a request of a snapshot failed");
        tokio::time::sleep(self.wait).await;
        self.left -= 1;
        self.wait *= 2;
        Ok(())
    }
}

impl Patient<'_> {
    pub(super) async fn get(self, key: &Key) -> Result<Option<Object>, StoreError> {
        let mut tries = Tries::new();
        loop {
            match self.0.get(key).await {
                Ok(found) => return Ok(found),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    pub(super) async fn put(self, key: &Key, bytes: &Bytes) -> Result<(), StoreError> {
        let mut tries = Tries::new();
        loop {
            match self.0.put(key, bytes.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Creates the object; `false` when there is one with other content. One with the same content counts as ours: an earlier
    /// try may have met with success unknown.
    pub(super) async fn create(self, key: &Key, bytes: &Bytes) -> Result<bool, StoreError> {
        let mut tries = Tries::new();
        loop {
            let error = match self.0.put_if_absent(key, bytes.clone()).await {
                Ok(Put::Stored(_)) => return Ok(true),
                Ok(Put::Refused) => None,
                Err(error) => Some(error),
            };
            match (self.get(key).await?, error) {
                (Some(found), _) => return Ok(found.bytes == *bytes),
                (None, Some(error)) => tries.again(error).await?,
                // Deleted in between.
                (None, None) => {}
            }
        }
    }

    pub(super) async fn delete(self, key: &Key) -> Result<(), StoreError> {
        let mut tries = Tries::new();
        loop {
            match self.0.delete(key).await {
                Ok(()) => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// The objects below `prefix`, at most `limit`.
    pub(super) async fn list(self, prefix: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut tries = Tries::new();
        loop {
            match self.0.list(prefix, None, limit).await {
                Ok(entries) => return Ok(entries),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Removes everything below a directory.
    pub(super) async fn remove_all(self, directory: &Key) -> Result<(), StoreError> {
        const STEP: usize = 1000;
        let mut tries = Tries::new();
        loop {
            match self.0.remove_below(directory, STEP).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => tries.again(error).await?,
            }
        }
    }
}
