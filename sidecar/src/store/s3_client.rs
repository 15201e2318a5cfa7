//! The two S3 clients of a store: one that repeats what fails, for reads, and one that never does, for writes.
//!
//! Owns: timeouts, retries of reads, and where credentials, region and address come from. Does not own: what a failure
//! means (`s3_verdict`) and repeating writes (`s3_settle`).

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, ProvideCredentials as _, Region, SharedCredentialsProvider};

use super::s3_address::S3Address;
use super::s3_verdict::{CREDENTIALS, causes};
use super::{Remedy, StoreError};

/// Attempts of a read at most; the SDK waits between them, with jitter.
const READ_ATTEMPTS: u32 = 4;

/// How long to wait for the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// For a connection.
    pub(super) connect: Duration,
    /// For one answer, plus what a body takes on its way to the server. One that comes too slowly is broken off by the SDK.
    pub(super) attempt: Duration,
    /// For a read with all its attempts.
    pub(super) operation: Duration,
}

/// Bytes per second of a link that is still usable.
const SLOWEST: usize = 256 << 10;

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            operation: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// For a request without a body, or a small one.
    fn config(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }

    /// For a request with a body of that many bytes, which may be sent several times.
    pub(super) fn for_body(self, bytes: usize) -> Builder {
        let seconds = u32::try_from(bytes / SLOWEST).unwrap_or(u32::MAX);
        let sending = Duration::from_secs(seconds.into());
        let longer = Self {
            attempt: self.attempt + sending,
            operation: self.operation + sending * READ_ATTEMPTS,
            ..self
        };
        aws_sdk_s3::Config::builder().timeout_config(longer.config())
    }
}

#[derive(Debug)]
pub(super) struct Clients {
    /// The SDK's standard retries: bounded, exponential, with jitter.
    pub(super) reads: Client,
    /// One attempt per call.
    pub(super) writes: Client,
}

impl Clients {
    /// Finds credentials and region; sends nothing to the S3 server. `credentials` other than the default chain's are for
    /// tests.
    ///
    /// # Errors
    /// [`StoreError::S3`] when there is no region, or there are no credentials (yet).
    pub(super) async fn find(
        address: &S3Address,
        timeouts: Timeouts,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, StoreError> {
        let failed = |reason: String, remedy| StoreError::S3 {
            action: "connect to",
            place: address.place(""),
            reason,
            remedy,
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts.config())
            .retry_config(RetryConfig::standard().with_max_attempts(READ_ATTEMPTS));
        if let Some(region) = &address.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        let shared = loader.load().await;
        if shared.region().is_none() {
            let reason = "no region is set: name it as spec.storage.region, or in AWS_REGION";
            return Err(failed(reason.to_owned(), Remedy::Reject));
        }
        // Asked once here: the SDK would report their absence as if the server had not answered.
        if let Some(provider) = shared.credentials_provider()
            && let Err(error) = provider.provide_credentials().await
        {
            let reason = format!("no credentials were found ({CREDENTIALS}): {}", causes(&error));
            return Err(failed(reason, Remedy::Retry));
        }
        let mut config = Builder::from(&shared);
        if let Some(endpoint) = &address.endpoint {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        Ok(Self {
            reads: Client::from_conf(config.clone().build()),
            writes: Client::from_conf(config.retry_config(RetryConfig::disabled()).build()),
        })
    }
}
