//! The newest commit, from what the members know.
//!
//! Owns: whom to believe. Does not own: each member's lag from it.

use crds::{Head, MemberRole};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::members::{Answer, Position, Reading};

/// The newest commit that any member knows of. What was known before counts too, unless a serving writer answered: it
/// knows best, also of a store that was emptied.
pub(crate) fn newest(readings: &[Reading], previous: Option<&Head>) -> Option<Head> {
    let answers = || readings.iter().filter_map(|reading| reading.answer.as_ref());
    let known = answers().flat_map(positions).max_by_key(|position| position.seq);
    let writer_serves = readings.iter().any(|reading| {
        reading.role == MemberRole::Writer && reading.answer.as_ref().is_some_and(|answer| answer.ready)
    });
    let previous = previous.cloned();
    let Some(known) = known else { return previous };
    match previous {
        Some(previous) if previous.seq == known.seq && previous.tx_id == known.tx_id => Some(previous),
        Some(previous) if previous.seq > known.seq && !writer_serves => Some(previous),
        _ => Some(Head {
            seq: known.seq,
            timestamp: Time(made_at(&known, answers())),
            tx_id: known.tx_id,
        }),
    }
}

fn positions(answer: &Answer) -> impl Iterator<Item = Position> {
    let watermark = answer.seq.zip(answer.tx_id.clone());
    let watermark = watermark.map(|(seq, tx_id)| Position { seq, tx_id });
    watermark
        .into_iter()
        .chain([answer.head.clone()])
        .filter(|position| position.seq > 0)
}

/// When a commit was made: as a member that holds it says, else by its UUIDv7, whose first 48 bits are milliseconds.
fn made_at<'a>(position: &Position, mut answers: impl Iterator<Item = &'a Answer>) -> Timestamp {
    answers
        .find(|answer| answer.seq == Some(position.seq))
        .and_then(|answer| answer.timestamp)
        .or_else(|| {
            let digits: String = position
                .tx_id
                .chars()
                .filter(|digit| *digit != '-')
                .take(12)
                .collect();
            let milliseconds = i64::from_str_radix(&digits, 16).ok()?;
            Timestamp::from_millisecond(milliseconds).ok()
        })
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
