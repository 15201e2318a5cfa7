//! Sends a write until its outcome is known, or cannot be known.
//!
//! Why not the SDK's own retries: after an attempt whose outcome is unknown, a retried conditional write may meet its own
//! first attempt, and a refusal would be a lie. And an attempt without an answer may still take effect later, over a newer
//! write. So only what certainly did nothing is sent again; a plain write also after the server itself failed.

use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::s3_verdict::{Failed, Verdict, judge};

/// Attempts at most; with the waits between them about 3 s.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Whether the effect of a write depends on what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// The same write twice is the same as once.
    None,
    /// The second of two fails, or undoes.
    Given,
}

/// Runs `attempt` until it succeeds, its failure is certain and lasting, or its outcome is in doubt.
pub(super) async fn settle<T, E, F>(condition: Condition, attempt: impl Fn() -> F) -> Result<T, Failed>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + Error + 'static,
{
    settle_waiting(condition, wait, attempt).await
}

async fn settle_waiting<T, E, F>(
    condition: Condition,
    wait: impl Fn(u32) -> Duration,
    attempt: impl Fn() -> F,
) -> Result<T, Failed>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + Error + 'static,
{
    let mut doubt = false;
    let mut number = 0;
    loop {
        number += 1;
        let mut failed = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => judge(&error),
        };
        doubt |= failed.verdict.leaves_doubt();
        if number == ATTEMPTS || !may_repeat(failed.verdict, condition) {
            if doubt && !failed.verdict.leaves_doubt() {
                failed.verdict = Verdict::Faulty;
            }
            return Err(failed);
        }
        tokio::time::sleep(wait(number)).await;
    }
}

fn may_repeat(verdict: Verdict, condition: Condition) -> bool {
    match verdict {
        Verdict::Conflict | Verdict::Busy => true,
        Verdict::Faulty => condition == Condition::None,
        Verdict::Missing | Verdict::Unmet | Verdict::Rejected | Verdict::Lost => false,
    }
}

/// Doubles, and is anything between half of it and all of it: those who failed together do not come back together.
pub(super) fn wait(failures: u32) -> Duration {
    let full = FIRST_WAIT * 2_u32.saturating_pow(failures.saturating_sub(1)).min(32);
    // Seeded by the system for every value made.
    let random = RandomState::new().build_hasher().finish() % 1000;
    full / 2 + full.mul_f64(random as f64 / 2000.0)
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the SDK's errors, as they come")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_sdk_s3::config::http::HttpResponse;
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::put_object::PutObjectError;
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    type Answer = Result<(), SdkError<PutObjectError, HttpResponse>>;

    fn answer(status: u16, code: &str) -> Answer {
        let error = PutObjectError::generic(ErrorMetadata::builder().code(code).build());
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        Err(SdkError::service_error(error, response))
    }

    fn lost() -> Answer {
        Err(SdkError::timeout_error("too slow"))
    }

    /// What comes out, and after how many attempts; the last answer repeats.
    async fn settled(condition: Condition, answers: &[fn() -> Answer]) -> (Result<(), Verdict>, u32) {
        let attempts = AtomicU32::new(0);
        let at_once = |_| Duration::ZERO;
        let result = settle_waiting(condition, at_once, || {
            let number = attempts.fetch_add(1, Ordering::Relaxed) as usize;
            std::future::ready(answers[number.min(answers.len() - 1)]())
        })
        .await;
        (result.map_err(|failed| failed.verdict), attempts.into_inner())
    }

    #[tokio::test]
    async fn a_conditional_write_is_never_repeated_after_doubt() {
        let given = Condition::Given;
        let fault: fn() -> Answer = || answer(500, "InternalError");
        let unmet: fn() -> Answer = || answer(412, "PreconditionFailed");
        assert_eq!(settled(given, &[lost, unmet]).await, (Err(Verdict::Lost), 1));
        assert_eq!(settled(given, &[fault, unmet]).await, (Err(Verdict::Faulty), 1));
        assert_eq!(settled(given, &[unmet]).await, (Err(Verdict::Unmet), 1));
    }

    #[tokio::test]
    async fn a_conflict_is_asked_again_until_it_is_decided() {
        let conflict: fn() -> Answer = || answer(409, "ConditionalRequestConflict");
        let unmet: fn() -> Answer = || answer(412, "PreconditionFailed");
        for condition in [Condition::Given, Condition::None] {
            assert_eq!(
                settled(condition, &[conflict, conflict, || Ok(())]).await,
                (Ok(()), 3)
            );
            assert_eq!(
                settled(condition, &[conflict, unmet]).await,
                (Err(Verdict::Unmet), 2)
            );
            assert_eq!(
                settled(condition, &[conflict]).await,
                (Err(Verdict::Conflict), ATTEMPTS)
            );
        }
    }

    #[tokio::test]
    async fn doubt_of_a_plain_write_outlives_a_later_certain_failure() {
        let fault: fn() -> Answer = || answer(500, "InternalError");
        let denied: fn() -> Answer = || answer(403, "AccessDenied");
        let none = Condition::None;
        assert_eq!(settled(none, &[fault, || Ok(())]).await, (Ok(()), 2));
        assert_eq!(settled(none, &[fault, denied]).await, (Err(Verdict::Faulty), 2));
        assert_eq!(settled(none, &[denied]).await, (Err(Verdict::Rejected), 1));
        assert_eq!(
            settled(none, &[lost]).await,
            (Err(Verdict::Lost), 1),
            "it may still arrive"
        );
    }

    #[test]
    fn waits_grow_and_differ_but_not_without_bound() {
        for failures in 1..40 {
            let full = (FIRST_WAIT * 2_u32.saturating_pow(failures - 1)).min(FIRST_WAIT * 32);
            let waited = wait(failures);
            assert!(waited >= full / 2 && waited <= full, "{failures}: {waited:?}");
        }
    }
}
