//! What there is of one graph, from the watches' memory: no request is made, except for a storage class when a volume is to
//! grow.
//!
//! Owns: picking a graph's objects out of the stores, and how far the cluster has brought them. Does not own: the watches.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod, ServiceAccount},
    storage::v1::StorageClass,
};
use kube::{Api, Client};

use crate::apply::Applied;
use crate::controller::{Context, Subject};
use crate::desired::{self, Role, cleanup_job_name};
use crate::error::{Error, api_code};
use crate::members;
use crate::status::Rollout;
use crate::validate::Validated;
use crate::watched::{Watched, of_graph};

/// What was seen of a graph.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// What `desired` needs to know.
    pub cluster: desired::Observed,
    /// Pods of writer and replicas that count.
    pub pods: Vec<Arc<Pod>>,
    /// All pods of writer and replicas, those on their way out included.
    pub all_pods: usize,
    /// The cleanup Job, of this graph or of an earlier one of its name.
    pub job: Option<Arc<Job>>,
    /// The account of the writer's pod and of the cleanup Job's.
    pub writer_account: Option<Arc<ServiceAccount>>,
}

/// Looks at the stores.
pub(crate) fn observe(context: &Context, subject: &Subject) -> Seen {
    let (watched, namespace, graph) = (&context.watched, &subject.namespace, &subject.name);
    let writer_name = format!("{graph}-{}", Role::Writer.as_str());
    let replica_name = format!("{graph}-{}", Role::Replica.as_str());
    let claim_name = format!("data-{writer_name}-0");
    let members: Vec<_> = of_graph(&watched.pods, namespace, graph)
        .into_iter()
        .filter(|pod| members::role_of(pod).is_some())
        .collect();
    Seen {
        all_pods: members.len(),
        pods: members.into_iter().filter(|pod| members::is_live(pod)).collect(),
        job: Watched::get(&watched.jobs, namespace, &cleanup_job_name(graph)),
        writer_account: Watched::get(&watched.service_accounts, namespace, &writer_name),
        cluster: desired::Observed {
            installation: Arc::clone(&context.installation),
            image_before: subject.status.as_ref().and_then(|status| status.image.clone()),
            config_map: Watched::get(&watched.config_maps, namespace, &desired::config_map_name(graph)),
            writer: Watched::get(&watched.stateful_sets, namespace, &writer_name),
            replica: Watched::get(&watched.deployments, namespace, &replica_name),
            data_claim: Watched::get(&watched.claims, namespace, &claim_name),
            storage_class: None,
            pod_monitor_installed: watched.pod_monitor_installed(),
        },
    }
}

impl Seen {
    /// Reads the storage class, where the decision needs it. One that cannot be read counts as one that does not grow.
    pub(crate) async fn with_storage_class(
        mut self,
        client: &Client,
        graph: &Validated,
    ) -> Result<Self, Error> {
        let claim = self.cluster.data_claim.clone();
        if let Some(name) = desired::storage_class_to_read(graph, claim.as_deref()) {
            let classes = Api::<StorageClass>::all(client.clone());
            self.cluster.storage_class = match classes.get(name).await {
                Ok(class) => Some(Arc::new(class)),
                Err(error) if matches!(api_code(&error), Some(403 | 404)) => None,
                Err(error) => return Err(Error::api(format!("read StorageClass {name}"))(error)),
            };
        }
        Ok(self)
    }

    /// Replicas that the Deployment has been told to run: for when the resource itself cannot be read.
    pub(crate) fn replicas_told(&self) -> u32 {
        let told = self
            .cluster
            .replica
            .as_ref()
            .and_then(|deployment| deployment.spec.replicas);
        told.and_then(|told| u32::try_from(told).ok()).unwrap_or_default()
    }

    /// How far the objects have come, the ones just written included.
    pub(crate) fn rollout(&self, applied: &Applied) -> Rollout {
        let deployment = applied.deployment.as_ref().or(self.cluster.replica.as_deref());
        let stateful_set = applied.stateful_set.as_ref().or(self.cluster.writer.as_deref());
        Rollout {
            replicas: applied.writer_waits || deployment.is_some_and(replicas_roll),
            writer: stateful_set.is_some_and(writer_rolls),
            volume: self.cluster.data_claim.as_deref().is_some_and(volume_grows),
            volume_note: applied.volume_note.clone(),
            pods_refused: deployment.and_then(pods_refused),
        }
    }
}

/// Whether pods of an older template are left, or the Deployment's controller has yet to look at what was just written: the
/// status that comes with a write is of before. A number of replicas that it has yet to look at is no roll.
fn replicas_roll(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let found = status.replicas.unwrap_or_default();
    let unseen = status.observed_generation < deployment.metadata.generation;
    let unscaled = deployment.spec.replicas.unwrap_or(1) == found && found > 0;
    status.updated_replicas.unwrap_or_default() < found || unseen && unscaled
}

/// What the Deployment says where its pods cannot even be made.
fn pods_refused(deployment: &Deployment) -> Option<String> {
    let mut conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let failure = conditions.find(|condition| {
        condition.type_.as_deref() == Some("ReplicaFailure") && condition.status.as_deref() == Some("True")
    })?;
    let said = failure.message.as_ref().or(failure.reason.as_ref());
    Some(said.cloned().unwrap_or_default())
}

fn writer_rolls(stateful_set: &StatefulSet) -> bool {
    let Some(status) = &stateful_set.status else {
        return false;
    };
    let unseen = status.observed_generation < stateful_set.metadata.generation;
    unseen || status.update_revision.is_some() && status.current_revision != status.update_revision
}

fn volume_grows(claim: &PersistentVolumeClaim) -> bool {
    let size =
        |quantities: Option<&std::collections::BTreeMap<_, _>>| crds::bytes(quantities?.get("storage")?).ok();
    let wanted = claim
        .spec
        .as_ref()
        .and_then(|spec| size(spec.resources.as_ref()?.requests.as_ref()));
    let found = claim
        .status
        .as_ref()
        .and_then(|status| size(status.capacity.as_ref()));
    matches!((wanted, found), (Some(wanted), Some(found)) if found < wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_template_that_no_controller_has_looked_at_yet_rolls() {
        let rolls = |generation: i64, replicas: i64, status: Value| {
            replicas_roll(
                &serde_json::from_value(json!({
                    "metadata": {"generation": generation},
                    "spec": {"replicas": replicas, "selector": {}, "template": {}},
                    "status": status,
                }))
                .unwrap(),
            )
        };
        let of = |generation: i64, replicas: i64, updated: i64| json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": updated});
        assert!(!rolls(1, 3, of(1, 3, 3)));
        assert!(
            rolls(2, 3, of(1, 3, 3)),
            "the answer to the write has the old status"
        );
        assert!(rolls(2, 3, of(2, 3, 0)));
        assert!(!rolls(2, 3, of(2, 3, 3)));
        assert!(!rolls(2, 5, of(1, 3, 3)), "that is scaling");
        assert!(!rolls(2, 0, of(1, 0, 0)), "there is nothing to roll");
    }

    #[test]
    fn a_deployment_whose_pods_are_refused_says_why() {
        let refused = |condition: Value| {
            let status = json!({"conditions": [{"type": "Available", "status": "False"}, condition]});
            let deployment = json!({"spec": {"selector": {}, "template": {}}, "status": status});
            pods_refused(&serde_json::from_value(deployment).unwrap())
        };
        let condition = |status: &str| json!({"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": "exceeded quota"});
        assert_eq!(refused(condition("True")).as_deref(), Some("exceeded quota"));
        assert_eq!(refused(condition("False")), None);
        assert_eq!(refused(json!({"type": "Progressing", "status": "True"})), None);
    }

    #[test]
    fn a_writer_that_no_controller_has_looked_at_yet_rolls() {
        let rolls = |generation: i64, observed: i64, current: &str, update: &str| {
            writer_rolls(
                &serde_json::from_value(json!({
                    "metadata": {"generation": generation},
                    "spec": {"selector": {}, "template": {}, "serviceName": "x"},
                    "status": {"observedGeneration": observed, "replicas": 1, "currentRevision": current, "updateRevision": update},
                }))
                .unwrap(),
            )
        };
        assert!(!rolls(1, 1, "a", "a"));
        assert!(rolls(2, 1, "a", "a"));
        assert!(rolls(2, 2, "a", "b"));
        assert!(!rolls(2, 2, "b", "b"));
    }
}
