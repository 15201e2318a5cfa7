//! What is known after a request to an S3 server failed. Pure, apart from reading the SDK's error.
//!
//! The rule: a write counts as not done only if the server said so, or was never reached. Everything else is unknown.

use std::error::Error;
use std::io::ErrorKind;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::{Remedy, StoreError};

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is no such object; nothing was done.
    Missing,
    /// The condition of a conditional write does not hold; nothing was done.
    Unmet,
    /// A write of somebody else was under way (409); nothing was done, and the same request decides it.
    Conflict,
    /// The server was not reached, or declined for now; nothing was done.
    Busy,
    /// Nothing was done, and the same request fails again.
    Rejected,
    /// The server failed while it worked on it: done or not, it is over.
    Faulty,
    /// No answer: done or not, or still to be done.
    Lost,
}

impl Verdict {
    /// Whether the request may have had an effect.
    pub(super) fn leaves_doubt(self) -> bool {
        matches!(self, Self::Faulty | Self::Lost)
    }
}

/// A request that failed, with the reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
}

impl Failed {
    /// As the error of an operation that changes nothing.
    pub(super) fn reading(self, action: &'static str, place: String) -> StoreError {
        let remedy = match self.verdict {
            Verdict::Missing | Verdict::Unmet | Verdict::Rejected => Remedy::Reject,
            Verdict::Conflict | Verdict::Busy | Verdict::Faulty | Verdict::Lost => Remedy::Retry,
        };
        StoreError::S3 {
            action,
            place,
            reason: self.reason,
            remedy,
        }
    }

    /// As the error of a write.
    pub(super) fn writing(self, action: &'static str, place: String) -> StoreError {
        if self.verdict.leaves_doubt() {
            return StoreError::OutcomeUnknown {
                action,
                place,
                source: self.reason.into(),
            };
        }
        self.reading(action, place)
    }
}

/// Judges an error of the SDK.
pub(super) fn judge<E>(error: &SdkError<E, HttpResponse>) -> Failed
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let verdict = match error {
        SdkError::ConstructionFailure(_) => Verdict::Rejected,
        SdkError::DispatchFailure(_) if is_connection_refused(error) => Verdict::Busy,
        SdkError::ServiceError(answer) => by_answer(answer.raw().status().as_u16(), error.code()),
        SdkError::ResponseError(_) => Verdict::Faulty,
        _ => Verdict::Lost,
    };
    Failed {
        verdict,
        reason: reason(error),
    }
}

/// Status and error code: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn by_answer(status: u16, code: Option<&str>) -> Verdict {
    match (status, code) {
        // Any other 404 is about something else: the bucket, the access key, a proxy on the way.
        (404, Some("NoSuchKey" | "NoSuchUpload")) => Verdict::Missing,
        (412, _) => Verdict::Unmet,
        (409, _) => Verdict::Conflict,
        (429, _) | (_, Some("SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded")) => {
            Verdict::Busy
        }
        // The body did not arrive in time; credentials that are about to be renewed.
        (_, Some("RequestTimeout" | "ExpiredToken")) => Verdict::Busy,
        (501 | 300..=499, _) => Verdict::Rejected,
        _ => Verdict::Faulty,
    }
}

fn reason<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        return causes(error);
    };
    let status = answer.raw().status().as_u16();
    let code = error.code().unwrap_or("no error code");
    let message = error
        .message()
        .map(|text| format!(": {text}"))
        .unwrap_or_default();
    let said = format!("{code}{message} (HTTP {status})");
    match (status, code) {
        (_, "NoSuchBucket") => format!("the bucket does not exist; {said}"),
        // The last is what versitygw says of an access key that it does not know.
        (401 | 403, _) | (_, "ExpiredToken" | "XAdminUserNotFound") => {
            format!("the server refuses these credentials ({CREDENTIALS}); {said}")
        }
        _ => said,
    }
}

/// Where credentials come from, for messages.
pub(super) const CREDENTIALS: &str =
    "from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the AWS default chain finds";

/// An error with its causes, outermost first, without those whose text is there already.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in chain(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Only connecting can be refused, so the request was not sent.
fn is_connection_refused(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_certainly_did_not_do_is_certain() {
        for (status, code, expected) in [
            (404, Some("NoSuchKey"), Verdict::Missing),
            (404, None, Verdict::Rejected),
            (404, Some("XAdminUserNotFound"), Verdict::Rejected),
            (404, Some("NoSuchBucket"), Verdict::Rejected),
            (412, Some("PreconditionFailed"), Verdict::Unmet),
            (409, Some("ConditionalRequestConflict"), Verdict::Conflict),
            (503, Some("SlowDown"), Verdict::Busy),
            (429, None, Verdict::Busy),
            (400, Some("RequestTimeout"), Verdict::Busy),
            (403, Some("AccessDenied"), Verdict::Rejected),
            (301, Some("PermanentRedirect"), Verdict::Rejected),
            (501, Some("NotImplemented"), Verdict::Rejected),
            (500, Some("InternalError"), Verdict::Faulty),
            (503, Some("ServiceUnavailable"), Verdict::Faulty),
            (502, None, Verdict::Faulty),
            (504, None, Verdict::Faulty),
        ] {
            assert_eq!(by_answer(status, code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn doubt_is_an_unknown_outcome_of_a_write_and_a_reason_to_retry_a_read() {
        let failed = |verdict| Failed {
            verdict,
            reason: "it broke".to_owned(),
        };
        for verdict in [Verdict::Faulty, Verdict::Lost] {
            let write = failed(verdict).writing("create", "there".to_owned());
            assert_eq!(write.remedy(), Remedy::ReadBack, "{write}");
            let read = failed(verdict).reading("read", "there".to_owned());
            assert_eq!(read.remedy(), Remedy::Retry, "{read}");
        }
        let rejected = failed(Verdict::Rejected).writing("create", "there".to_owned());
        assert_eq!(rejected.remedy(), Remedy::Reject);
        assert_eq!(rejected.to_string(), "failed to create there: it broke");
    }
}
