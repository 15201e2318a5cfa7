//! Ways to damage what a stopped graph keeps: store, local graphs, snapshots.
//!
//! Owns: which file and which bytes. Does not own: what must come of it (`damage`).

use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand::rngs::StdRng;

use super::TortureError;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    /// One bit is another, at a random place.
    Flip,
    /// Only the first half is left.
    CutOff,
    Remove,
    /// Something else stands there.
    Garbage,
}

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    HeadRecord,
    MiddleRecord,
    WriterClaim,
    Lease,
    SnapshotDuty,
    /// Of the newest version of a node table.
    HeadManifest,
    /// The database of both nodes.
    LocalGraph,
    /// The write-ahead log of both nodes.
    LocalLog,
    /// The name of the current graph, of both nodes.
    Current,
    NewestSnapshotPart,
    NewestSnapshotMeta,
    /// A part of every snapshot.
    EverySnapshot,
}

impl Target {
    /// The files as they are now, and the name by which a message must call them.
    pub(super) fn files(self, directory: &Path) -> Result<Vec<PathBuf>, TortureError> {
        let (store, nodes) = (directory.join("store"), directory.join("nodes"));
        let found = match self {
            Self::HeadRecord => newest(&store.join("commits"), "json")?.into_iter().collect(),
            Self::MiddleRecord => {
                let records = files(&store.join("commits"), "json")?;
                records.get(records.len() / 2).cloned().into_iter().collect()
            }
            Self::WriterClaim => vec![store.join("writer.json")],
            Self::Lease => files(&store.join("replicas"), "json")?,
            Self::SnapshotDuty => files(&store.join("duties"), "json")?,
            Self::HeadManifest => head_manifest(&store)?,
            Self::LocalGraph => local(&nodes, "graph.kuzu")?,
            Self::LocalLog => local(&nodes, "graph.kuzu.wal")?,
            Self::Current => directories(&nodes)?
                .into_iter()
                .map(|node| node.join("graph/CURRENT"))
                .collect(),
            Self::NewestSnapshotPart => snapshots(&store)?
                .last()
                .map_or(Ok(Vec::new()), |newest| files(newest, "zst"))?
                .into_iter()
                .take(1)
                .collect(),
            Self::NewestSnapshotMeta => snapshots(&store)?
                .last()
                .map(|newest| newest.join("snapshot-meta.json"))
                .into_iter()
                .collect(),
            Self::EverySnapshot => {
                let mut first = Vec::new();
                for snapshot in snapshots(&store)? {
                    first.extend(files(&snapshot, "zst")?.into_iter().take(1));
                }
                first
            }
        };
        if found.is_empty() || found.iter().any(|path| !path.is_file()) {
            return Err(TortureError::NotReached(format!(
                "there is nothing to damage: {self:?}: {found:?}"
            )));
        }
        Ok(found)
    }
}

impl Blow {
    /// Does it; says where.
    pub(super) fn strike(self, path: &Path, random: &mut StdRng) -> Result<String, TortureError> {
        let failed = |doing: &'static str| TortureError::system(format!("{doing} {}", path.display()));
        let mut bytes = std::fs::read(path).map_err(failed("read"))?;
        let place = match self {
            Self::Remove => {
                std::fs::remove_file(path).map_err(failed("remove"))?;
                return Ok("removed".to_owned());
            }
            Self::Flip if bytes.is_empty() => return Ok("empty".to_owned()),
            Self::Flip => {
                let at = random.random_range(0..bytes.len());
                let bit = random.random_range(0..8);
                bytes[at] ^= 1 << bit;
                format!("bit {bit} of byte {at} of {}", bytes.len())
            }
            Self::CutOff => {
                let kept = bytes.len() / 2;
                bytes.truncate(kept);
                format!("cut off at byte {kept}")
            }
            Self::Garbage => {
                bytes = b"{not what was here".to_vec();
                "garbage".to_owned()
            }
        };
        std::fs::write(path, bytes).map_err(failed("write"))?;
        Ok(place)
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, TortureError> {
    let listed = std::fs::read_dir(directory);
    let listed = listed.map_err(TortureError::system(format!("list {}", directory.display())))?;
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn files(directory: &Path, kind: &str) -> Result<Vec<PathBuf>, TortureError> {
    let all = entries(directory)?.into_iter();
    Ok(all
        .filter(|path| path.extension().is_some_and(|found| found == kind))
        .collect())
}

fn newest(directory: &Path, kind: &str) -> Result<Option<PathBuf>, TortureError> {
    Ok(files(directory, kind)?.pop())
}

fn directories(directory: &Path) -> Result<Vec<PathBuf>, TortureError> {
    Ok(entries(directory)?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

/// Complete snapshots, oldest first: their names are `tx_id`s, which are in order.
fn snapshots(store: &Path) -> Result<Vec<PathBuf>, TortureError> {
    let all = directories(&store.join("kuzu-snapshots"))?.into_iter();
    Ok(all
        .filter(|path| path.join("snapshot-meta.json").is_file())
        .collect())
}

/// The file `name` of each node's current graph.
fn local(nodes: &Path, name: &str) -> Result<Vec<PathBuf>, TortureError> {
    let mut found = Vec::new();
    for node in directories(nodes)? {
        let graph = node.join("graph");
        let current = std::fs::read_to_string(graph.join("CURRENT"));
        let current = current.map_err(TortureError::system(format!("read {}", graph.display())))?;
        found.push(graph.join(current.trim()).join(name));
    }
    Ok(found)
}

/// The manifest of the version that the head names for the table Account.
fn head_manifest(store: &Path) -> Result<Vec<PathBuf>, TortureError> {
    let Some(head) = newest(&store.join("commits"), "json")? else {
        return Ok(Vec::new());
    };
    let text = std::fs::read(&head).map_err(TortureError::system(format!("read {}", head.display())))?;
    let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let tables = record["tables"].as_array().cloned().unwrap_or_default();
    let version = tables
        .iter()
        .find(|table| table["table"] == "Account")
        .and_then(|table| table["version"].as_u64())
        .unwrap_or_default();
    // Newer naming schemes count down, so that a listing begins with the newest.
    let names = [version, u64::MAX - version].map(|name| name.to_string());
    let all = files(&store.join("lance/Account.lance/_versions"), "manifest")?;
    Ok(all
        .into_iter()
        .filter(|path| {
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            names.contains(&stem)
        })
        .collect())
}
