//! Background work and the servers it needs, from what the members report: snapshots, optimizer, scrubs, store, event bus.
//!
//! Nothing here grows with time: a status of an idle graph stays as it is, and ages are for the reader to derive.
//! Owns: whom to believe where members differ. Does not own: what of it is wrong (`troubles`).

use crds::{Connection, Head, LastOptimize, LastScrub, LastSnapshot, ReplicatedGraphDBStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::members::{Answer, Reading};
use crate::reports::Compared;

type Previous<'a> = Option<&'a ReplicatedGraphDBStatus>;

/// Fills in what members report; `status.head` is there already.
pub(super) fn set_all(status: &mut ReplicatedGraphDBStatus, readings: &[Reading], previous: Previous<'_>) {
    status.last_snapshot = last_snapshot(readings, previous, status.head.as_ref());
    status.next_snapshot = earliest(answers(readings).filter_map(|answer| answer.snapshots.next_due));
    status.last_optimize = last_optimize(readings, previous);
    status.next_optimize = earliest(answers(readings).filter_map(|answer| answer.optimizer.next_due));
    status.store = store(readings).or_else(|| previous?.store.clone());
    status.events = events(readings, previous);
}

/// The last scrub of one member.
pub(super) fn last_scrub(compared: &Compared) -> LastScrub {
    LastScrub {
        seq: compared.seq,
        timestamp: time(compared.timestamp),
        ok: compared.ok,
        difference: compared.difference.clone(),
    }
}

fn answers(readings: &[Reading]) -> impl Iterator<Item = &Answer> {
    readings.iter().filter_map(|reading| reading.answer.as_ref())
}

/// The newest that any member knows of or that was known before; a commit that the log has not reached is one of an earlier
/// graph in this place.
fn last_snapshot(readings: &[Reading], previous: Previous<'_>, head: Option<&Head>) -> Option<LastSnapshot> {
    let previous = previous.and_then(|previous| previous.last_snapshot.clone());
    let previous = previous.filter(|last| head.is_none_or(|head| last.seq <= head.seq));
    let all = || answers(readings).filter_map(|answer| answer.snapshots.last.as_ref());
    let Some(newest) = all().max_by_key(|last| (last.seq, last.timestamp)) else {
        return previous;
    };
    if previous
        .as_ref()
        .is_some_and(|previous| previous.seq > newest.seq)
    {
        return previous;
    }
    let took = all()
        .filter(|last| last.tx_id == newest.tx_id)
        .map(|last| last.duration_ms)
        .max()
        .filter(|took| *took > 0);
    let same = previous.filter(|previous| previous.tx_id == newest.tx_id);
    Some(LastSnapshot {
        seq: newest.seq,
        tx_id: newest.tx_id.clone(),
        timestamp: time(newest.timestamp),
        bytes: newest.bytes,
        duration_ms: took.or_else(|| same?.duration_ms),
    })
}

/// Only a writer reports one; a new writer that has not optimized yet does not undo what the one before did.
fn last_optimize(readings: &[Reading], previous: Previous<'_>) -> Option<LastOptimize> {
    let report = answers(readings)
        .map(|answer| &answer.optimizer)
        .filter_map(|report| Some((report.last.as_ref()?, report.freed_bytes)))
        .max_by_key(|(last, _)| last.seq);
    let Some((last, freed_bytes)) = report else {
        return previous.and_then(|previous| previous.last_optimize.clone());
    };
    Some(LastOptimize {
        seq: last.seq,
        tx_id: last.tx_id.clone(),
        timestamp: time(last.timestamp),
        what: last.what.clone(),
        why: last.why.clone(),
        duration_ms: last.duration_ms,
        freed_bytes,
    })
}

fn store(readings: &[Reading]) -> Option<Connection> {
    connection(readings, |answer| {
        let store = answer.store.as_ref()?;
        Some((store.ok, store.error.as_ref()))
    })
}

fn events(readings: &[Reading], previous: Previous<'_>) -> Option<Connection> {
    if answers(readings).next().is_none() {
        return previous.and_then(|previous| previous.events.clone());
    }
    connection(readings, |answer| {
        let events = answer.events.as_ref()?;
        // Without an error it has just started and is connecting.
        let connected = events.connected || events.error.is_none();
        (events.configured != Some(false)).then_some((connected, events.error.as_ref()))
    })
}

/// The worst that members see; none when no member speaks of it.
fn connection<'a>(
    readings: &'a [Reading],
    seen: impl Fn(&'a Answer) -> Option<(bool, Option<&'a String>)>,
) -> Option<Connection> {
    let seen: Vec<_> = readings
        .iter()
        .filter_map(|reading| Some((reading, seen(reading.answer.as_ref()?)?)))
        .collect();
    if seen.is_empty() {
        return None;
    }
    let away = || seen.iter().filter(|(_, (connected, _))| !connected);
    Some(Connection {
        connected: away().next().is_none(),
        unreachable_from: away().map(|(reading, _)| reading.pod.clone()).collect(),
        error: away().find_map(|(_, (_, error))| error.cloned()),
    })
}

fn earliest(times: impl Iterator<Item = Timestamp>) -> Option<Time> {
    times.min().map(time)
}

/// Whole seconds, which is what the API server keeps: anything finer would differ from what is read back.
fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
