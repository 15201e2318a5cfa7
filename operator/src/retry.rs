//! When the objects of a graph are applied again after that failed, and what is told of it meanwhile.
//!
//! The graph goes on being measured every few seconds; only the apply waits, longer each time. A changed resource is applied
//! at once, since it may be the remedy.
//! Owns: the memory of failed applies of one graph. Does not own: the delays' figures (`error`).

use std::time::{Duration, Instant};

use crate::error::{Error, delay};

/// An error that may pass by itself is told from this many in a row on; before that it is not worth a `Degraded`.
const TOLD_FROM: u32 = 3;

/// Failed applies of one graph.
#[derive(Debug, Default)]
pub(crate) struct Retry(Option<Failed>);

#[derive(Debug)]
struct Failed {
    /// Failures in a row, for this generation of the resource.
    count: u32,
    generation: Option<i64>,
    /// What the last one said, and how long it is in force; none when it is not told yet.
    told: Option<(String, Instant)>,
}

impl Retry {
    /// What to tell instead of applying, and how long still; none when it is time to apply.
    pub(crate) fn waits(&self, generation: Option<i64>, now: Instant) -> Option<(String, Duration)> {
        let failed = self.0.as_ref().filter(|failed| failed.generation == generation)?;
        let (why, until) = failed.told.as_ref()?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then(|| (why.clone(), left))
    }

    /// Counts a failure. Answers how long the next apply waits, if this one is to be told.
    pub(crate) fn failed(
        &mut self,
        error: &Error,
        generation: Option<i64>,
        now: Instant,
    ) -> Option<Duration> {
        let before = self.0.take().filter(|failed| failed.generation == generation);
        let count = before.map_or(0, |failed| failed.count).saturating_add(1);
        let delay = delay(error.remedy(), count);
        let is_told = error.is_refusal() || (count >= TOLD_FROM && !error.is_namespace_gone());
        self.0 = Some(Failed {
            count,
            generation,
            told: is_told.then(|| (error.to_string(), now + delay)),
        });
        is_told.then_some(delay)
    }

    /// All objects are as desired.
    pub(crate) fn succeeded(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_error(code: u16) -> Error {
        let status = kube::core::Status::failure("no", "Reason").with_code(code);
        Error::api("apply ConfigMap a")(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_refused_apply_waits_longer_each_time_unless_the_resource_changes() {
        let (mut retry, start) = (Retry::default(), Instant::now());
        assert_eq!(retry.waits(Some(1), start), None);
        for (code, seconds) in [(422, 0.5), (422, 1.0), (403, 2.0), (422, 300.0)] {
            let delay = retry.failed(&api_error(code), Some(1), start).unwrap();
            assert_eq!(delay.as_secs_f64(), seconds);
            let (why, left) = retry.waits(Some(1), start).unwrap();
            assert_eq!((why.as_str(), left), ("failed to apply ConfigMap a: no", delay));
            assert_eq!(retry.waits(Some(1), start + delay), None, "it is time");
            assert_eq!(retry.waits(Some(2), start), None, "another resource");
        }
        let first = retry.failed(&api_error(422), Some(2), start);
        assert_eq!(first.unwrap().as_secs_f64(), 0.5);
        retry.succeeded();
        assert_eq!(retry.waits(Some(2), start), None);
    }

    #[test]
    fn what_may_pass_is_told_only_when_it_stays() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        let mut told = |code| retry.failed(&api_error(code), None, now).is_some();
        assert_eq!([500, 409, 503, 500].map(&mut told), [false, false, true, true]);
    }
}
