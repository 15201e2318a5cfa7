//! Kuzu alone: `COPY` of the example's Parquet files into a fresh database.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kuzu::{Connection, Database, SystemConfig};
use slipstream_e2e::debian::{EDGES, PACKAGE, parquet_file};

use super::running_graph::{BUFFER_POOL_BYTES, THREADS};

const TABLES: [&str; 3] = [
    "CREATE NODE TABLE Package (name STRING PRIMARY KEY, version STRING, section STRING, installed_size INT64, description STRING)",
    "CREATE REL TABLE DEPENDS (FROM Package TO Package, `constraint` STRING)",
    "CREATE REL TABLE RECOMMENDS (FROM Package TO Package, `constraint` STRING)",
];

/// What a bare copy took.
#[derive(Debug, Clone, Copy)]
pub(super) struct BareCopy {
    /// The three `COPY` statements and nothing else.
    pub(super) copy: Duration,
    /// With opening the database, creating the tables and a checkpoint.
    pub(super) whole: Duration,
}

/// Copies once, with the buffer pool and the threads of the measured replicas. Blocks.
///
/// # Errors
/// When the engine refuses.
pub(super) fn copy(example: &Path) -> anyhow::Result<BareCopy> {
    let directory = tempfile::tempdir().context("failed to make a directory for Kuzu")?;
    let began = Instant::now();
    let config = SystemConfig::default()
        .buffer_pool_size(BUFFER_POOL_BYTES)
        .max_num_threads(THREADS)
        .max_db_size(1 << 38)
        .auto_checkpoint(false);
    let database = Database::new(directory.path().join("graph.kuzu"), config)?;
    let connection = Connection::new(&database)?;
    for ddl in TABLES {
        connection.query(ddl)?;
    }
    let started = Instant::now();
    for table in [PACKAGE, EDGES[0], EDGES[1]] {
        let file = std::path::absolute(parquet_file(example, table))?;
        let text = file.to_str().context("the example's path is not UTF-8")?;
        ensure!(
            !text.contains('\''),
            "the example's path contains a quotation mark: {text}"
        );
        connection.query(&format!("COPY {table} FROM '{text}'"))?;
    }
    let copy = started.elapsed();
    connection.query("CHECKPOINT")?;
    Ok(BareCopy {
        copy,
        whole: began.elapsed(),
    })
}
