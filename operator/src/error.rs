//! What can go wrong in a reconcile, and the one remedy of each: the error policy.
//!
//! Owns: the classification and the backoff's figures. Does not own: a wrong resource's words (`validate`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

/// Why a reconcile ended early. Everything durable is in the API server, so the next one starts over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API server failed.
    #[error("failed to {action}: {}", in_words(source))]
    Api {
        /// What was being done, with the object's kind and name.
        action: String,
        /// The API server's answer, or why there was none.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object could not be written as JSON.
    #[error("failed to write {object} as JSON: {source}")]
    Json {
        /// Kind and name.
        object: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// The resource came without a name, namespace or uid: not from an API server.
    #[error("failed to read the resource: it has no {0}")]
    Incomplete(&'static str),
    /// The reconcile's task panicked or was cancelled.
    #[error("failed to finish the reconcile: {0}")]
    Task(String),
    /// An object of the graph's name is there already, and is not the graph's.
    #[error(
        "failed to apply {0}: it exists and does not belong to this graph; delete it, or name the graph otherwise"
    )]
    NotOurs(String),
    /// An error whose delay is decided where it was handled.
    #[error("{source}")]
    Again {
        /// When to try again.
        after: Duration,
        /// What failed.
        source: Box<Error>,
    },
}

/// What to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Something else changed the object first, or it is on its way out: look again soon.
    Wait,
    /// Try again, later each time.
    Retry,
    /// The API server refuses what is asked for: try again, but rarely, since only a change of the resource helps.
    Refused,
}

impl Error {
    /// Adds what was being done to the client's error.
    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api {
            action,
            source: Box::new(source),
        }
    }

    /// The remedy; the only place that looks at codes.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Api { source, .. } => match api_code(source) {
                Some(404 | 409) => Remedy::Wait,
                Some(400 | 422) => Remedy::Refused,
                _ => Remedy::Retry,
            },
            Self::Json { .. } | Self::Incomplete(_) => Remedy::Refused,
            Self::Task(_) | Self::NotOurs(_) => Remedy::Retry,
            Self::Again { source, .. } => source.remedy(),
        }
    }

    /// The HTTP code of the API server's answer, if that is what went wrong.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => api_code(source),
            Self::Again { source, .. } => source.code(),
            _ => None,
        }
    }

    /// Whether a person has to act: the API server does not take an object as it is, a quota or a policy forbids it, its name is
    /// taken. All else may pass by itself.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Again { source, .. } => source.is_refusal(),
            Self::NotOurs(_) => true,
            Self::Api { .. } if self.code() == Some(403) => !self.is_namespace_gone(),
            _ => self.remedy() == Remedy::Refused,
        }
    }

    /// The same error, to be tried again after a delay that does not depend on how often it happened.
    pub(crate) fn again_after(self, after: Duration) -> Self {
        let source = Box::new(self);
        Self::Again { after, source }
    }

    /// Whether the API server refuses this because its namespace is being deleted.
    pub(crate) fn is_namespace_gone(&self) -> bool {
        let Self::Api { source, .. } = self else {
            return false;
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return false;
        };
        let terminating = status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.reason == "NamespaceTerminating");
        let in_words = status.code == 403 && status.message.contains("is being terminated");
        let absent = status.code == 404 && status.message.starts_with("namespaces ");
        terminating || in_words || absent
    }

    /// For the metric `slipstream_operator_reconcile_errors_total`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::Json { .. } => "json",
            Self::Incomplete(_) => "incomplete",
            Self::Task(_) => "task",
            Self::NotOurs(_) => "not_ours",
            Self::Again { source, .. } => source.kind(),
        }
    }
}

/// The API server's own sentence: the error's text would repeat the whole answer.
fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        _ => error.to_string(),
    }
}

/// The HTTP code of the API server's answer; none when there was no answer.
pub(crate) fn api_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// First delay, and what each further failure multiplies it by.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// Longest delay of a retry.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Delay where only a change of the resource helps; a change is seen at once in any case.
const REFUSED_DELAY: Duration = Duration::from_secs(300);

/// Delay before the next try after `failures` failures in a row: 0.5 s, 1 s, 2 s … 60 s.
pub fn delay(remedy: Remedy, failures: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    match remedy {
        Remedy::Wait => doubled.min(Duration::from_secs(5)),
        Remedy::Retry => doubled.min(LONGEST_DELAY),
        Remedy::Refused if failures > 3 => REFUSED_DELAY,
        Remedy::Refused => doubled,
    }
}

/// Failures in a row, by object.
#[derive(Debug)]
pub(crate) struct Failures<K>(Mutex<HashMap<K, u32>>);

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq> Failures<K> {
    /// Counts one failure and answers how long to wait.
    pub(crate) fn failed(&self, key: K, error: &Error) -> Duration {
        if let Error::Again { after, .. } = error {
            return *after;
        }
        let mut failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = failures.entry(key).or_default();
        *count = count.saturating_add(1);
        delay(error.remedy(), *count)
    }

    /// A success, or the end of the object: the next failure is the first.
    pub(crate) fn reset(&self, key: &K) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api_error(code: u16, message: &str) -> Error {
        let status = Status::failure(message, "Reason").with_code(code);
        Error::api("apply ConfigMap a")(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn each_answer_has_one_remedy() {
        for (code, remedy) in [
            (409, Remedy::Wait),
            (404, Remedy::Wait),
            (400, Remedy::Refused),
            (422, Remedy::Refused),
            (403, Remedy::Retry),
            (429, Remedy::Retry),
            (500, Remedy::Retry),
            (503, Remedy::Retry),
        ] {
            assert_eq!(api_error(code, "no").remedy(), remedy, "{code}");
        }
        assert_eq!(Error::Incomplete("uid").remedy(), Remedy::Refused);
        let cut = kube::Error::Service("connection refused".into());
        assert_eq!(Error::api("apply ConfigMap a")(cut).remedy(), Remedy::Retry);
    }

    #[test]
    fn retries_double_up_to_a_minute_and_start_over_after_a_success() {
        let seconds = |remedy, count: u32| {
            (1..=count)
                .map(|n| delay(remedy, n).as_secs_f64())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            seconds(Remedy::Retry, 9),
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        );
        assert_eq!(seconds(Remedy::Wait, 6), [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]);
        assert_eq!(seconds(Remedy::Refused, 5), [0.5, 1.0, 2.0, 300.0, 300.0]);
        assert_eq!(delay(Remedy::Retry, u32::MAX), LONGEST_DELAY);

        let failures = Failures::default();
        let error = api_error(500, "no");
        failures.failed("a", &error);
        assert_eq!(failures.failed("a", &error), Duration::from_secs(1));
        assert_eq!(failures.failed("b", &error), FIRST_DELAY);
        failures.reset(&"a");
        assert_eq!(failures.failed("a", &error), FIRST_DELAY);
    }

    #[test]
    fn an_error_with_a_delay_of_its_own_is_not_delayed_more_and_more() {
        let failures = Failures::default();
        let soon = Duration::from_secs(2);
        for _ in 0..10 {
            let error = api_error(500, "no").again_after(soon);
            assert_eq!(failures.failed("a", &error), soon);
            assert_eq!((error.kind(), error.remedy()), ("api", Remedy::Retry));
        }
        assert_eq!(failures.failed("a", &api_error(500, "no")), FIRST_DELAY);
    }

    #[test]
    fn a_refusal_is_told_from_what_may_pass() {
        for (code, message, refusal) in [
            (403, "exceeded quota: q", true),
            (
                403,
                "unable to create new content in namespace a because it is being terminated",
                false,
            ),
            (422, "spec is immutable", true),
            (409, "modified", false),
            (500, "failed calling webhook", false),
        ] {
            let error = api_error(code, message);
            assert_eq!(error.is_refusal(), refusal, "{code} {message}");
            assert_eq!(error.again_after(FIRST_DELAY).is_refusal(), refusal);
        }
        assert!(Error::NotOurs("Service a/b".to_owned()).is_refusal());
    }

    #[test]
    fn a_namespace_that_goes_is_told_from_a_missing_permission() {
        let going = "jobs.batch \"g-cleanup\" is forbidden: unable to create new content in namespace a because it is being terminated";
        assert!(api_error(403, going).is_namespace_gone());
        assert!(api_error(404, "namespaces \"a\" not found").is_namespace_gone());
        assert!(!api_error(403, "jobs.batch is forbidden: User \"x\" cannot create").is_namespace_gone());
        assert!(!api_error(404, "configmaps \"a\" not found").is_namespace_gone());
    }
}
