//! The end of a graph: what lives outside the cluster (leases, JetStream consumers, on request the data) is removed by a Job.
//!
//! ```text
//! deleted ─> in the foreground: the account of the Job's pod loses its owner, or is made anew, until the finalizer goes
//!         ─> StatefulSet and Deployment deleted, so that nothing renews a lease
//!         ─> no pod left (or 45 s passed) ─> Job <graph>-cleanup ─> succeeded ─┐
//!                                                                 failed      ├─> finalizer removed
//!            time is over, namespace on its way out, orphaned ────────────────┘
//! ```
//! Expected flow: each reconcile finds out from the cluster how far it got; there is no other memory.
//! Guarantees: the finalizer goes away within 90 s of the deletion, whatever fails; within 330 s where a Job is running that was
//! asked to delete the data (`deletionPolicy: Delete`). What was left behind is said in an Event.
//! A Job that does not end in time is deleted: it must not meet a new graph of the same name.
//! Owns: the order and the bounds. Does not own: the Job's content (`desired`).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

/// The finalizer that waits for the cleaning.
pub const FINALIZER: &str = "slipstream.dev/cleanup";
/// The API server's finalizer for `--cascade=orphan`: the pods go on without the resource.
const ORPHAN: &str = "orphan";
/// The API server's finalizer for `--cascade=foreground`: all that the resource owns goes before the resource does.
const FOREGROUND: &str = "foregroundDeletion";

/// After this long, the Job starts although pods are left: it needs the rest of the time.
const PODS_BOUND: Duration = Duration::from_secs(45);
/// After this long, the finalizer is removed.
const TOTAL_BOUND: Duration = Duration::from_secs(90);
/// The same while a Job deletes data, of which there may be much; the Job gives up by itself after 300 s.
const DATA_BOUND: Duration = Duration::from_secs(330);

/// How far the deletion has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Situation {
    /// Since `metadata.deletionTimestamp`.
    pub elapsed: Duration,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// Whether the StatefulSet or the Deployment exists.
    pub workloads: bool,
    /// Pods of writer and replicas.
    pub pods: usize,
    /// The cleanup Job.
    pub job: JobState,
    /// Whether the Job deletes the data too.
    pub deletes_data: bool,
}

/// The cleanup Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobState {
    Absent,
    /// Made before this deletion, for an earlier graph of the same name.
    Old,
    Running,
    Succeeded,
    Failed(String),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The finalizer is not there: nothing is waited for.
    Done,
    DeleteWorkloads,
    AwaitPods,
    DeleteOldJob,
    RunJob,
    AwaitJob,
    /// Remove the finalizer; with what to tell.
    Release(Ending),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything outside is gone.
    CleanedUp,
    /// There was nothing to clean, or nobody asked for it.
    Nothing,
    /// Something may be left outside; why.
    LeftBehind(String),
}

/// Decides the next step from how far it came.
pub(crate) fn next_step(situation: &Situation) -> Step {
    let has = |name: &str| situation.finalizers.iter().any(|finalizer| finalizer == name);
    if !has(FINALIZER) {
        return Step::Done;
    }
    if has(ORPHAN) {
        return Step::Release(Ending::Nothing);
    }
    match &situation.job {
        JobState::Succeeded => return Step::Release(Ending::CleanedUp),
        JobState::Failed(why) => return Step::Release(Ending::LeftBehind(why.clone())),
        JobState::Absent | JobState::Old | JobState::Running => {}
    }
    let bound = match situation.job {
        JobState::Running if situation.deletes_data => DATA_BOUND,
        _ => TOTAL_BOUND,
    };
    if situation.elapsed >= bound {
        let why = format!(
            "cleaning did not end within {} s of the deletion",
            bound.as_secs()
        );
        return Step::Release(Ending::LeftBehind(why));
    }
    if situation.workloads {
        return Step::DeleteWorkloads;
    }
    match situation.job {
        JobState::Running => Step::AwaitJob,
        JobState::Old => Step::DeleteOldJob,
        _ if situation.pods > 0 && situation.elapsed < PODS_BOUND => Step::AwaitPods,
        _ => Step::RunJob,
    }
}

/// Whether the deletion has to see to the account that the Job's pod runs as: it is gone, or would go before the Job is done.
/// In the background, what the resource owns goes after it.
pub(crate) fn keeps_account(finalizers: &[String], account_exists: bool) -> bool {
    !account_exists || finalizers.iter().any(|finalizer| finalizer == FOREGROUND)
}

/// Reads the Job's state from its conditions; `deleted_at` is when the graph was deleted.
pub(crate) fn job_state(job: Option<&Job>, deleted_at: Option<Timestamp>) -> JobState {
    let Some(job) = job else { return JobState::Absent };
    let made_at = job.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if made_at < deleted_at && made_at.is_some() {
        return JobState::Old;
    }
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    for condition in conditions.filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Complete" | "SuccessCriteriaMet" => return JobState::Succeeded,
            "Failed" => {
                let message = condition.message.as_deref().unwrap_or("no reason given");
                return JobState::Failed(format!("the cleanup Job failed: {message}"));
            }
            _ => {}
        }
    }
    JobState::Running
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deleted() -> Situation {
        Situation {
            elapsed: Duration::from_secs(1),
            finalizers: vec![FINALIZER.to_owned()],
            workloads: true,
            pods: 3,
            job: JobState::Absent,
            deletes_data: false,
        }
    }

    #[test]
    fn the_expected_flow_goes_step_by_step() {
        let mut now = deleted();
        assert_eq!(next_step(&now), Step::DeleteWorkloads);
        now.workloads = false;
        assert_eq!(next_step(&now), Step::AwaitPods);
        now.pods = 0;
        assert_eq!(next_step(&now), Step::RunJob);
        now.job = JobState::Running;
        assert_eq!(next_step(&now), Step::AwaitJob);
        now.job = JobState::Succeeded;
        assert_eq!(next_step(&now), Step::Release(Ending::CleanedUp));
        now.finalizers.clear();
        assert_eq!(next_step(&now), Step::Done);
    }

    #[test]
    fn nothing_holds_the_finalizer_beyond_the_bounds() {
        let at = |seconds, change: fn(&mut Situation)| {
            let mut situation = deleted();
            situation.workloads = false;
            situation.elapsed = Duration::from_secs(seconds);
            change(&mut situation);
            next_step(&situation)
        };
        assert_eq!(at(44, |_| {}), Step::AwaitPods);
        assert_eq!(at(45, |_| {}), Step::RunJob, "a pod that does not end");
        assert_eq!(
            at(89, |situation| situation.job = JobState::Running),
            Step::AwaitJob
        );
        for change in [
            (|_| {}) as fn(&mut Situation),
            |situation| situation.workloads = true,
            |situation| situation.job = JobState::Running,
        ] {
            assert!(matches!(at(90, change), Step::Release(Ending::LeftBehind(_))));
        }
        let failed = at(5, |situation| {
            situation.job = JobState::Failed("no route to the store".to_owned())
        });
        assert_eq!(
            failed,
            Step::Release(Ending::LeftBehind("no route to the store".to_owned()))
        );
    }

    #[test]
    fn only_a_running_job_that_deletes_data_has_more_time() {
        let at = |seconds, job: JobState| {
            next_step(&Situation {
                elapsed: Duration::from_secs(seconds),
                workloads: false,
                pods: 0,
                job,
                deletes_data: true,
                ..deleted()
            })
        };
        assert_eq!(at(90, JobState::Running), Step::AwaitJob);
        assert_eq!(at(329, JobState::Running), Step::AwaitJob);
        assert!(
            matches!(at(330, JobState::Running), Step::Release(Ending::LeftBehind(why)) if why.contains("330 s"))
        );
        assert!(
            matches!(at(90, JobState::Absent), Step::Release(Ending::LeftBehind(why)) if why.contains("90 s"))
        );
        assert_eq!(at(200, JobState::Succeeded), Step::Release(Ending::CleanedUp));
    }

    #[test]
    fn an_orphaned_graph_goes_on_and_is_not_cleaned() {
        let mut orphaned = deleted();
        orphaned.finalizers.push("orphan".to_owned());
        assert_eq!(next_step(&orphaned), Step::Release(Ending::Nothing));
    }

    #[test]
    fn the_jobs_account_is_kept_where_it_would_go_before_the_job() {
        let finalizers = |last: &str| [FINALIZER.to_owned(), last.to_owned()];
        assert!(keeps_account(&finalizers(FOREGROUND), true));
        assert!(
            keeps_account(&[FINALIZER.to_owned()], false),
            "it is gone already"
        );
        assert!(!keeps_account(&[FINALIZER.to_owned()], true));
        assert!(!keeps_account(&finalizers("theirs.example/finalizer"), true));
    }

    #[test]
    fn a_jobs_conditions_tell_its_state() {
        let job = |conditions| -> Job {
            serde_json::from_value(json!({"status": {"conditions": conditions}})).unwrap()
        };
        let condition =
            |kind: &str, status: &str| json!([{"type": kind, "status": status, "message": "why"}]);
        let job_state = |job: Option<&Job>| job_state(job, None);
        assert_eq!(job_state(None), JobState::Absent);
        assert_eq!(job_state(Some(&Job::default())), JobState::Running);
        assert_eq!(
            job_state(Some(&job(condition("Complete", "True")))),
            JobState::Succeeded
        );
        assert_eq!(
            job_state(Some(&job(condition("Complete", "False")))),
            JobState::Running
        );
        let failed = job_state(Some(&job(condition("Failed", "True"))));
        assert_eq!(failed, JobState::Failed("the cleanup Job failed: why".to_owned()));
    }

    #[test]
    fn the_job_of_an_earlier_graph_is_not_taken_for_this_ones() {
        let job: Job = serde_json::from_value(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Complete", "status": "True"}]}
        }))
        .unwrap();
        let state = |deleted_at: &str| job_state(Some(&job), deleted_at.parse().ok());
        assert_eq!(state("2026-01-01T00:00:00Z"), JobState::Succeeded);
        assert_eq!(state("2026-01-01T00:00:01Z"), JobState::Old);
        let mut now = deleted();
        (now.workloads, now.pods, now.job) = (false, 0, JobState::Old);
        assert_eq!(next_step(&now), Step::DeleteOldJob);
    }
}
