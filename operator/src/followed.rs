//! How long each pod has been behind: the memory of when it was last seen reaching a head.
//!
//! Owns: [`Reading::behind`]. Does not own: how far behind, and what follows from it (`status`).

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::members::Reading;

/// Which head each pod has still to reach, and since when.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    behind: HashMap<String, (u64, Timestamp)>,
}

impl Followed {
    /// Fills in `behind` of each reading. `seq_of` is the last known watermark of a pod that did not answer.
    pub(crate) fn update(
        &mut self,
        readings: &mut [Reading],
        head: u64,
        seq_of: impl Fn(&str) -> u64,
        now: Timestamp,
    ) {
        self.behind
            .retain(|pod, _| readings.iter().any(|reading| reading.pod == *pod));
        for reading in readings {
            let answered = reading.answer.as_ref().and_then(|answer| answer.seq);
            let seq = answered.unwrap_or_else(|| seq_of(&reading.pod));
            if seq >= head {
                self.behind.remove(&reading.pod);
                continue;
            }
            let (target, since) = self.behind.entry(reading.pod.clone()).or_insert((head, now));
            if seq >= *target {
                (*target, *since) = (head, now);
            }
            reading.behind = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Answer;
    use crds::MemberRole;

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

    #[test]
    fn a_pod_that_keeps_reaching_older_heads_is_not_behind_for_long() {
        let mut followed = Followed::default();
        let mut behind = |second, seq, head| {
            let mut readings = [reading("a", seq)];
            let now = Timestamp::from_second(second).unwrap();
            followed.update(&mut readings, head, |_| 3, now);
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
}
