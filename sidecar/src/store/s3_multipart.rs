//! Large objects, in parts: nothing is visible before the last request, and a failure leaves no parts behind.
//!
//! Memory: the parts are slices of the caller's bytes. It runs on a task of its own, so that dropping the caller's future
//! does not leave parts in the bucket; those of a process that dies stay, for a lifecycle rule of the bucket to remove.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::s3::PART_BYTES;
use super::s3_client::{Clients, Timeouts};
use super::s3_settle::{Condition, settle};
use super::s3_verdict::{Failed, Verdict, judge};

/// Parts under way at a time.
const AT_ONCE: usize = 4;

/// Writes one object; gives its etag, if the server tells one.
///
/// Parts are repeated by the SDK, which is safe: nobody sees them. The completing request is a plain write.
pub(super) async fn put(
    clients: &Clients,
    timeouts: Timeouts,
    bucket: &str,
    object: String,
    bytes: Bytes,
) -> Result<Option<String>, Failed> {
    let upload = Upload {
        timeouts,
        parts: clients.reads.clone(),
        once: clients.writes.clone(),
        bucket: bucket.to_owned(),
        object,
    };
    match tokio::spawn(upload.run(bytes)).await {
        Ok(sent) => sent,
        Err(panicked) => Err(Failed {
            verdict: Verdict::Lost,
            reason: panicked.to_string(),
        }),
    }
}

struct Upload {
    timeouts: Timeouts,
    parts: Client,
    once: Client,
    bucket: String,
    object: String,
}

impl Upload {
    async fn run(self, bytes: Bytes) -> Result<Option<String>, Failed> {
        let created = self
            .parts
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.object)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            // Not visible, so never in doubt.
            .map_err(|error| without_doubt(judge(&error)))?;
        let id = created.upload_id.ok_or_else(|| Failed {
            verdict: Verdict::Rejected,
            reason: "the server's answer has no upload id".to_owned(),
        })?;
        let sent = match self.send_parts(&id, bytes).await {
            Ok(parts) => self.complete(&id, parts).await,
            Err(failed) => Err(without_doubt(failed)),
        };
        if sent.is_err() {
            self.abort(&id).await;
        }
        sent
    }

    async fn send_parts(&self, id: &str, bytes: Bytes) -> Result<Vec<CompletedPart>, Failed> {
        let starts = (0..bytes.len()).step_by(PART_BYTES);
        let sends = (1..).zip(starts).map(|(number, start)| {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            let timeouts = self.timeouts.for_body(part.len());
            async move {
                let sent = self
                    .parts
                    .upload_part()
                    .bucket(&self.bucket)
                    .key(&self.object)
                    .upload_id(id)
                    .part_number(number)
                    .checksum_algorithm(ChecksumAlgorithm::Crc32)
                    .body(ByteStream::from(part))
                    .customize()
                    .config_override(timeouts)
                    .send()
                    .await
                    .map_err(|error| judge(&error))?;
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag)
                    .set_checksum_crc32(sent.checksum_crc32);
                Ok(part.build())
            }
        });
        stream::iter(sends).buffered(AT_ONCE).try_collect().await
    }

    async fn complete(&self, id: &str, parts: Vec<CompletedPart>) -> Result<Option<String>, Failed> {
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        // A repeated one may meet its own effect: the upload is gone then.
        let completed = settle(Condition::Given, || {
            self.once
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(&self.object)
                .upload_id(id)
                .multipart_upload(all.clone())
                .send()
        });
        Ok(completed.await?.e_tag)
    }

    async fn abort(&self, id: &str) {
        let aborted = self
            .parts
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.object)
            .upload_id(id)
            .send()
            .await;
        match aborted.map_err(|error| judge(&error)) {
            Ok(_) => {}
            // Completed after all, or never begun.
            Err(failed) if failed.verdict == Verdict::Missing => {}
            Err(failed) => tracing::warn!(
                object = self.object,
                reason = failed.reason,
                "parts of an upload are left in the bucket; a lifecycle rule can remove them"
            ),
        }
    }
}

/// Failures before the completing request changed nothing that anybody can see.
fn without_doubt(mut failed: Failed) -> Failed {
    if failed.verdict.leaves_doubt() {
        failed.verdict = Verdict::Busy;
    }
    failed
}
