//! Why a pod does not run, as the cluster tells it, and where a person looks next.
//!
//! ```text
//! a container waits, or has ended with an error ─> what the kubelet and the container said
//! no node for a while                           ─> what the scheduler said
//! a node, but no container for a while          ─> the pod's condition, where it says anything
//! ```
//! A Secret or a volume that is missing shows in the last way: the kubelet tells the pod's events only, which are not read here.
//! Owns: reading a pod's status. Does not own: whether it is a trouble (`status`).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus,
};
use kube::ResourceExt;

/// So long a pod may wait for a node before that is a reason to look: its volume is being made, or a node is.
const SCHEDULING: Duration = Duration::from_secs(30);
/// So long a node may take until it starts the first container: it attaches volumes, pulls the image.
const STARTING: Duration = Duration::from_secs(180);
/// Most characters of one text that a kubelet or a container said.
const LONGEST_TEXT: usize = 400;

/// What keeps the pod from running that a person should know; none while all is on its way.
pub(crate) fn why_waiting(pod: &Pod, now: Timestamp) -> Option<String> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    containers(status)
        .find_map(|container| stopped(&name, container))
        .or_else(|| unscheduled(pod, status, now))
        .or_else(|| not_started(pod, status, now))
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let containers = status.init_container_statuses.iter().flatten();
    containers.chain(status.container_statuses.iter().flatten())
}

/// A container that waits for something else than its turn, or has just ended with an error.
fn stopped(pod: &str, container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
        let how = how_it_ended(ended);
        return Some(format!(
            "container {name} {how} (`kubectl logs {pod} -c {name}` has more)"
        ));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let said = after_colon(waiting.message.as_deref());
    let before = container.last_state.as_ref();
    let more = match before.and_then(|before| before.terminated.as_ref()) {
        Some(ended) => format!(
            ", since it {} (`kubectl logs {pod} -c {name} --previous` has more)",
            how_it_ended(ended)
        ),
        None => format!(" (`kubectl describe pod {pod}` has more)"),
    };
    Some(format!("container {name} waits: {reason}{said}{more}"))
}

fn how_it_ended(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_ref();
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let last_words = after_colon(ended.message.as_deref());
    format!("ended with exit code {}{reason}{last_words}", ended.exit_code)
}

/// A pod that has fitted no node for a while.
fn unscheduled(pod: &Pod, status: &PodStatus, now: Timestamp) -> Option<String> {
    let condition = condition(status, "PodScheduled", "False")?;
    holds_for(condition, pod, SCHEDULING, now).then(|| {
        let said = condition.message.as_deref().unwrap_or_default();
        format!("not scheduled: {said}")
    })
}

/// A pod that has a node, which has started none of its containers for a while.
fn not_started(pod: &Pod, status: &PodStatus, now: Timestamp) -> Option<String> {
    let scheduled = condition(status, "PodScheduled", "True")?;
    let is_pending = status.phase.as_deref() == Some("Pending");
    if !is_pending || containers(status).any(has_run) || !holds_for(scheduled, pod, STARTING, now) {
        return None;
    }
    let prepared = condition(status, "PodReadyToStartContainers", "False");
    let said = after_colon(prepared.and_then(|prepared| prepared.message.as_deref()));
    let (seconds, name) = (STARTING.as_secs(), pod.name_any());
    Some(format!(
        "its node has started no container for {seconds} s{said} (`kubectl describe pod {name}` tells why)"
    ))
}

fn has_run(container: &ContainerStatus) -> bool {
    let ran = |state: &ContainerState| state.running.is_some() || state.terminated.is_some();
    container.state.as_ref().is_some_and(ran) || container.last_state.as_ref().is_some_and(ran)
}

fn condition<'a>(status: &'a PodStatus, kind: &str, value: &str) -> Option<&'a PodCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind && condition.status == value)
}

/// Whether the condition has been as it is for so long; yes where nobody says since when.
fn holds_for(condition: &PodCondition, pod: &Pod, bound: Duration, now: Timestamp) -> bool {
    let since = condition.last_transition_time.as_ref();
    let since = since.or(pod.metadata.creation_timestamp.as_ref());
    since.is_none_or(|since| since.0 <= now - bound)
}

/// `: <text>` in one line of bounded length; nothing where nothing is said.
fn after_colon(text: Option<&str>) -> String {
    let words: Vec<_> = text.unwrap_or_default().split_whitespace().collect();
    let line = words.join(" ");
    let end = line.char_indices().nth(LONGEST_TEXT).map(|(end, _)| end);
    match end {
        Some(end) => format!(": {}…", &line[..end]),
        None if line.is_empty() => line,
        None => format!(": {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A pod that got a node at second 0; what is said of it at `second`.
    fn said(second: i64, status: Value) -> Option<String> {
        let mut pod =
            json!({"metadata": {"name": "g-writer-0", "creationTimestamp": "1970-01-01T00:00:00Z"}});
        pod["status"] = status;
        let pod: Pod = serde_json::from_value(pod).unwrap();
        why_waiting(&pod, Timestamp::from_second(second).unwrap())
    }

    fn container(name: &str, state: Value, last_state: Value) -> Value {
        json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last_state})
    }

    fn of_sidecar(state: Value, last_state: Value) -> Option<String> {
        said(
            5,
            json!({"phase": "Running", "containerStatuses": [container("sidecar", state, last_state)]}),
        )
    }

    #[test]
    fn a_container_that_waits_says_what_for() {
        let waiting =
            |reason: &str| json!({"waiting": {"reason": reason, "message": "secret \"s3\" not found"}});
        assert_eq!(
            of_sidecar(waiting("CreateContainerConfigError"), json!({})).as_deref(),
            Some(
                "container sidecar waits: CreateContainerConfigError: secret \"s3\" not found (`kubectl describe pod g-writer-0` has more)"
            )
        );
        for reason in ["ContainerCreating", "PodInitializing"] {
            assert_eq!(of_sidecar(waiting(reason), json!({})), None);
        }
        assert_eq!(of_sidecar(json!({"running": {}}), json!({})), None);
    }

    #[test]
    fn a_container_that_crashes_says_its_last_words() {
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "failed to read\n  the config: no such file\n"}});
        assert_eq!(
            of_sidecar(ended.clone(), json!({})).as_deref(),
            Some(
                "container sidecar ended with exit code 1 (Error): failed to read the config: no such file (`kubectl logs g-writer-0 -c sidecar` has more)"
            )
        );
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}});
        assert_eq!(
            of_sidecar(waiting, ended).as_deref(),
            Some(
                "container sidecar waits: CrashLoopBackOff: back-off 40s restarting failed container, since it ended with exit code 1 (Error): failed to read the config: no such file (`kubectl logs g-writer-0 -c sidecar --previous` has more)"
            )
        );
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let killed = of_sidecar(killed, json!({})).unwrap();
        assert!(killed.contains("exit code 137 (OOMKilled) ("), "{killed}");
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        assert_eq!(of_sidecar(done, json!({})), None, "that is no error");
    }

    #[test]
    fn last_words_have_an_end() {
        let text = "é".repeat(5000);
        let ended = json!({"terminated": {"exitCode": 1, "message": text}});
        let why = of_sidecar(ended, json!({})).unwrap();
        assert_eq!(why.matches('é').count(), LONGEST_TEXT);
        assert!(why.contains("é… ("), "{why}");
    }

    #[test]
    fn a_pod_may_wait_for_its_node_while_its_volume_is_being_made() {
        let condition = json!({"type": "PodScheduled", "status": "False", "lastTransitionTime": "1970-01-01T00:00:02Z",
            "message": "unbound PersistentVolumeClaims"});
        let after = |second| said(second, json!({"phase": "Pending", "conditions": [condition]}));
        assert_eq!(after(0), None, "by a clock that is behind");
        assert_eq!(after(31), None);
        assert_eq!(
            after(32).as_deref(),
            Some("not scheduled: unbound PersistentVolumeClaims")
        );
    }

    #[test]
    fn a_node_may_take_a_while_until_it_starts_the_first_container() {
        let scheduled =
            json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"});
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        let pending = |containers: Value, conditions: Value| json!({"phase": "Pending", "conditions": conditions, "containerStatuses": containers});
        let stuck = pending(
            json!([container("sidecar", creating, json!({}))]),
            json!([scheduled]),
        );
        assert_eq!(said(179, stuck.clone()), None);
        let why = said(180, stuck).unwrap();
        assert_eq!(
            why,
            "its node has started no container for 180 s (`kubectl describe pod g-writer-0` tells why)"
        );
        assert!(
            said(180, json!({"phase": "Pending", "conditions": [scheduled]})).is_some(),
            "a node that has not even looked at it"
        );
        let not_prepared =
            json!({"type": "PodReadyToStartContainers", "status": "False", "message": "no network"});
        let told = pending(json!([]), json!([scheduled, not_prepared]));
        assert!(said(180, told).unwrap().contains("180 s: no network ("));

        // A native sidecar that builds its graph keeps the user's container waiting, for hours perhaps.
        let building = json!({"phase": "Pending", "conditions": [scheduled],
            "initContainerStatuses": [container("sidecar", json!({"running": {}}), json!({}))],
            "containerStatuses": [container("api", json!({"waiting": {"reason": "PodInitializing"}}), json!({}))]});
        assert_eq!(said(9000, building), None);
    }
}
