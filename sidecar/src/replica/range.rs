//! A range of commits that is applied as one: the rows it changed, and the span of applying it.
//!
//! Does not own: which commits are a range (`Replica::run_once`), and how it is applied (`advance`).

use crate::commit_log::CommitRecord;

/// Traces that one apply may belong to.
const MAX_LINKS: usize = 32;

/// The span of applying a range: a part of the newest commit's trace, linked to those of the others.
pub(super) fn apply_span(records: &[CommitRecord]) -> tracing::Span {
    let seq = |record: Option<&CommitRecord>| record.map_or(0, |record| record.seq.0);
    let span = tracing::info_span!(
        "apply",
        from_seq = seq(records.first()),
        seq = seq(records.last()),
        commits = records.len(),
        rows = changed_rows(records),
    );
    let mut traces = records
        .iter()
        .rev()
        .filter_map(|record| record.traceparent.as_deref());
    if let Some(newest) = traces.next() {
        telemetry::set_parent(&span, newest);
    }
    traces
        .take(MAX_LINKS)
        .for_each(|trace| telemetry::link(&span, trace));
    span
}

/// Rows that a range of commits changed, by their own account.
pub fn changed_rows(records: &[CommitRecord]) -> u64 {
    records
        .iter()
        .flat_map(|record| &record.changed)
        .map(|change| change.upserted + change.deleted)
        .sum()
}
