//! When a snapshot is due. Pure.

use chrono::{DateTime, Utc};
use crds::Snapshots;

use super::SnapshotMeta;
use crate::ids::Seq;

/// Why a snapshot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A scheduled time passed since the newest one.
    Schedule,
    /// `everyCommits` were made since the newest one.
    Commits,
    /// Somebody asked for it.
    Asked,
}

/// The newest snapshot, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) seq: Seq,
    pub(super) taken_at: DateTime<Utc>,
}

impl From<&SnapshotMeta> for Newest {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            seq: meta.seq,
            taken_at: meta.taken_at,
        }
    }
}

/// Why a snapshot of `watermark` is due now, if it is. `since` stands for the newest one where there is none: a schedule
/// counts from there. However many scheduled times passed, one snapshot makes up for them.
pub(super) fn due(
    settings: &Snapshots,
    newest: Option<Newest>,
    since: DateTime<Utc>,
    watermark: Seq,
    now: DateTime<Utc>,
) -> Option<Why> {
    let last = newest.map_or(Seq(0), |newest| newest.seq);
    if !settings.enabled || watermark <= last {
        return None;
    }
    if settings.every_commits > 0 && watermark.0 - last.0 >= settings.every_commits {
        return Some(Why::Commits);
    }
    let from = newest.map_or(since, |newest| newest.taken_at);
    let scheduled = settings.next_after(from)?;
    (scheduled <= now).then_some(Why::Schedule)
}

/// When the schedule asks for the next one: a time that passed where there is something to make up for.
pub(super) fn next_due(
    settings: &Snapshots,
    newest: Option<Newest>,
    since: DateTime<Utc>,
    watermark: Option<Seq>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let from = newest.map_or(since, |newest| newest.taken_at);
    let is_new = watermark.is_none_or(|watermark| newest.is_none_or(|newest| watermark > newest.seq));
    // Where nothing changed, a time that passed asks for nothing.
    settings.next_after(if is_new { from } else { from.max(now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    fn newest(seq: u64, taken_at: &str) -> Option<Newest> {
        Some(Newest {
            seq: Seq(seq),
            taken_at: at(taken_at),
        })
    }

    fn settings() -> Snapshots {
        Snapshots {
            every_commits: 100,
            ..Snapshots::default()
        }
    }

    #[test]
    fn a_snapshot_is_due_once_per_scheduled_time_and_only_for_new_commits() {
        let table = [
            // newest, since, watermark, now, expected
            (newest(5, "10:00:01"), "09:00:00", 9, "10:14:59", None),
            (
                newest(5, "10:00:01"),
                "09:00:00",
                9,
                "10:15:00",
                Some(Why::Schedule),
            ),
            (newest(5, "10:00:01"), "09:00:00", 5, "10:15:00", None),
            // Missed for hours: once, and then not again before the next.
            (
                newest(5, "04:00:01"),
                "09:00:00",
                9,
                "10:14:00",
                Some(Why::Schedule),
            ),
            (newest(9, "10:14:00"), "09:00:00", 10, "10:14:01", None),
            // None yet: the schedule counts from what is known.
            (None, "10:01:00", 3, "10:14:59", None),
            (None, "10:01:00", 3, "10:15:00", Some(Why::Schedule)),
            (None, "10:01:00", 0, "10:15:00", None),
            // By commits.
            (newest(5, "10:00:01"), "09:00:00", 104, "10:01:00", None),
            (
                newest(5, "10:00:01"),
                "09:00:00",
                105,
                "10:01:00",
                Some(Why::Commits),
            ),
            (None, "10:01:00", 100, "10:01:01", Some(Why::Commits)),
        ];
        for (newest, since, watermark, now, expected) in table {
            let found = due(&settings(), newest, at(since), Seq(watermark), at(now));
            assert_eq!(found, expected, "{newest:?} {watermark} at {now}");
        }
    }

    #[test]
    fn what_is_switched_off_is_never_due() {
        let off = Snapshots {
            enabled: false,
            ..settings()
        };
        assert_eq!(due(&off, None, at("01:00:00"), Seq(1000), at("10:15:00")), None);
        assert_eq!(next_due(&off, None, at("01:00:00"), None, at("10:15:00")), None);
        let never = Snapshots {
            every_commits: 0,
            ..settings()
        };
        assert_eq!(
            due(
                &never,
                newest(1, "10:00:01"),
                at("01:00:00"),
                Seq(9999),
                at("10:01:00")
            ),
            None
        );
    }

    #[test]
    fn the_next_one_is_overdue_only_while_there_is_something_to_make_up_for() {
        let next = |newest, watermark, now| {
            next_due(&settings(), newest, at("01:00:00"), Some(Seq(watermark)), at(now))
        };
        assert_eq!(next(newest(5, "10:00:01"), 9, "12:00:00"), Some(at("10:15:00")));
        assert_eq!(next(newest(5, "10:00:01"), 5, "12:01:00"), Some(at("12:15:00")));
    }
}
