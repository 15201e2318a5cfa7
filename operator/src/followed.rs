//! How long each pod has been behind: the memory of when it was last seen reaching a head.
//!
//! Owns: [`Reading::behind`]. Does not own: how far behind, and what follows from it (`status`).

use std::collections::HashMap;
use std::time::Duration;

use crds::Head;
use jiff::{SignedDuration, Timestamp};

use crate::members::Reading;

/// What each pod has to reach.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    targets: HashMap<String, Target>,
    measured_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    head: u64,
    /// Since when that head is there.
    since: Timestamp,
    /// Where the pod stood when it got this target.
    from: u64,
    /// Since when there is a commit after `from`.
    lacking_since: Timestamp,
}

impl Followed {
    /// Fills in `behind` of each reading. `seq_of` is the last known watermark of a pod that did not answer.
    ///
    /// A head that is new to a pod which had reached the one before counts from when it was committed: by the writer's clock, but
    /// never from before the last measurement, when it was not known. A pod that has not moved since then counts from the first commit
    /// that it lacks. Only at the next measurement is a pod held to a head.
    pub(crate) fn update(
        &mut self,
        readings: &mut [Reading],
        newest: Option<&Head>,
        seq_of: impl Fn(&str) -> u64,
        now: Timestamp,
    ) {
        let known_at = self.measured_at.replace(now).unwrap_or(now);
        let (head, made_at) = newest.map_or((0, now), |newest| (newest.seq, newest.timestamp.0));
        let made_at = made_at.max(known_at).min(now);
        self.targets
            .retain(|pod, _| readings.iter().any(|reading| reading.pod == *pod));
        for reading in readings {
            let answered = reading.answer.as_ref().and_then(|answer| answer.seq);
            let seq = answered.unwrap_or_else(|| seq_of(&reading.pod));
            let new = |since, lacking_since| Target {
                head,
                since,
                from: seq,
                lacking_since,
            };
            let target = match self.targets.get(&reading.pod) {
                _ if seq >= head => new(now, now),
                None => new(now, now),
                Some(before) if seq >= before.head => {
                    let share = (seq + 1 - before.head, head - before.head);
                    new(made_at, between(known_at, made_at, share))
                }
                Some(still) => {
                    let moved = seq != still.from;
                    let since = if moved { still.since } else { still.lacking_since };
                    reading.behind = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                    *still
                }
            };
            self.targets.insert(reading.pod.clone(), target);
        }
    }
}

/// The moment at `part` of `whole` from one to the other: of one commit of many, if they came evenly.
fn between(from: Timestamp, to: Timestamp, (part, whole): (u64, u64)) -> Timestamp {
    let milliseconds = to.duration_since(from).as_millis() * i128::from(part) / i128::from(whole.max(1));
    from + SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Answer;
    use crds::MemberRole;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn reading(pod: &str, seq: Option<u64>) -> Reading {
        Reading {
            pod: pod.to_owned(),
            role: MemberRole::Replica,
            ready: true,
            waiting: None,
            answer: seq.map(|seq| Answer {
                seq: Some(seq),
                ..Answer::default()
            }),
            behind: Duration::ZERO,
        }
    }

    fn head(seq: u64, second: i64) -> Head {
        Head {
            seq,
            tx_id: String::new(),
            timestamp: Time(Timestamp::from_second(second).unwrap()),
        }
    }

    #[test]
    fn a_pod_that_keeps_reaching_older_heads_is_not_behind_for_long() {
        let mut followed = Followed::default();
        let mut behind = |second, seq, newest| {
            let mut readings = [reading("a", seq)];
            let now = Timestamp::from_second(second).unwrap();
            followed.update(&mut readings, Some(&head(newest, second)), |_| 3, now);
            readings[0].behind.as_secs()
        };
        assert_eq!(behind(0, Some(10), 10), 0);
        assert_eq!(behind(5, Some(10), 20), 0);
        assert_eq!(behind(10, Some(20), 30), 0, "reached the 20 of before");
        assert_eq!(behind(15, Some(25), 40), 5, "not yet at 30");
        assert_eq!(behind(20, None, 40), 10, "no answer is no progress");
        assert_eq!(behind(25, Some(40), 40), 0);
        assert_eq!(behind(30, Some(40), 41), 0);
    }

    #[test]
    fn a_pod_that_stands_still_lacks_the_first_of_many_commits() {
        let mut followed = Followed::default();
        let mut behind = |second, seq, newest| {
            let mut readings = [reading("a", Some(seq))];
            let now = Timestamp::from_second(second).unwrap();
            followed.update(&mut readings, Some(&head(newest, second)), |_| 0, now);
            readings[0].behind.as_millis()
        };
        assert_eq!(behind(0, 10, 10), 0);
        assert_eq!(behind(5, 10, 60), 0, "ten commits each second");
        assert_eq!(behind(10, 10, 110), 9900);
        assert_eq!(behind(15, 12, 160), 10_000, "it moves: since the 60 of then");
    }

    #[test]
    fn a_pod_is_behind_since_the_commit_was_made_as_far_as_that_can_be() {
        for (made_at, behind) in [(2, 8), (-100, 10), (900, 5)] {
            let mut followed = Followed::default();
            let mut update = |second, newest: &Head| {
                let mut readings = [reading("a", Some(10))];
                let now = Timestamp::from_second(second).unwrap();
                followed.update(&mut readings, Some(newest), |_| 0, now);
                readings[0].behind.as_secs()
            };
            assert_eq!(update(0, &head(10, -7)), 0);
            let newest = head(11, made_at);
            assert_eq!(update(5, &newest), 0, "it may have been made a moment ago");
            assert_eq!(update(10, &newest), behind, "made at {made_at}");
        }
    }

    #[test]
    fn a_new_pod_has_not_been_behind_before() {
        let mut followed = Followed::default();
        let mut behind = |second, pod| {
            let mut readings = [reading(pod, Some(1))];
            let now = Timestamp::from_second(second).unwrap();
            followed.update(&mut readings, Some(&head(10, -7)), |_| 0, now);
            readings[0].behind.as_secs()
        };
        assert_eq!([behind(0, "a"), behind(5, "b"), behind(7, "b")], [0, 0, 2]);
    }
}
