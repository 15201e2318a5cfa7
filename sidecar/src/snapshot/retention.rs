//! Which snapshots go. Deciding is pure; removing needs the duty, step by step.
//!
//! The `keepLast` newest whole ones stay, whatever their age; older ones stay while they are younger than `maxAge`. Nothing
//! whole is removed before one that stays is known to be good: read back when this process took it, or checked now.
//!
//! Crash behaviour: meta data goes first, so what is half removed is no snapshot any more, and the next pass removes the rest.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crds::Snapshots;

use super::catalog::{Catalog, Found, FoundState};
use super::duty::Duty;
use super::meta::{BEGUN, key};
use super::patient::Patient;
use super::restore::check;
use super::upload::remove;
use super::{SnapshotError, SnapshotLimits};
use crate::ids::TxId;
use crate::store::Store;

/// Something that goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) tx_id: String,
    pub(super) why: Gone,
}

/// Why something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gone {
    /// More than `keepLast` are newer, and it is older than `maxAge`.
    TooOld,
    /// It cannot be restored, and another can.
    Damaged(String),
    /// Only its `begun.json`: it is complete.
    Marker,
    /// It never became one, and nobody can be at it any more.
    LeftOver,
}

/// What goes now.
pub(super) fn plan(
    catalog: &Catalog,
    settings: &Snapshots,
    now: DateTime<Utc>,
    leftover_age: Duration,
) -> Vec<Removal> {
    let older_than = |since: DateTime<Utc>, age: Duration| (now - since).to_std().is_ok_and(|is| is > age);
    let has_whole = catalog.whole().next().is_some();
    let (mut whole, mut removals) = (0, Vec::new());
    for Found {
        tx_id,
        state,
        has_begun,
    } in &catalog.found
    {
        let why = match state {
            FoundState::Whole(meta) => {
                whole += 1;
                let is_old = older_than(meta.completed_at, settings.max_age.into());
                let is_too_old = whole > settings.keep_last && is_old;
                let why = if is_too_old { Gone::TooOld } else { Gone::Marker };
                (is_too_old || *has_begun).then_some(why)
            }
            FoundState::Damaged(why) => has_whole.then(|| Gone::Damaged(why.clone())),
            FoundState::Foreign(_) => None,
            FoundState::Unfinished(None) => Some(Gone::LeftOver),
            FoundState::Unfinished(Some(since)) => older_than(*since, leftover_age).then_some(Gone::LeftOver),
        };
        removals.extend(why.map(|why| Removal {
            tx_id: tx_id.clone(),
            why,
        }));
    }
    removals
}

/// Removes what the plan names, while the duty is held. `verified` are those known to be good.
pub(super) async fn carry_out(
    store: &Arc<dyn Store>,
    duty: &mut Duty,
    catalog: &mut Catalog,
    settings: &Snapshots,
    limits: &SnapshotLimits,
    verified: &mut HashSet<TxId>,
    now: DateTime<Utc>,
) -> Result<(), SnapshotError> {
    let mut removals = plan(catalog, settings, now, limits.leftover_age);
    if removals.iter().any(|removal| removal.why == Gone::TooOld) {
        make_sure(store, duty, catalog, limits, verified).await?;
        // One that was found damaged meanwhile does not count any more.
        removals = plan(catalog, settings, now, limits.leftover_age);
    }
    for Removal { tx_id, why } in removals {
        duty.renew().await?;
        fail::fail_point!("snapshot::before_retention", |_| Err(SnapshotError::Crashed(
            "snapshot::before_retention"
        )));
        match &why {
            Gone::Marker => {
                Patient(&**store).delete(&key(&tx_id, BEGUN)?).await?;
                continue;
            }
            Gone::Damaged(detail) => tracing::warn!(tx_id, detail, "removing a damaged snapshot"),
            why => tracing::info!(tx_id, ?why, "removing a snapshot"),
        }
        remove(&**store, &tx_id).await?;
        catalog.found.retain(|found| found.tx_id != tx_id);
        metrics::counter!("slipstream_snapshots_removed_total").increment(1);
    }
    Ok(())
}

/// Checks the newest snapshots, until one is good. Those that are not count as damaged from now on.
async fn make_sure(
    store: &Arc<dyn Store>,
    duty: &mut Duty,
    catalog: &mut Catalog,
    limits: &SnapshotLimits,
    verified: &mut HashSet<TxId>,
) -> Result<(), SnapshotError> {
    for found in &mut catalog.found {
        let FoundState::Whole(meta) = &found.state else {
            continue;
        };
        if verified.contains(&meta.tx_id) {
            return Ok(());
        }
        let checked = tokio::select! {
            checked = check(store, meta, limits) => checked,
            lost = duty.keep() => return Err(lost),
        };
        match checked {
            Ok(()) => {
                verified.insert(meta.tx_id);
                return Ok(());
            }
            Err(error) if error.blames_the_snapshot() => {
                tracing::warn!(%error, "a retained snapshot is damaged");
                metrics::counter!("slipstream_restores_total", "outcome" => "damaged").increment(1);
                found.state = FoundState::Damaged(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::meta::example;
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-01-10T00:00:00Z".parse().unwrap()
    }

    /// A whole one, so many hours old.
    fn whole(seq: u64, hours: i64) -> Found {
        let meta = example(seq, now() - chrono::Duration::hours(hours));
        Found {
            tx_id: format!("s{seq}"),
            state: FoundState::Whole(Box::new(meta)),
            has_begun: false,
        }
    }

    fn other(tx_id: &str, state: FoundState) -> Found {
        Found {
            tx_id: tx_id.to_owned(),
            state,
            has_begun: true,
        }
    }

    fn gone(found: Vec<Found>) -> Vec<String> {
        let settings = Snapshots {
            keep_last: 2,
            max_age: "1d".parse().unwrap(),
            ..Snapshots::default()
        };
        let removals = plan(&Catalog { found }, &settings, now(), Duration::from_secs(3600));
        removals.into_iter().map(|removal| removal.tx_id).collect()
    }

    #[test]
    fn the_newest_stay_whatever_their_age_and_older_ones_while_they_are_young() {
        let old = vec![whole(9, 100), whole(8, 200), whole(7, 300)];
        assert_eq!(gone(old), ["s7"]);
        let young = vec![whole(9, 1), whole(8, 2), whole(7, 3), whole(6, 23), whole(5, 25)];
        assert_eq!(gone(young), ["s5"]);
        assert_eq!(gone(vec![whole(9, 10_000)]), Vec::<String>::new());
        let completed = Found {
            has_begun: true,
            ..whole(9, 1)
        };
        assert_eq!(gone(vec![completed]), ["s9"], "its marker");
    }

    #[test]
    fn what_is_damaged_goes_only_when_there_is_a_whole_one() {
        let damaged = || other("bad", FoundState::Damaged("flipped".to_owned()));
        assert_eq!(gone(vec![damaged()]), Vec::<String>::new());
        assert_eq!(gone(vec![whole(9, 1), damaged()]), ["bad"]);
        let foreign = other("newer", FoundState::Foreign("format 2".to_owned()));
        assert_eq!(gone(vec![whole(9, 1), foreign]), Vec::<String>::new());
    }

    #[test]
    fn what_was_begun_goes_only_when_nobody_can_be_at_it() {
        let begun = |minutes| FoundState::Unfinished(Some(now() - chrono::Duration::minutes(minutes)));
        let found = vec![
            other("young", begun(59)),
            other("old", begun(61)),
            other("half-removed", FoundState::Unfinished(None)),
        ];
        assert_eq!(gone(found), ["old", "half-removed"]);
    }
}
