//! What is told of a graph: its pods are asked, its status is decided, written if it is worth a write, and what changed becomes
//! Events and metrics.
//!
//! Owns: the memory of the last status written, so that a watch that lags behind does not make it be written twice.
//! Does not own: what the status is (`status`), which transitions count (`events`).

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use chrono::Utc;
use crds::{EventsSpec, MemberStatus, Readiness, ReplicatedGraphDBStatus};
use jiff::Timestamp;
use kube::Resource;
use metrics::gauge;

use crate::controller::{Context, POSTPONED_AT_MOST, Subject, reference};
use crate::error::Error;
use crate::events::transitions;
use crate::followed::Followed;
use crate::members::{self, Reading};
use crate::observe::Seen;
use crate::patience::Patience;
use crate::settings::Settings;
use crate::snapshot_watch::SnapshotWatch;
use crate::status::{Facts, Rollout, Standing, is_due, newest, status};
use crate::validate::Validated;
use crate::watched::{GraphRef, graph_resource};
use crate::writes::version_of;

/// What is remembered of a graph from one reconcile to the next; losing it costs at most a write that changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    followed: Followed,
    snapshots: SnapshotWatch,
    patience: Patience,
    /// Since when telling of it has been put off.
    postponed: Option<Instant>,
    /// The resource version that the last status write made, that status, and when.
    written: Option<(u64, ReplicatedGraphDBStatus, Instant)>,
}

/// What the pods said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    readings: Vec<Reading>,
    /// Why snapshots are overdue, if they are.
    snapshot_overdue: Option<String>,
}

/// What a status follows from, besides what is remembered.
pub(crate) struct Findings<'a> {
    pub seen: &'a Seen,
    /// None where the resource cannot be used or is not to be looked at any more.
    pub resource: Option<&'a Validated>,
    pub standing: &'a Standing,
    pub rollout: &'a Rollout,
    pub measured: &'a Measured,
    /// The sidecars' image, where it was decided.
    pub image: Option<&'a str>,
}

impl Context {
    /// Whether telling of this graph is to be put off, because as many statuses as may be are being written already.
    pub(crate) fn is_rushed(&self, subject: &Subject) -> bool {
        let mut memory = self.memory();
        let postponed = &mut memory.entry(reference(&subject.graph)).or_default().postponed;
        if self.telling.available_permits() > 0 {
            *postponed = None;
            return false;
        }
        postponed.get_or_insert_with(Instant::now).elapsed() < POSTPONED_AT_MOST
    }

    /// Asks every pod where it stands.
    pub(crate) async fn measure(
        &self,
        subject: &Subject,
        seen: &Seen,
        resource: Option<&Validated>,
    ) -> Measured {
        let Settings {
            member_port,
            member_timeout,
            ..
        } = self.settings;
        let mut readings = members::read(&self.http, &seen.pods, member_port, member_timeout).await;
        let before = self.previous(subject);
        let newest = newest(&readings, before.as_ref().and_then(|before| before.head.as_ref()));
        let head = newest.as_ref().map_or(0, |head| head.seq);
        let last_seq = |pod: &str| {
            let members = before.iter().flat_map(|before| &before.members);
            members
                .into_iter()
                .find(|member| member.pod == pod)
                .map_or(0, |member| member.seq)
        };
        let snapshot = newest_snapshot(&readings, before.as_ref(), head);
        let mut memory = self.memory();
        let memory = memory.entry(reference(&subject.graph)).or_default();
        memory
            .followed
            .update(&mut readings, newest.as_ref(), last_seq, Timestamp::now());
        memory.patience.heed(&mut readings, snapshot, Timestamp::now());
        let snapshot_overdue = resource.and_then(|resource| {
            let wanted = &resource.spec().snapshots;
            let since = memory
                .snapshots
                .update(wanted, &readings, head, snapshot, Utc::now())?;
            let (schedule, since) = (&wanted.schedule, since.format("%Y-%m-%dT%H:%M:%SZ"));
            Some(format!(
                "commits after {snapshot} have waited for a snapshot since {since} at least, and the schedule `{schedule}` came round three times"
            ))
        });
        Measured {
            readings,
            snapshot_overdue,
        }
    }

    /// Decides the status, writes it if it is worth a write, and tells what changed.
    pub(crate) async fn tell(&self, subject: &Subject, findings: &Findings<'_>) -> Result<(), Error> {
        let Findings {
            seen,
            resource,
            standing,
            rollout,
            measured,
            image,
        } = *findings;
        let previous = self.previous(subject);
        let default = (Readiness::default(), EventsSpec::default());
        let spec = resource.map(Validated::spec);
        let facts = Facts {
            graph: &subject.name,
            generation: subject.graph.metadata.generation,
            wanted: spec.map_or_else(|| seen.replicas_told(), |spec| spec.replicas),
            readiness: spec.map_or(&default.0, |spec| &spec.readiness),
            poll_interval: spec
                .map_or(&default.1, |spec| &spec.events)
                .poll_interval
                .as_std(),
            standing,
            rollout,
            readings: &measured.readings,
            snapshot_overdue: measured.snapshot_overdue.as_deref(),
            image,
            previous: previous.as_ref(),
        };
        let next = status(&facts, Timestamp::now());
        gauges(subject, previous.as_ref(), &next);
        let key = reference(&subject.graph);
        let since_last = self
            .memory()
            .get(&key)
            .and_then(|memory| Some(memory.written.as_ref()?.2.elapsed()));
        if !is_due(previous.as_ref(), &next, since_last) {
            return Ok(());
        }
        let json = serde_json::to_value(&next).map_err(|source| Error::Json {
            object: format!("the status of {}/{}", subject.namespace, subject.name),
            source,
        })?;
        let written = {
            // Never closed, so there is always a permit in the end.
            let _permit = self.telling.acquire().await;
            self.writes.apply_status(&subject.target, json).await?
        };
        for notice in transitions(previous.as_ref(), &next) {
            self.notices
                .publish(&subject.graph.object_ref(&graph_resource()), &notice)
                .await;
        }
        let mut memory = self.memory();
        memory.entry(key).or_default().written = Some((version_of(&written), next, Instant::now()));
        Ok(())
    }

    /// The newest known status: the one written last, as long as the watch has not caught up with it.
    fn previous(&self, subject: &Subject) -> Option<ReplicatedGraphDBStatus> {
        let memory = self.memory();
        let written = memory
            .get(&reference(&subject.graph))
            .and_then(|memory| memory.written.as_ref());
        match written {
            Some((version, status, _)) if *version > version_of(subject.graph.as_ref()) => {
                Some(status.clone())
            }
            _ => subject.status.clone(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<GraphRef, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, graph: &GraphRef) {
        self.memory().remove(graph);
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.remove(graph);
        self.failures.reset(graph);
    }
}

/// The commit of the newest snapshot that a pod knows of or that was known before; 0 for none.
fn newest_snapshot(readings: &[Reading], before: Option<&ReplicatedGraphDBStatus>, head: u64) -> u64 {
    let told = readings
        .iter()
        .filter_map(|reading| Some(reading.answer.as_ref()?.snapshots.last.as_ref()?.seq));
    let known = before.and_then(|before| Some(before.last_snapshot.as_ref()?.seq));
    told.chain(known.filter(|seq| *seq <= head)).max().unwrap_or(0)
}

/// The lag of each member; of one that is gone, that there is none.
fn gauges(subject: &Subject, before: Option<&ReplicatedGraphDBStatus>, now: &ReplicatedGraphDBStatus) {
    let is_gone = |member: &&MemberStatus| now.members.iter().all(|other| other.pod != member.pod);
    for member in before.iter().flat_map(|before| &before.members).filter(is_gone) {
        set_lag(subject, member, f64::NAN, f64::NAN);
    }
    for member in &now.members {
        set_lag(
            subject,
            member,
            member.lag_commits as f64,
            member.lag_seconds as f64,
        );
    }
}

fn set_lag(subject: &Subject, member: &MemberStatus, commits: f64, seconds: f64) {
    let labels = [
        ("namespace", subject.namespace.clone()),
        ("graph", subject.name.clone()),
        ("pod", member.pod.clone()),
        ("role", format!("{:?}", member.role).to_lowercase()),
    ];
    gauge!("slipstream_operator_member_lag_commits", &labels).set(commits);
    gauge!("slipstream_operator_member_lag_seconds", &labels).set(seconds);
}
