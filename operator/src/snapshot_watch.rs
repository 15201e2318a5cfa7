//! How long commits have waited for a snapshot: the memory that "overdue" needs.
//!
//! A snapshot is overdue when the schedule has come round three times since the first commit after the last snapshot was
//! seen, and none was taken. Counted from when this process saw it, so that an idle graph's next commit, or a schedule that
//! has just been changed, is not overdue at once; a restart of the operator begins anew.
//! Owns: that memory. Does not own: what is told of it (`status`), attempts that failed (`patience`).

use chrono::{DateTime, Utc};
use crds::Snapshots;

use crate::members::Reading;

/// Turns of the schedule without a snapshot that are too many.
const TURNS: usize = 3;

/// One graph's.
#[derive(Debug, Default)]
pub(crate) struct SnapshotWatch {
    /// The last snapshot's commit, the schedule, and since when commits have waited for the next.
    waiting: Option<(u64, Snapshots, DateTime<Utc>)>,
}

impl SnapshotWatch {
    /// Takes note of a round of answers. `head` and `last` are commits, 0 for none. Answers since when a snapshot is
    /// overdue.
    pub(crate) fn update(
        &mut self,
        snapshots: &Snapshots,
        readings: &[Reading],
        head: u64,
        last: u64,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        // Replicas take them; none that is ready cannot.
        let can_take = readings
            .iter()
            .any(|reading| reading.role == crds::MemberRole::Replica && reading.ready);
        if !snapshots.enabled || !can_take || head <= last {
            self.waiting = None;
            return None;
        }
        let since = match &self.waiting {
            Some((seq, with, since)) if *seq == last && with == snapshots => *since,
            _ => {
                self.waiting = Some((last, snapshots.clone(), now));
                now
            }
        };
        let mut due = since;
        for _ in 0..TURNS {
            due = snapshots.next_after(due)?;
        }
        (due < now).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::MemberRole;

    fn replica() -> Reading {
        Reading {
            pod: "a".to_owned(),
            role: MemberRole::Replica,
            ready: true,
            waiting: None,
            answer: None,
            behind: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn a_snapshot_is_overdue_after_three_turns_with_commits() {
        let at = |text: &str| format!("2026-01-01T{text}:00Z").parse::<DateTime<Utc>>().unwrap();
        let mut watch = SnapshotWatch::default();
        let mut snapshots = Snapshots::default();
        let pods = [replica()];
        let mut overdue = |snapshots: &Snapshots, pods: &[Reading], head, last, time| {
            watch
                .update(snapshots, pods, head, last, at(time))
                .map(|since| since.to_string()[11..16].to_owned())
        };
        assert_eq!(overdue(&snapshots, &pods, 5, 5, "10:00"), None, "nothing to take");
        assert_eq!(overdue(&snapshots, &pods, 6, 5, "10:01"), None);
        assert_eq!(overdue(&snapshots, &pods, 9, 5, "10:44"), None);
        assert_eq!(
            overdue(&snapshots, &pods, 9, 5, "10:46").as_deref(),
            Some("10:01"),
            "10:15, 10:30 and 10:45 went by"
        );
        assert_eq!(overdue(&snapshots, &pods, 9, 8, "10:47"), None, "one was taken");
        assert_eq!(
            overdue(&snapshots, &[], 9, 8, "11:59"),
            None,
            "nobody can take one"
        );
        assert_eq!(
            overdue(&snapshots, &pods, 9, 8, "12:00"),
            None,
            "now somebody can"
        );
        snapshots.schedule = "* * * * *".to_owned();
        assert_eq!(
            overdue(&snapshots, &pods, 9, 8, "14:00"),
            None,
            "another schedule"
        );
        assert_eq!(
            overdue(&snapshots, &pods, 9, 8, "14:04").as_deref(),
            Some("14:00")
        );
        snapshots.enabled = false;
        assert_eq!(overdue(&snapshots, &pods, 9, 8, "15:00"), None);
    }
}
