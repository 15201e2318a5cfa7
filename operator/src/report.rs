//! What is told of a graph: its pods are asked, its status is decided, written if it is worth a write, and what changed becomes
//! Events and metrics.
//!
//! Owns: the memory of the last status written, so that a watch that lags behind does not make it be written twice.
//! Does not own: what the status is (`status`), which transitions count (`events`).

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use crds::{MemberStatus, Readiness, ReplicatedGraphDBStatus};
use jiff::Timestamp;
use kube::Resource;
use metrics::gauge;

use crate::controller::{Context, Subject, reference};
use crate::error::Error;
use crate::events::transitions;
use crate::followed::Followed;
use crate::members::{self, Reading};
use crate::observe::Seen;
use crate::settings::Settings;
use crate::status::{Facts, Rollout, Standing, head_seq, is_due, status};
use crate::validate::Validated;
use crate::watched::{GraphRef, graph_resource};
use crate::writes::version_of;

/// What is remembered of a graph from one reconcile to the next; losing it costs at most a write that changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    followed: Followed,
    /// The resource version that the last status write made, that status, and when.
    written: Option<(u64, ReplicatedGraphDBStatus, Instant)>,
}

impl Context {
    /// Asks every pod where it stands.
    pub(crate) async fn measure(&self, subject: &Subject, seen: &Seen) -> Vec<Reading> {
        let Settings {
            member_port,
            member_timeout,
            ..
        } = self.settings;
        let mut readings = members::read(&self.http, &seen.pods, member_port, member_timeout).await;
        let before = self.previous(subject);
        let head = head_seq(&readings, before.as_ref().and_then(|before| before.head.as_ref()));
        let last_seq = |pod: &str| {
            let members = before.iter().flat_map(|before| &before.members);
            members
                .into_iter()
                .find(|member| member.pod == pod)
                .map_or(0, |member| member.seq)
        };
        let mut memory = self.memory();
        let followed = &mut memory.entry(reference(&subject.graph)).or_default().followed;
        followed.update(&mut readings, head, last_seq, Timestamp::now());
        readings
    }

    /// Decides the status, writes it if it is worth a write, and tells what changed.
    pub(crate) async fn tell(
        &self,
        subject: &Subject,
        seen: &Seen,
        resource: &Option<Validated>,
        standing: &Standing,
        rollout: &Rollout,
        readings: &[Reading],
    ) -> Result<(), Error> {
        let previous = self.previous(subject);
        let default = Readiness::default();
        let spec = resource.as_ref().map(Validated::spec);
        let facts = Facts {
            graph: &subject.name,
            generation: subject.graph.metadata.generation,
            wanted: spec.map_or_else(|| seen.replicas_told(), |spec| spec.replicas),
            readiness: spec.map_or(&default, |spec| &spec.readiness),
            standing,
            rollout,
            readings,
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
        let written = self.writes.apply_status(&subject.target, json).await?;
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
            _ => subject.status(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<GraphRef, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, graph: &GraphRef) {
        self.memory().remove(graph);
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.remove(graph);
        self.failures.reset(graph);
    }
}

impl Subject {
    /// The status in the watch's memory; one of an unknown form counts as none.
    fn status(&self) -> Option<ReplicatedGraphDBStatus> {
        serde_json::from_value(self.graph.data.get("status")?.clone()).ok()
    }
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
