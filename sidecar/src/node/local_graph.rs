//! The graph directories of one node: `<data dir>/graph-<n>/`, of which the file `CURRENT` names one.
//!
//! Crash behaviour: `CURRENT` is replaced by rename after the new graph is complete and checkpointed, so it names a complete
//! graph or one to be rebuilt; every other directory is removed at start. The file `MUST_BUILD` is written before a graph that
//! differs from Lance is given up, and removed after its successor is current: in between, no process opens the old one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::graph::{BuildReport, EngineLimits, Graph, GraphError, Watermark, build};
use crate::lake::Lake;

/// Stands while the next graph must come from Lance; says why.
const MUST_BUILD: &str = "MUST_BUILD";

/// The one graph that readers of this node get, and the means to replace it.
#[derive(Debug)]
pub struct LocalGraph {
    root: PathBuf,
    limits: EngineLimits,
    current: ArcSwapOption<Graph>,
    next: AtomicU64,
    in_doubt: AtomicBool,
    /// What a comparison with Lance found wrong with the last graph, until another is installed.
    difference: Mutex<Option<String>>,
    /// Only Lance can be trusted: a snapshot may hold the same damage.
    must_build: AtomicBool,
    /// Rung when the graph is gone and another is wanted.
    lost: Notify,
    /// Shared with the thread of every build: one that was given up goes on until the engine lets go of it. And with those that
    /// remove a replaced graph.
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
            difference: Mutex::default(),
            must_build: AtomicBool::new(root.join(MUST_BUILD).exists()),
            lost: Notify::new(),
            builds: Arc::default(),
        };
        Ok((local, watermark))
    }

    /// The graph that readers get now; `None` until the first build is done.
    pub fn current(&self) -> Option<Arc<Graph>> {
        self.current.load_full()
    }

    /// A new, empty directory for a graph, on the volume of the current one. What is left of it when `CURRENT` does not name it
    /// goes at the next start.
    pub fn fresh_directory(&self) -> Result<PathBuf, GraphError> {
        let directory = self
            .root
            .join(format!("graph-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&directory).map_err(|source| GraphError::Files {
            doing: "create",
            path: directory.clone(),
            source,
        })?;
        Ok(directory)
    }

    /// Opens a database that was put into a [`LocalGraph::fresh_directory`]; nobody reads it before [`LocalGraph::install`].
    /// `None`: no graph was ever finished in it.
    pub async fn open_fresh(&self, directory: &Path) -> Result<Option<(Arc<Graph>, Watermark)>, GraphError> {
        let (path, limits, at_work) = (directory.to_owned(), self.limits, self.builds.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let opened = Graph::open(&path, limits);
            drop(at_work);
            opened
        });
        match opened.await {
            Ok(opened) => Ok(opened?.map(|(graph, watermark)| (Arc::new(graph), watermark))),
            Err(error) => Err(GraphError::Engine {
                doing: "open".to_owned(),
                detail: error.to_string(),
            }),
        }
    }

    /// Builds the graph of one commit next to the current one; nobody reads it before [`LocalGraph::install`].
    pub async fn build(
        &self,
        lake: &Lake,
        target: &Watermark,
    ) -> Result<(Arc<Graph>, BuildReport), GraphError> {
        let directory = self.fresh_directory()?;
        match build(lake, target, &directory, self.limits, self.builds.clone()).await {
            Ok((graph, report)) => Ok((Arc::new(graph), report)),
            Err(error) => {
                // What a failed build left is of no use to anyone.
                let _ = std::fs::remove_dir_all(&directory);
                Err(error)
            }
        }
    }

    /// Whether a build is at work in this node's directory, also one that nobody waits for any more, or the removal of a graph.
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
        fail::fail_point!("replica::after_swap");
        self.in_doubt.store(false, Ordering::Relaxed);
        if let Some(old) = self.current.swap(Some(graph)) {
            self.let_go(old);
        }
        if self.must_build.swap(false, Ordering::Relaxed) {
            // Left behind, it costs the next process a build.
            let _ = std::fs::remove_file(self.root.join(MUST_BUILD));
        }
        *self.difference.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

    /// A comparison found that the current graph is not what Lance holds: it is not served any more, no process opens it again,
    /// and the next one must be built from Lance.
    pub fn diverged(&self, difference: &str) {
        if let Err(error) = std::fs::write(self.root.join(MUST_BUILD), difference) {
            tracing::warn!(%error, "the next process is not told that the graph differs from Lance");
        }
        self.must_build.store(true, Ordering::Relaxed);
        *self.difference.lock().unwrap_or_else(PoisonError::into_inner) = Some(difference.to_owned());
        self.discard();
    }

    /// How the last graph differed from Lance, until another is there.
    pub fn difference(&self) -> Option<String> {
        self.difference
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the next graph must be built from Lance, and not restored from a snapshot.
    pub fn must_build(&self) -> bool {
        self.must_build.load(Ordering::Relaxed)
    }

    /// Waits until the graph was given up. Rings between two calls are remembered, as one.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Stops serving the current graph: it is in doubt.
    pub fn discard(&self) {
        if let Some(old) = self.current.swap(None) {
            self.let_go(old);
        }
        // Where it is not there, there is nothing to open either.
        let _ = std::fs::remove_file(self.root.join("CURRENT"));
        self.lost.notify_one();
    }

    /// Lets go of a graph that nobody gets any more. The last one to do so closes it and removes its files, which blocks: here,
    /// a thread for such work. It counts as a build until then.
    fn let_go(&self, old: Arc<Graph>) {
        old.retire();
        let at_work = self.builds.clone();
        let let_go = move || {
            drop(old);
            drop(at_work);
        };
        match tokio::runtime::Handle::try_current() {
            // Where the runtime ends, it drops what it does not run.
            Ok(runtime) => drop(runtime.spawn_blocking(let_go)),
            Err(_) => let_go(),
        }
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
    let current = match std::fs::read_to_string(root.join(MUST_BUILD)) {
        Ok(difference) => {
            tracing::warn!(
                difference,
                "the local graph differed from Lance and will be rebuilt"
            );
            None
        }
        Err(_) => std::fs::read_to_string(root.join("CURRENT")).ok(),
    };
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

#[cfg(test)]
mod tests;
