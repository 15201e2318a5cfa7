//! A graph that runs as `slipstream local` in a directory of its own, and what its processes say about themselves.
//!
//! Owns: the resource file, scaling by editing it, reading `/metrics` and `/proc`. Dropping it stops everything and removes
//! the directory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use slipstream_e2e::client::{CommitAnswer, Node, PARQUET, Query};
use slipstream_e2e::debian::{EDGES, PACKAGE, parquet_file};
use slipstream_e2e::local_process::{LocalProcess, LocalSettings, find_binary};
use slipstream_e2e::ports::free_base_port;
use slipstream_e2e::servers::Servers;
use tempfile::TempDir;

/// A process's buffer pool: half of its memory limit.
pub(super) const BUFFER_POOL_BYTES: u64 = 512 << 20;
/// Threads of one statement: the CPU limit.
pub(super) const THREADS: u64 = 2;

/// A graph of many millions of rows is built by the writer and by a replica at the same time.
const READY_WITHIN: Duration = Duration::from_secs(900);
/// Before `replicas:` is edited.
const NO_REPLICAS: &str = "  replicas: 0\n";

/// How long a load took, from its first request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded {
    /// Until the last answer: everything is committed.
    pub(super) answered: Duration,
    /// Until the writer's own graph answers a query at the last commit.
    pub(super) queryable: Duration,
}

/// See the module.
pub(super) struct RunningGraph {
    // Declared first: stopped before its directory is removed.
    pub(super) local: LocalProcess,
    directory: TempDir,
    resource: String,
}

impl RunningGraph {
    /// Starts the example's graph, empty, without replicas.
    pub(super) async fn debian(example: &Path) -> anyhow::Result<Self> {
        let file = example.join("debian.yaml");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
        let Some((_, schema)) = text.split_once("  schema:\n") else {
            bail!("expected `  schema:` in {}, found none", file.display());
        };
        let schema = schema
            .split_once("  snapshots:")
            .map_or(schema, |(schema, _)| schema);
        Self::start(&format!("  schema:\n{schema}"), BUFFER_POOL_BYTES).await
    }

    /// Starts an empty graph without replicas. `schema` is the part `spec.schema` of a resource, indented by two.
    pub(super) async fn start(schema: &str, buffer_pool_bytes: u64) -> anyhow::Result<Self> {
        Self::start_in(schema, buffer_pool_bytes, None).await
    }

    /// The same with its storage in a real S3 server, and with a real event bus.
    pub(super) async fn start_remote(
        schema: &str,
        buffer_pool_bytes: u64,
        servers: &Servers,
    ) -> anyhow::Result<Self> {
        Self::start_in(schema, buffer_pool_bytes, Some(servers)).await
    }

    async fn start_in(
        schema: &str,
        buffer_pool_bytes: u64,
        servers: Option<&Servers>,
    ) -> anyhow::Result<Self> {
        let limits = format!(
            "{{resources: {{limits: {{memory: \"{}\", cpu: \"{THREADS}\"}}}}}}",
            2 * buffer_pool_bytes
        );
        // `slipstream local` keeps the storage below its data directory, whatever the bucket.
        let resource = format!(
            "apiVersion: slipstream.dev/v1alpha1\nkind: ReplicatedGraphDB\nmetadata: {{name: bench}}\nspec:\n{NO_REPLICAS}  \
             storage: {{uri: s3://graphs/bench}}\n  snapshots: {{enabled: false}}\n  events: {{pollInterval: 1s}}\n{schema}  writer: {limits}\n  replica: {limits}\n"
        );
        let directory = tempfile::Builder::new().prefix("slipstream-bench-").tempdir()?;
        let graph_file = directory.path().join("graph.yaml");
        std::fs::write(&graph_file, &resource)?;
        let resource = match servers {
            Some(servers) => {
                servers.name_in(&graph_file)?;
                std::fs::read_to_string(&graph_file)?
            }
            None => resource,
        };
        let local = LocalProcess::start(LocalSettings {
            binary: find_binary()?,
            graph_file,
            data_dir: directory.path().join("data"),
            log_file: directory.path().join("local.log"),
            base_port: free_base_port()?,
            detached: false,
            remote: servers.map(Servers::environment),
        })?;
        let mut graph = Self {
            local,
            directory,
            resource,
        };
        graph.wait_ready(0).await?;
        Ok(graph)
    }

    /// Edits the resource and waits until that many replicas hold the newest commit.
    pub(super) async fn scale(&mut self, replicas: u16) -> anyhow::Result<()> {
        let text = self
            .resource
            .replace(NO_REPLICAS, &format!("  replicas: {replicas}\n"));
        // By a rename: whoever reads meanwhile never sees half a file.
        let new = self.directory.path().join("graph.yaml.new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, &self.local.settings.graph_file)?;
        self.wait_ready(replicas).await
    }

    /// Edits the resource: `from` becomes `to`.
    pub(super) fn edit(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        if !self.resource.contains(from) {
            bail!("expected {from:?} in the resource, found none");
        }
        self.resource = self.resource.replace(from, to);
        let new = self.directory.path().join("graph.yaml.new");
        std::fs::write(&new, &self.resource)?;
        std::fs::rename(new, &self.local.settings.graph_file)?;
        Ok(())
    }

    /// Waits until the writer and that many replicas are ready at the same commit.
    pub(super) async fn wait_ready(&mut self, replicas: u16) -> anyhow::Result<()> {
        let ready = self.local.wait_ready(replicas, READY_WITHIN).await;
        ready.with_context(|| self.local.logs_tail(15))
    }

    /// Sends the example's three files, one after the other, each as one commit.
    pub(super) async fn load_debian(&self, example: &Path) -> anyhow::Result<Loaded> {
        let started = Instant::now();
        let mut newest = None;
        for table in [PACKAGE, EDGES[0], EDGES[1]] {
            let body = std::fs::read(parquet_file(example, table))?;
            newest = Some(self.load(table, body).await?);
        }
        let (answered, newest) = (started.elapsed(), newest.context("nothing was loaded")?);
        let count = Query::new("MATCH (p:Package) RETURN count(*)").min_tx(&newest.tx_id);
        self.local.writer().count(&count).await?;
        Ok(Loaded {
            answered,
            queryable: started.elapsed(),
        })
    }

    /// The database file of replica `number`, which has one graph.
    pub(super) fn database_file(&self, number: u16) -> anyhow::Result<PathBuf> {
        let graphs = self.directory.path().join(format!("data/replica-{number}/graph"));
        let current = std::fs::read_to_string(graphs.join("CURRENT"))
            .with_context(|| format!("failed to read CURRENT in {}", graphs.display()))?;
        Ok(graphs.join(current.trim()).join("graph.kuzu"))
    }

    /// One Parquet body as one commit.
    pub(super) async fn load(&self, table: &str, parquet: Vec<u8>) -> anyhow::Result<CommitAnswer> {
        let loaded = self.local.writer().load(table, PARQUET, parquet).await;
        loaded.with_context(|| self.local.logs_tail(15))
    }
}

/// The value of a sample of `/metrics`, by its name without labels; the first one where labels tell several apart.
pub(super) async fn metric(node: &Node, name: &str) -> anyhow::Result<f64> {
    let url = format!("{}/metrics", node.url);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let text = client.get(&url).send().await?.error_for_status()?.text().await?;
    value_of(&text, name).with_context(|| format!("expected {name} at {url}, found none"))
}

fn value_of(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.split_once('}')?.1,
            None => rest,
        };
        value.strip_prefix(' ')?.trim().parse().ok()
    })
}

/// The most memory that a process ever held (`VmHWM`), in bytes.
pub(super) fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    Ok(kib.with_context(|| format!("expected VmHWM in {file}, found none"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# HELP a_seconds x\na_seconds_sum{role=\"x\"} 1.5\na_seconds_count 2\n";
        assert_eq!(value_of(text, "a_seconds_sum"), Some(1.5));
        assert_eq!(value_of(text, "a_seconds_count"), Some(2.0));
        assert_eq!(value_of(text, "a_seconds"), None);
    }
}
