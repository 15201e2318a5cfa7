//! Step 6: a replica is killed; the other one goes on answering, and the killed one comes back by itself.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::change::NEW;
use super::checks::same_counts;
use super::{Scene, StepError, expect};
use crate::client::Query;
use crate::debian::PACKAGE;
use crate::local_process::send_signal;
use crate::report::{Passed, seconds};
use crate::wait::{Look, until};

const WITHIN: Duration = Duration::from_secs(120);

/// SIGKILL to replica 2, a commit while it is away, and reads on replica 1 until replica 2 has that commit.
///
/// # Errors
/// When a read on replica 1 fails, or replica 2 does not come back.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let (other, killed) = (scene.local.replica(1), scene.local.replica(2));
    let old_pid = killed.status().await?.pid;
    send_signal(old_pid, Signal::SIGKILL)?;
    let killed_at = Instant::now();

    let Some(package) = scene.graph.packages.get_mut(NEW) else {
        return Err(StepError::Wrong {
            what: "the model".into(),
            expected: NEW.into(),
            found: "nothing".into(),
        });
    };
    package.version = Some("0.2.0".to_owned());
    let transaction = json!({"operations": [{"upsert": {"table": PACKAGE, "rows": [package.row(NEW)]}}]});
    let commit = scene.local.writer().commit(&transaction).await?;
    scene.newest_tx = commit.tx_id;

    let count = Query::new(&format!("MATCH (p:{PACKAGE}) RETURN count(*)"));
    let expected = scene.graph.counts()[0];
    let mut reads = 0;
    let new_pid = until("replica-2 to come back", WITHIN, async || {
        match other.count(&count).await {
            Ok(found) if found == expected => reads += 1,
            Ok(found) => return Look::Found(Err(wrong_read(&other.name, expected, &found))),
            Err(error) => return Look::Found(Err(error.into())),
        }
        match killed.status().await {
            Ok(status) if status.pid != old_pid && status.ready && status.seq >= Some(commit.seq) => {
                Look::Found(Ok(status.pid))
            }
            Ok(status) => Look::NotYet(format!(
                "pid {}, ready: {}, at commit {:?}",
                status.pid, status.ready, status.seq
            )),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await??;
    let took = killed_at.elapsed();
    same_counts(&killed, &scene.graph, &scene.newest_tx).await?;
    expect(reads > 0, "reads on replica-1 meanwhile", "some", reads)?;
    scene
        .measurements
        .add("replica killed until it is back at the head", seconds(took));
    let back = seconds(took);
    Ok(format!("replica-2 (pid {old_pid}) killed, back as pid {new_pid} at the head after {back}; {reads} reads on replica-1 meanwhile").into())
}

fn wrong_read(node: &str, expected: u64, found: &u64) -> StepError {
    StepError::Wrong {
        what: format!("packages on {node} meanwhile"),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
