//! Whether a status is worth a write.
//!
//! Equal status is never written. What a person or a machine acts on (conditions, counts, states) is written at once;
//! figures that move by themselves (head, watermarks, lag, what background work did last and when it is due) at most every few
//! seconds.

use std::time::Duration;

use crds::ReplicatedGraphDBStatus;

/// Shortest time between two writes that change figures only; a little less than the cadence of measuring.
const FIGURES_EVERY: Duration = Duration::from_millis(4500);

/// Whether `new` is to be written now. `since_last` is the time since the last write, if there was one.
pub(crate) fn is_due(
    previous: Option<&ReplicatedGraphDBStatus>,
    new: &ReplicatedGraphDBStatus,
    since_last: Option<Duration>,
) -> bool {
    match previous {
        None => true,
        Some(previous) if previous == new => false,
        Some(previous) if without_figures(previous) != without_figures(new) => true,
        Some(_) => since_last.is_none_or(|since| since >= FIGURES_EVERY),
    }
}

fn without_figures(status: &ReplicatedGraphDBStatus) -> ReplicatedGraphDBStatus {
    let mut status = status.clone();
    status.head = None;
    status.max_lag_commits = None;
    (status.last_snapshot, status.next_snapshot) = (None, None);
    (status.last_optimize, status.next_optimize) = (None, None);
    for connection in [&mut status.store, &mut status.events].into_iter().flatten() {
        connection.error = None;
    }
    for member in &mut status.members {
        (member.seq, member.lag_commits, member.lag_seconds) = (0, 0, 0);
        member.last_scrub = None;
    }
    for condition in &mut status.conditions {
        condition.message.clear();
    }
    status
}
