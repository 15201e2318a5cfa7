//! The `s3` backend: the object `a/b` is the object `<prefix>/a/b` of one bucket, on AWS or any server that honours
//! `If-None-Match: *` and `If-Match` (`probe.rs` finds out).
//!
//! Owns: which requests an operation of the contract is. Does not own: the clients (`s3_client`), what a failure means
//! (`s3_verdict`), repeating writes (`s3_settle`), large objects (`s3_multipart`).
//!
//! The SDK sends a checksum with every body and checks those that the server returns. Conditional writes are one request
//! each, whatever their size: the condition and the content arrive together.

use std::path::Path;

use async_trait::async_trait;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::s3_address::S3Address;
use super::s3_client::{Clients, Timeouts};
use super::s3_settle::{Condition, settle, wait};
use super::s3_verdict::{Failed, Verdict, causes, judge};
use super::{
    ETag, Entry, Key, Object, Put, Remedy, Store, StoreError, StoreOptions, file_list, s3_multipart,
};

/// Larger objects go in parts of this size, except by conditional writes.
pub(super) const PART_BYTES: usize = 16 << 20;
/// How often a body is asked for again that broke off on the way.
const BODY_ATTEMPTS: u32 = 4;
/// What S3 lists or deletes with one request at most.
const PAGE_OBJECTS: usize = 1000;

#[derive(Debug)]
pub(super) struct S3Store {
    address: S3Address,
    timeouts: Timeouts,
    credentials: Option<SharedCredentialsProvider>,
    /// Made at the first use: finding credentials may take requests.
    clients: OnceCell<Clients>,
}

impl S3Store {
    /// Checks where it is; sends nothing yet.
    pub(super) fn open(options: StoreOptions) -> Result<Self, StoreError> {
        Ok(Self {
            address: S3Address::new(&options.with_environment())?,
            timeouts: Timeouts::default(),
            credentials: None,
            clients: OnceCell::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn with(self, credentials: SharedCredentialsProvider, timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            credentials: Some(credentials),
            ..self
        }
    }

    async fn clients(&self) -> Result<&Clients, StoreError> {
        let find = || Clients::find(&self.address, self.timeouts, self.credentials.clone());
        self.clients.get_or_try_init(find).await
    }

    async fn put_whole(
        &self,
        key: &Key,
        bytes: Bytes,
        if_none_match: Option<&str>,
        if_match: Option<&str>,
    ) -> Result<Result<ETag, Failed>, StoreError> {
        let writes = &self.clients().await?.writes;
        let condition = if if_none_match.or(if_match).is_some() {
            Condition::Given
        } else {
            Condition::None
        };
        let sent = settle(condition, || {
            writes
                .put_object()
                .bucket(&self.address.bucket)
                .key(self.address.object(key.as_str()))
                .set_if_none_match(if_none_match.map(str::to_owned))
                .set_if_match(if_match.map(str::to_owned))
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .config_override(self.timeouts.for_body(bytes.len()))
                .send()
        })
        .await;
        Ok(sent.and_then(|output| etag(output.e_tag)))
    }

    /// The answer of a conditional write.
    fn decided(
        &self,
        sent: Result<ETag, Failed>,
        action: &'static str,
        key: &Key,
    ) -> Result<Put, StoreError> {
        match sent {
            Ok(etag) => Ok(Put::Stored(etag)),
            // `If-Match` on an object that is not there is answered by either.
            Err(failed) if matches!(failed.verdict, Verdict::Unmet | Verdict::Missing) => Ok(Put::Refused),
            Err(failed) => Err(failed.writing(action, self.address.place(key.as_str()))),
        }
    }

    /// The next objects, in order, whose names in the bucket begin with the root's prefix and `prefix`.
    async fn page(&self, prefix: &str, after: Option<String>, limit: usize) -> Result<Page, StoreError> {
        let output = self
            .clients()
            .await?
            .reads
            .list_objects_v2()
            .bucket(&self.address.bucket)
            .prefix(self.address.object(prefix))
            .set_start_after(after)
            .max_keys(i32::try_from(limit.min(PAGE_OBJECTS)).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| judge(&error).reading("list", self.address.place(prefix)))?;
        let objects = output.contents.unwrap_or_default().into_iter();
        let named = objects.filter_map(|object| {
            let size = u64::try_from(object.size.unwrap_or_default()).unwrap_or_default();
            Some((object.key?, size))
        });
        Ok(Page {
            objects: named.collect(),
            is_last: output.is_truncated != Some(true),
        })
    }
}

/// A part of a listing.
struct Page {
    /// Names in the bucket, and sizes in bytes.
    objects: Vec<(String, u64)>,
    is_last: bool,
}

fn etag(found: Option<String>) -> Result<ETag, Failed> {
    found.map(ETag).ok_or_else(|| Failed {
        verdict: Verdict::Faulty,
        reason: "the server's answer has no ETag".to_owned(),
    })
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let place = || self.address.place(key.as_str());
        let mut failures = 0;
        loop {
            let sent = self
                .clients()
                .await?
                .reads
                .get_object()
                .bucket(&self.address.bucket)
                .key(self.address.object(key.as_str()))
                .send()
                .await;
            let output = match sent.map_err(|error| judge(&error)) {
                Ok(output) => output,
                Err(failed) if failed.verdict == Verdict::Missing => return Ok(None),
                Err(failed) => return Err(failed.reading("read", place())),
            };
            let etag = etag(output.e_tag).map_err(|failed| failed.reading("read", place()))?;
            match output.body.collect().await {
                Ok(body) => {
                    let bytes = body.into_bytes();
                    return Ok(Some(Object { bytes, etag }));
                }
                // Broken off, or not what its checksum says; also when it was replaced meanwhile.
                Err(error) if failures + 1 == BODY_ATTEMPTS => {
                    return Err(StoreError::S3 {
                        action: "read",
                        place: place(),
                        reason: causes(&error),
                        remedy: Remedy::Retry,
                    });
                }
                Err(_) => failures += 1,
            }
            tokio::time::sleep(wait(failures)).await;
        }
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<ETag, StoreError> {
        let sent = if bytes.len() > PART_BYTES {
            let (clients, object) = (self.clients().await?, self.address.object(key.as_str()));
            s3_multipart::put(clients, self.timeouts, &self.address.bucket, object, bytes)
                .await
                .and_then(etag)
        } else {
            self.put_whole(key, bytes, None, None).await?
        };
        sent.map_err(|failed| failed.writing("write", self.address.place(key.as_str())))
    }

    async fn put_if_absent(&self, key: &Key, bytes: Bytes) -> Result<Put, StoreError> {
        let sent = self.put_whole(key, bytes, Some("*"), None).await?;
        match sent {
            // No object is needed for this one, so something else is missing.
            Err(failed) if failed.verdict == Verdict::Missing => {
                Err(failed.reading("create", self.address.place(key.as_str())))
            }
            sent => self.decided(sent, "create", key),
        }
    }

    async fn put_if_match(&self, key: &Key, expected: &ETag, bytes: Bytes) -> Result<Put, StoreError> {
        let sent = self.put_whole(key, bytes, None, Some(expected.as_str())).await?;
        self.decided(sent, "replace", key)
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        if !file_list::can_begin_keys(prefix) {
            return Ok(found);
        }
        let mut after = after.map(|key| self.address.object(key.as_str()));
        while found.len() < limit {
            let page = self.page(prefix, after, limit - found.len()).await?;
            after = page.objects.last().map(|(object, _)| object.clone());
            // Others may keep objects there whose names are no keys.
            let entries = page.objects.into_iter().filter_map(|(object, size)| {
                let key = self.address.key(&object)?;
                Some(Entry { key, size })
            });
            found.extend(entries);
            if page.is_last || after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let writes = &self.clients().await?.writes;
        let sent = settle(Condition::None, || {
            writes
                .delete_object()
                .bucket(&self.address.bucket)
                .key(self.address.object(key.as_str()))
                .send()
        });
        match sent.await {
            Ok(_) => Ok(()),
            Err(failed) if failed.verdict == Verdict::Missing => Ok(()),
            Err(failed) => Err(failed.writing("delete", self.address.place(key.as_str()))),
        }
    }

    async fn remove_below(&self, dir: &Key, limit: usize) -> Result<usize, StoreError> {
        let below = format!("{dir}/");
        let page = self.page(&below, None, limit).await?.objects;
        let count = page.len();
        if count == 0 {
            return Ok(0);
        }
        let failed = |failed: Failed| failed.writing("delete what is below", self.address.place(&below));
        let named = page
            .into_iter()
            .map(|(object, _)| ObjectIdentifier::builder().key(object).build());
        let objects = named.collect::<Result<Vec<_>, _>>();
        let delete =
            objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
        let delete = delete.map_err(|error| {
            failed(Failed {
                verdict: Verdict::Rejected,
                reason: error.to_string(),
            })
        })?;
        let writes = &self.clients().await?.writes;
        let sent = settle(Condition::None, || {
            writes
                .delete_objects()
                .bucket(&self.address.bucket)
                .delete(delete.clone())
                .send()
        });
        let output = sent.await.map_err(failed)?;
        match output.errors().first() {
            None => Ok(count),
            Some(error) => Err(failed(Failed {
                verdict: Verdict::Rejected,
                reason: format!(
                    "{}: {} ({})",
                    error.code().unwrap_or("no error code"),
                    error.message().unwrap_or_default(),
                    error.key().unwrap_or_default()
                ),
            })),
        }
    }

    fn local_dir(&self) -> Option<&Path> {
        None
    }
}
