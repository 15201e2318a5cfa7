//! What is put into place so that a crash point is reached: a snapshot, an old lease, a grown schema, a graph that was changed
//! behind its node's back.

use std::path::Path;
use std::time::Duration;

use super::TortureError;
use super::harness::Harness;
use crate::client::{JSON, Node};
use crate::wait::{Look, until};

const SNAPSHOT_WITHIN: Duration = Duration::from_secs(60);

/// Waits for a whole snapshot.
pub(super) async fn snapshot_taken(store: &Path) -> Result<(), TortureError> {
    let directory = store.join("kuzu-snapshots");
    until("a snapshot", SNAPSHOT_WITHIN, async || {
        let mut found = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        match found.any(|entry| entry.path().join("snapshot-meta.json").is_file()) {
            true => Look::Found(()),
            false => Look::NotYet("none".to_owned()),
        }
    })
    .await?;
    Ok(())
}

/// The lease of a replica that left long ago without a word.
pub(super) fn leave_lease(store: &Path, number: u64) -> Result<(), TortureError> {
    let lease = serde_json::json!({
        "replica": format!("ghost-{number}"),
        "watermark": {"seq": 1, "tx_id": "00000000-0000-7000-8000-000000000000"},
        "tables": [],
        "expires_at": "2020-01-01T00:00:00Z",
    });
    let path = store.join(format!("replicas/ghost-{number}.json"));
    std::fs::write(&path, lease.to_string())
        .map_err(TortureError::system(format!("write {}", path.display())))
}

/// Asks a node to compare its graph with the tables.
pub(super) async fn scrubbed(node: &Node) -> Result<(), TortureError> {
    let _: serde_json::Value = node.post("/v1/scrub", JSON, "{}").await?;
    Ok(())
}

/// Changes rows that no client ever changes again, behind the back of a node that does not run.
pub(super) async fn tamper(data_dir: &Path) -> Result<(), TortureError> {
    let current = data_dir.join("graph/CURRENT");
    let name = std::fs::read_to_string(&current)
        .map_err(TortureError::system(format!("read {}", current.display())))?;
    let path = data_dir.join("graph").join(name.trim()).join("graph.kuzu");
    let changed = tokio::task::spawn_blocking(move || {
        let config = kuzu::SystemConfig::default()
            .buffer_pool_size(128 << 20)
            .max_db_size(1 << 34);
        let database = kuzu::Database::new(path, config)?;
        let connection = kuzu::Connection::new(&database)?;
        let text = "MATCH (a:Account) WHERE a.batch IS NOT NULL SET a.stamp = a.stamp + 1 RETURN count(a)";
        let changed = connection.query(text)?.next();
        connection.query("CHECKPOINT")?;
        Ok::<_, kuzu::Error>(format!("{changed:?}"))
    });
    let changed = changed
        .await
        .map_err(|error| TortureError::NotReached(error.to_string()))?;
    match changed {
        Ok(rows) if rows.contains("Int64(0)") || rows == "None" => Err(TortureError::NotReached(
            "there was no bulk row to change".to_owned(),
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(TortureError::NotReached(format!(
            "failed to change a graph: {error}"
        ))),
    }
}

/// One more table and one more property, which nobody fills.
pub(super) fn grow_schema(harness: &Harness) -> Result<(), TortureError> {
    let grown: crds::GraphSchema = serde_yaml::from_str(&format!(
        "{}  - {{name: LIKES, from: Account, to: Account, properties: [{{name: much, type: int64}}]}}\n",
        super::harness::SCHEMA.replace(
            "- {name: weight, type: double}",
            "- {name: weight, type: double}\n      - {name: later, type: string}"
        )
    ))?;
    harness.edit(|config| config.schema = grown)
}
