//! The graph directories of one node: `<data dir>/graph-<n>/`, of which the file `CURRENT` names one.
//!
//! Crash behaviour: `CURRENT` is replaced by rename after the new graph is complete and checkpointed, so it names a complete
//! graph or one to be rebuilt; every other directory is removed at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::graph::{BuildReport, EngineLimits, Graph, GraphError, Watermark, build};
use crate::lake::Lake;

/// The one graph that readers of this node get, and the means to replace it.
#[derive(Debug)]
pub struct LocalGraph {
    root: PathBuf,
    limits: EngineLimits,
    current: ArcSwapOption<Graph>,
    next: AtomicU64,
    in_doubt: AtomicBool,
    /// Shared with the thread of every build: one that was given up goes on until the engine lets go of it.
    builds: Arc<()>,
}

impl LocalGraph {
    /// Opens what an earlier process left in `root`, if it is usable, and removes everything else there.
    pub async fn open(root: &Path, limits: EngineLimits) -> Result<(Self, Option<Watermark>), GraphError> {
        let path = root.to_owned();
        let opened = tokio::task::spawn_blocking(move || open_current(&path, limits)).await;
        let (current, next) = match opened {
            Ok(result) => result?,
            Err(error) => {
                return Err(GraphError::Engine {
                    doing: "open".to_owned(),
                    detail: error.to_string(),
                });
            }
        };
        let (graph, watermark) = current.map_or((None, None), |(graph, watermark)| {
            (Some(Arc::new(graph)), Some(watermark))
        });
        let local = Self {
            root: root.to_owned(),
            limits,
            current: ArcSwapOption::new(graph),
            next: AtomicU64::new(next),
            in_doubt: AtomicBool::new(false),
            builds: Arc::default(),
        };
        Ok((local, watermark))
    }

    /// The graph that readers get now; `None` until the first build is done.
    pub fn current(&self) -> Option<Arc<Graph>> {
        self.current.load_full()
    }

    /// Builds the graph of one commit next to the current one; nobody reads it before [`LocalGraph::install`].
    pub async fn build(
        &self,
        lake: &Lake,
        target: &Watermark,
    ) -> Result<(Arc<Graph>, BuildReport), GraphError> {
        let directory = self
            .root
            .join(format!("graph-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&directory).map_err(|source| GraphError::Files {
            doing: "create",
            path: directory.clone(),
            source,
        })?;
        match build(lake, target, &directory, self.limits, self.builds.clone()).await {
            Ok((graph, report)) => Ok((Arc::new(graph), report)),
            Err(error) => {
                // What a failed build left is of no use to anyone.
                let _ = std::fs::remove_dir_all(&directory);
                Err(error)
            }
        }
    }

    /// Whether a build is at work in this node's directory, also one that nobody waits for any more.
    pub fn is_building(&self) -> bool {
        Arc::strong_count(&self.builds) > 1
    }

    /// Makes a built graph the current one. Running queries finish on the old one, whose files go after the last of them.
    pub fn install(&self, graph: Arc<Graph>) -> Result<(), GraphError> {
        let name = graph
            .directory()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let (fresh, current) = (self.root.join("CURRENT.new"), self.root.join("CURRENT"));
        let written = std::fs::write(&fresh, name).and_then(|()| std::fs::rename(&fresh, &current));
        written.map_err(|source| GraphError::Files {
            doing: "write",
            path: current,
            source,
        })?;
        self.in_doubt.store(false, Ordering::Relaxed);
        if let Some(old) = self.current.swap(Some(graph)) {
            old.retire();
        }
        Ok(())
    }

    /// The engine failed in a write: readers keep the graph until another is built, but nothing is written to it any more,
    /// and no later process opens it.
    pub fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
        // Where it is not there, there is nothing to open either.
        let _ = std::fs::remove_file(self.root.join("CURRENT"));
    }

    /// The current graph, if it may be written to.
    pub fn writable(&self) -> Option<Arc<Graph>> {
        if self.in_doubt.load(Ordering::Relaxed) {
            None
        } else {
            self.current()
        }
    }

    /// Stops serving the current graph: it is in doubt.
    pub fn discard(&self) {
        if let Some(old) = self.current.swap(None) {
            old.retire();
        }
        // Where it is not there, there is nothing to open either.
        let _ = std::fs::remove_file(self.root.join("CURRENT"));
    }
}

type Opened = (Option<(Graph, Watermark)>, u64);

fn open_current(root: &Path, limits: EngineLimits) -> Result<Opened, GraphError> {
    let files = |doing| {
        move |source| GraphError::Files {
            doing,
            path: root.to_owned(),
            source,
        }
    };
    std::fs::create_dir_all(root).map_err(files("create"))?;
    let current = std::fs::read_to_string(root.join("CURRENT")).ok();
    let mut next = 0;
    let mut opened = None;
    for entry in std::fs::read_dir(root).map_err(files("list"))? {
        let entry = entry.map_err(files("list"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(number) = name
            .strip_prefix("graph-")
            .and_then(|digits| digits.parse::<u64>().ok())
        else {
            continue;
        };
        next = next.max(number + 1);
        if current.as_deref() == Some(name.as_str()) {
            match Graph::open(&entry.path(), limits) {
                Ok(found) => opened = found,
                Err(error) => {
                    tracing::warn!(%error, graph = name, "the local graph cannot be used and will be rebuilt")
                }
            }
        }
        if opened
            .as_ref()
            .is_none_or(|(graph, _)| graph.directory() != entry.path())
        {
            std::fs::remove_dir_all(entry.path()).map_err(files("clean up"))?;
        }
    }
    Ok((opened, next))
}
