//! When objects of a graph are applied again after that failed, and what is told of it meanwhile.
//!
//! The graph goes on being measured every few seconds, and every other object goes on being applied; only the refused object
//! waits, longer each time. What is about no single object (no answer of the API server) holds up the whole apply. A changed
//! resource is applied at once, since it may be the remedy.
//! Owns: the memory of failed applies of one graph. Does not own: the delays' figures (`error`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::{Error, delay};

/// An error that may pass by itself is told from this many in a row on; before that it is not worth a `Degraded`.
const TOLD_FROM: u32 = 3;

/// Failed applies of one graph, for one generation of its resource.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    generation: Option<i64>,
    /// Of the apply as a whole.
    whole: Option<Failed>,
    /// Of refused objects, by kind and name.
    objects: HashMap<String, Failed>,
}

#[derive(Debug)]
struct Failed {
    /// Failures in a row.
    count: u32,
    /// What the last one said, and how long it is in force; none when it is not told yet.
    told: Option<(String, Instant)>,
}

impl Failed {
    fn again(before: Option<&Self>, error: &Error, now: Instant) -> Self {
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        let is_told = error.is_refusal() || (count >= TOLD_FROM && !error.is_namespace_gone());
        Self {
            count,
            told: is_told.then(|| (error.to_string(), now + delay(error.remedy(), count))),
        }
    }

    fn waits(&self, now: Instant) -> Option<(&str, Duration)> {
        let (why, until) = self.told.as_ref()?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((why.as_str(), left))
    }
}

impl Retry {
    /// Another generation of the resource starts over.
    pub(crate) fn heed(&mut self, generation: Option<i64>) {
        if self.generation != generation {
            *self = Self {
                generation,
                ..Self::default()
            };
        }
    }

    /// What to tell instead of applying anything, and how long still; none when it is time to apply.
    pub(crate) fn waits(&self, now: Instant) -> Option<(String, Duration)> {
        let (why, left) = self.whole.as_ref()?.waits(now)?;
        Some((why.to_owned(), left))
    }

    /// Objects that are not to be written yet, each with what was said of it.
    pub(crate) fn waiting_objects(&self, now: Instant) -> HashMap<String, String> {
        let waiting = |(object, failed): (&String, &Failed)| {
            let (why, _) = failed.waits(now)?;
            Some((object.clone(), why.to_owned()))
        };
        self.objects.iter().filter_map(waiting).collect()
    }

    /// Counts a failure of the whole. Answers how long the next apply waits, if this one is to be told.
    pub(crate) fn failed(&mut self, error: &Error, now: Instant) -> Option<Duration> {
        let failed = Failed::again(self.whole.as_ref(), error, now);
        let left = failed.waits(now).map(|(_, left)| left);
        self.whole = Some(failed);
        left
    }

    /// The apply came to its end: `refused` now, `waiting` still, all else as desired. Answers how long the first of them
    /// waits.
    pub(crate) fn ended(
        &mut self,
        refused: &[(String, Error)],
        waiting: &[String],
        now: Instant,
    ) -> Option<Duration> {
        self.whole = None;
        for (object, error) in refused {
            let failed = Failed::again(self.objects.get(object), error, now);
            self.objects.insert(object.clone(), failed);
        }
        self.objects.retain(|object, _| {
            waiting.contains(object) || refused.iter().any(|(refused, _)| refused == object)
        });
        let left = self.objects.values().filter_map(|failed| failed.waits(now));
        left.map(|(_, left)| left).min()
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
    fn a_refused_object_waits_longer_each_time_unless_the_resource_changes() {
        let (mut retry, start) = (Retry::default(), Instant::now());
        let object = "ConfigMap a".to_owned();
        retry.heed(Some(1));
        for (code, seconds) in [(422, 0.5), (422, 1.0), (403, 2.0), (422, 300.0)] {
            let delay = retry
                .ended(&[(object.clone(), api_error(code))], &[], start)
                .unwrap();
            assert_eq!(delay.as_secs_f64(), seconds);
            assert_eq!(retry.waits(start), None, "the others do not wait");
            let waiting = retry.waiting_objects(start);
            assert_eq!(waiting[&object], "failed to apply ConfigMap a: no");
            assert!(retry.waiting_objects(start + delay).is_empty(), "it is time");
        }
        retry.ended(&[], std::slice::from_ref(&object), start);
        assert_eq!(retry.waiting_objects(start).len(), 1, "it waits still");
        retry.heed(Some(2));
        assert!(retry.waiting_objects(start).is_empty(), "another resource");
        let first = retry.ended(&[(object.clone(), api_error(422))], &[], start);
        assert_eq!(first.unwrap().as_secs_f64(), 0.5);
        assert_eq!(retry.ended(&[], &[], start), None);
        assert!(retry.waiting_objects(start).is_empty(), "it is as desired");
    }

    #[test]
    fn what_may_pass_is_told_only_when_it_stays() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        let mut told = |code| retry.failed(&api_error(code), now).is_some();
        assert_eq!([500, 409, 503, 500].map(&mut told), [false, false, true, true]);
        let (why, left) = retry.waits(now).unwrap();
        assert_eq!(why, "failed to apply ConfigMap a: no");
        assert_eq!(retry.waits(now + left), None, "it is time");
        retry.ended(&[], &[], now);
        assert_eq!(retry.waits(now), None);
    }
}
