//! Which errors of background work are worth telling: those that outlive the next attempt.
//!
//! An outage of the store makes a snapshot, an optimizer's run or a scrub fail now and then; the next attempt is well, but may be
//! minutes away. So an error is told once the work was due again and still failed, and a snapshot's not at all once another
//! replica has taken one. A restart of the operator begins anew.
//! Owns: that memory. Does not own: the words (`status`).

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::members::{Answer, Reading};

/// For this long an error is not told in any case.
const AT_LEAST: Duration = Duration::from_secs(60);

/// Work of which a node reports errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    Snapshot,
    Optimize,
    Scrub,
}

/// One graph's.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failing: HashMap<(String, Work), Failing>,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    /// When the next attempt will be over.
    told_from: Timestamp,
    /// The newest snapshot's commit when the error was first seen.
    snapshot: u64,
}

impl Patience {
    /// Removes from `readings` what is not worth telling, or not yet. `snapshot` is the newest snapshot's commit, 0 for none.
    pub(crate) fn heed(&mut self, readings: &mut [Reading], snapshot: u64, now: Timestamp) {
        self.failing
            .retain(|(pod, _), _| readings.iter().any(|reading| reading.pod == *pod));
        for reading in readings {
            let Some(answer) = &mut reading.answer else {
                continue;
            };
            for work in [Work::Snapshot, Work::Optimize, Work::Scrub] {
                let key = (reading.pod.clone(), work);
                let (error, next_due) = of(answer, work);
                if error.is_none() {
                    self.failing.remove(&key);
                    continue;
                }
                let failing = *self.failing.entry(key).or_insert_with(|| Failing {
                    told_from: next_due.unwrap_or(now).max(now) + AT_LEAST,
                    snapshot,
                });
                let made_good = work == Work::Snapshot && snapshot > failing.snapshot;
                if now < failing.told_from || made_good {
                    *error = None;
                }
            }
        }
    }
}

fn of(answer: &mut Answer, work: Work) -> (&mut Option<String>, Option<Timestamp>) {
    match work {
        Work::Snapshot => (&mut answer.snapshots.error, answer.snapshots.next_due),
        Work::Optimize => (&mut answer.optimizer.error, answer.optimizer.next_due),
        Work::Scrub => (&mut answer.scrub.error, answer.scrub.next_due),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::MemberRole;

    fn failing(due: i64) -> Answer {
        let mut answer = Answer::default();
        let (error, due) = (Some("no route".to_owned()), Timestamp::from_second(due).ok());
        (answer.snapshots.error, answer.snapshots.next_due) = (error.clone(), due);
        (answer.optimizer.error, answer.optimizer.next_due) = (error.clone(), due);
        (answer.scrub.error, answer.scrub.next_due) = (error, due);
        answer
    }

    /// Whether snapshots, optimizer and scrub are told of at `second`.
    fn told(patience: &mut Patience, answer: Answer, snapshot: u64, second: i64) -> [bool; 3] {
        let mut readings = [Reading {
            pod: "a".to_owned(),
            role: MemberRole::Replica,
            ready: true,
            waiting: None,
            answer: Some(answer),
            behind: Duration::ZERO,
        }];
        patience.heed(&mut readings, snapshot, Timestamp::from_second(second).unwrap());
        let [reading] = readings;
        let answer = reading.answer.unwrap();
        [answer.snapshots.error, answer.optimizer.error, answer.scrub.error].map(|error| error.is_some())
    }

    #[test]
    fn an_error_is_told_when_the_next_attempt_failed_too() {
        let mut patience = Patience::default();
        assert_eq!(told(&mut patience, failing(600), 5, 0), [false; 3]);
        assert_eq!(told(&mut patience, failing(1200), 5, 650), [false; 3]);
        assert_eq!(told(&mut patience, failing(1200), 5, 660), [true; 3]);
        assert_eq!(told(&mut patience, Answer::default(), 5, 665), [false; 3]);
        assert_eq!(
            told(&mut patience, failing(1200), 5, 670),
            [false; 3],
            "a new one"
        );
    }

    #[test]
    fn a_failed_snapshot_is_made_good_by_another_replicas() {
        let mut patience = Patience::default();
        told(&mut patience, failing(0), 5, 0);
        assert_eq!(told(&mut patience, failing(0), 5, 60), [true; 3]);
        assert_eq!(told(&mut patience, failing(0), 6, 61), [false, true, true]);
    }
}
