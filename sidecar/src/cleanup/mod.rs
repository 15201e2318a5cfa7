//! Removes what a graph leaves outside Kubernetes: leases, JetStream consumers and, only if asked for, its data.
//!
//! Every step may be repeated and continues where an earlier run stopped. Owns: what there is to remove, and in which order.
//! Does not own: when (the operator's Job, or a person) and that no writer or replica of the graph runs any more.

use crds::SidecarConfig;

use crate::events::{EventsError, remove_consumers};
use crate::store::{self, Key, PROBES, Store, StoreError};

/// What is below the root (protocol.md, storage layout), in the order of removal: the log goes before the tables, so that
/// half of a graph is never taken for a whole one.
const DIRECTORIES: [&str; 6] = ["replicas", "duties", PROBES, "commits", "kuzu-snapshots", "lance"];
/// Last: while it is there, its epoch is not used again.
const CLAIM: &str = "writer.json";
/// Objects per step: what S3 deletes with one request.
const STEP: usize = 1000;
/// How many objects that are not the graph's are named.
const NAMED: usize = 3;

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Events(#[from] EventsError),
    /// Several steps failed; the others were carried out.
    #[error("{0}; {1}")]
    Both(Box<CleanupError>, Box<CleanupError>),
}

/// Removes everything, and tells `say` about each thing in one line. A step that fails does not keep the others from being
/// tried.
///
/// # Errors
/// What failed. Running it again continues.
pub async fn clean_up(
    config: &SidecarConfig,
    delete_data: bool,
    mut say: impl FnMut(String),
) -> Result<(), CleanupError> {
    let consumers = clean_events(config, &mut say).await;
    let stored = clean_store(config, delete_data, &mut say).await;
    match (consumers, stored) {
        (Err(consumers), Err(stored)) => Err(CleanupError::Both(Box::new(consumers), Box::new(stored))),
        (consumers, stored) => consumers.and(stored),
    }
}

async fn clean_events(config: &SidecarConfig, say: &mut impl FnMut(String)) -> Result<(), CleanupError> {
    if let Some(nats) = &config.events.nats {
        let removed = remove_consumers(&config.graph, nats).await?;
        say(format!(
            "removed {} at {}",
            counted(removed, "JetStream consumer"),
            nats.url
        ));
    }
    Ok(())
}

async fn clean_store(
    config: &SidecarConfig,
    delete_data: bool,
    say: &mut impl FnMut(String),
) -> Result<(), CleanupError> {
    let store = store::open(&config.storage)?;
    let root = &config.storage.uri;
    let leases = remove_leases(&*store).await?;
    say(format!("removed {} below {root}", counted(leases, "lease")));
    if delete_data {
        let removed = remove_data(&*store, &mut *say).await?;
        say(format!(
            "removed {} below {root}: all data of the graph",
            counted(removed, "object")
        ));
        let foreign = store.list("", None, NAMED).await?;
        if !foreign.is_empty() {
            let names: Vec<_> = foreign.iter().map(|entry| entry.key.as_str()).collect();
            say(format!(
                "left below {root} what is not part of a graph: {} …",
                names.join(", ")
            ));
        }
    }
    Ok(())
}

/// Removes the leases of all replicas; gives how many.
pub async fn remove_leases(store: &dyn Store) -> Result<usize, StoreError> {
    let mut removed = 0;
    loop {
        let leases = store.list("replicas/", None, STEP).await?;
        for lease in &leases {
            store.delete(&lease.key).await?;
        }
        removed += leases.len();
        if leases.len() < STEP {
            return Ok(removed);
        }
    }
}

/// Removes the graph's data; nothing else that may be below the same root. Gives how many objects.
pub async fn remove_data(store: &dyn Store, mut say: impl FnMut(String)) -> Result<usize, StoreError> {
    let mut total = 0;
    for directory in DIRECTORIES {
        let dir = Key::new(directory)?;
        let mut removed = 0;
        loop {
            match store.remove_below(&dir, STEP).await? {
                0 => break,
                count => removed += count,
            }
        }
        if removed > 0 {
            say(format!("removed {} of {directory}/", counted(removed, "object")));
        }
        total += removed;
    }
    let claim = Key::new(CLAIM)?;
    if store.get(&claim).await?.is_some() {
        store.delete(&claim).await?;
        total += 1;
    }
    Ok(total)
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        0 => format!("no {thing}"),
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CONFIG: &str = "
graph: {namespace: default, name: debian}
storage: {uri: 'file://ROOT'}
";

    fn config(root: &std::path::Path) -> SidecarConfig {
        SidecarConfig::from_yaml(&CONFIG.replace("ROOT", &root.display().to_string())).unwrap()
    }

    async fn filled(config: &SidecarConfig) -> std::sync::Arc<dyn Store> {
        let store = store::open(&config.storage).unwrap();
        for name in [
            "replicas/a.json",
            "replicas/b.json",
            "writer.json",
            "commits/00000000000000000001.json",
            "lance/Package.lance/_versions/1.manifest",
            "notes/of/somebody.txt",
        ] {
            store
                .put(&Key::new(name).unwrap(), Bytes::from("x"))
                .await
                .unwrap();
        }
        store
    }

    async fn names(store: &dyn Store) -> Vec<String> {
        let listed = store.list("", None, 100).await.unwrap();
        listed.into_iter().map(|entry| entry.key.to_string()).collect()
    }

    #[tokio::test]
    async fn only_leases_go_unless_the_data_is_to_be_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let store = filled(&config).await;
        for expected in ["removed 2 leases", "removed no lease"] {
            let mut said = Vec::new();
            clean_up(&config, false, |line| said.push(line)).await.unwrap();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(expected), "{said:?}");
            assert_eq!(names(&*store).await.len(), 4);
        }
    }

    #[tokio::test]
    async fn deleting_the_data_leaves_what_is_not_of_the_graph_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let store = filled(&config).await;
        std::fs::write(dir.path().join("lance/Package.lance/.reserved"), "x").unwrap();
        for expected in ["removed 4 objects", "removed no object"] {
            let mut said = Vec::new();
            clean_up(&config, true, |line| said.push(line)).await.unwrap();
            assert!(
                said.iter().any(|line| line.starts_with(expected)),
                "{expected}: {said:?}"
            );
            assert!(said.last().unwrap().contains("notes/of/somebody.txt"), "{said:?}");
            assert_eq!(names(&*store).await, ["notes/of/somebody.txt"]);
            assert!(!dir.path().join("lance").exists());
        }
    }
}
