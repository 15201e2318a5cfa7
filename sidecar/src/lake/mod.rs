//! The Lance tables of one graph under `<root>/lance/`: the source of truth.
//!
//! Owns: every Lance type; creating tables, checking out versions, the writer's one-step change of a table, deltas, restores.
//! Does not own: which version counts (the commit log does), nor what the rows mean (schema and writer do).

mod clean;
mod compact;
mod delta;
mod digest;
mod durable;
mod error;
mod find;
mod indexes;
mod lineage;
mod manifest_digest;
mod new_files;
mod options;
mod stage;
mod statistics;
mod torn;
mod write;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_durable;
#[cfg(test)]
mod contract_lineage;
#[cfg(test)]
mod contract_optimize;
#[cfg(test)]
mod damage;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use lance::Dataset;
use lance::session::Session;
use tokio::sync::{Mutex, OnceCell};

pub use clean::Cleaned;
pub use compact::{CompactionJob, CompactionLimits, Rewrite};
pub use delta::IdDigest;
pub use error::LakeError;
pub use indexes::{BuiltIndex, IndexWish};
pub use manifest_digest::ManifestDigests;
pub use stage::Staged;
pub use statistics::{FragmentStatistics, IndexStatistics};
pub use write::{BatchReader, CommitTag, TableWrite};

use crate::ids::LanceVersion;
use crate::schema::{ROW_ID, TOMBSTONES};
use crate::store::StoreOptions;

/// Rows per batch of scans: bounds the memory of everything that streams a table.
pub const SCAN_BATCH_ROWS: usize = 8192;

/// What a scan may hold of the storage's answers before it decodes them: Lance's own 2 GiB would hold whole tables.
const SCAN_BUFFER_BYTES: u64 = 16 << 20;

/// What Lance may keep of manifests and row ids: every commit adds entries, and Lance's own bound is 1 GiB.
const METADATA_CACHE_BYTES: usize = 64 << 20;
/// What it may keep of indexes; Lance's own bound is 6 GiB.
const INDEX_CACHE_BYTES: usize = 128 << 20;

/// The connection to a graph's tables. Keeps the newest opened handle of each, which shares metadata caches.
pub struct Lake {
    options: StoreOptions,
    /// Made at the first use, so that a process starts while the store is away.
    connection: OnceCell<lancedb::Connection>,
    handles: Mutex<HashMap<String, Arc<Dataset>>>,
}

/// One table at one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TableAt {
    name: String,
    dataset: Arc<Dataset>,
}

impl Lake {
    /// The tables of the graph whose root is at `options`; connects at the first use, and creates nothing.
    pub fn open(options: impl Into<StoreOptions>) -> Self {
        Self {
            options: options.into().with_environment(),
            connection: OnceCell::new(),
            handles: Mutex::default(),
        }
    }

    /// # Errors
    /// [`LakeError::Connection`] when the root cannot be reached; the next call tries again.
    async fn connection(&self) -> Result<&lancedb::Connection, LakeError> {
        let connect = || async {
            let uri = format!("{}/lance", self.options.uri.trim_end_matches('/'));
            lancedb::connect(&uri)
                .storage_options(options::storage_options(&self.options))
                .session(Arc::new(Session::new(
                    INDEX_CACHE_BYTES,
                    METADATA_CACHE_BYTES,
                    Arc::default(),
                )))
                .execute()
                .await
                .map_err(|source| LakeError::Connection {
                    doing: "connect to the lake".to_owned(),
                    source: Box::new(source),
                })
        };
        self.connection.get_or_try_init(connect).await
    }

    /// Creates an empty table with stable row ids, or opens the one that an earlier attempt left behind. The log names none of
    /// that name yet.
    ///
    /// # Errors
    /// [`LakeError::Mismatch`] when a table of that name has other columns or holds rows: it is not ours to overwrite.
    pub async fn create_table(&self, name: &str, schema: SchemaRef) -> Result<TableAt, LakeError> {
        self.remove_torn(name, LanceVersion(0)).await?;
        let created = self
            .connection()
            .await?
            .create_empty_table(name, schema.clone())
            .execute()
            .await;
        let is_left_behind = match created {
            Ok(_) => false,
            Err(lancedb::Error::TableAlreadyExists { .. }) => true,
            Err(source) => {
                return Err(LakeError::Connection {
                    doing: format!("create table {name}"),
                    source: Box::new(source),
                });
            }
        };
        let mut table = self.newest(name).await?;
        let found = ArrowSchema::from(table.dataset.schema());
        let same = found.fields().len() == schema.fields().len()
            && found
                .fields()
                .iter()
                .zip(schema.fields())
                .all(|(found, expected)| {
                    found.name() == expected.name() && found.data_type() == expected.data_type()
                });
        let rows = table.count_rows().await?;
        if !same || rows > 0 {
            return Err(LakeError::Mismatch {
                table: name.to_owned(),
                version: table.version().0,
                found: format!("{rows} rows of {}", describe(&found)),
                expected: format!("no rows of {}", describe(&schema)),
            });
        }
        if is_left_behind && table.local_directory().await?.is_some() {
            // Nobody knows whether that attempt failed to sync its manifest (`durable`): this one has its own.
            table = table.restore().await?;
        }
        table.durable_on(None).await
    }

    /// The table as it is now, whoever wrote it. Only the active writer has a use for that.
    pub async fn newest(&self, name: &str) -> Result<TableAt, LakeError> {
        let mut handles = self.handles.lock().await;
        let dataset = match handles.get(name) {
            Some(dataset) => {
                let mut newest = dataset.as_ref().clone();
                unharmed(name, None, newest.checkout_latest())
                    .await?
                    .map_err(LakeError::storage("open", name))?;
                Arc::new(newest)
            }
            None => self.open_table(name).await?,
        };
        handles.insert(name.to_owned(), dataset.clone());
        Ok(TableAt {
            name: name.to_owned(),
            dataset,
        })
    }

    /// The table at the version that a commit recorded: a pinned, read-only view.
    ///
    /// # Errors
    /// [`LakeError::VersionMissing`] when that version was cleaned.
    pub async fn at(&self, name: &str, version: LanceVersion) -> Result<TableAt, LakeError> {
        let known = {
            let mut handles = self.handles.lock().await;
            match handles.get(name) {
                Some(dataset) => dataset.clone(),
                None => {
                    let dataset = self.open_table(name).await?;
                    handles.insert(name.to_owned(), dataset.clone());
                    dataset
                }
            }
        };
        if known.version().version == version.0 {
            return Ok(TableAt {
                name: name.to_owned(),
                dataset: known,
            });
        }
        TableAt {
            name: name.to_owned(),
            dataset: known,
        }
        .checkout(version)
        .await
    }

    async fn open_table(&self, name: &str) -> Result<Arc<Dataset>, LakeError> {
        let connection = |source| LakeError::Connection {
            doing: format!("open table {name}"),
            source: Box::new(source),
        };
        let opening = self.connection().await?.open_table(name).execute();
        let table = unharmed(name, None, opening).await?.map_err(connection)?;
        let wrapper = table.dataset().ok_or_else(|| LakeError::Mismatch {
            table: name.to_owned(),
            version: 0,
            found: "a remote table".to_owned(),
            expected: "a table on object storage".to_owned(),
        })?;
        wrapper.get().await.map_err(connection)
    }
}

impl TableAt {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version this view is pinned to.
    pub fn version(&self) -> LanceVersion {
        LanceVersion(self.dataset.version().version)
    }

    /// The same table at another version.
    ///
    /// # Errors
    /// [`LakeError::VersionMissing`] when that version was cleaned.
    pub async fn checkout(&self, version: LanceVersion) -> Result<TableAt, LakeError> {
        let reading = self.dataset.checkout_version(version.0);
        let dataset = unharmed(&self.name, Some(version), reading)
            .await?
            .map_err(LakeError::reading("check out", &self.name, version))?;
        Ok(TableAt {
            name: self.name.clone(),
            dataset: Arc::new(dataset),
        })
    }

    /// Rows alive at this version, from metadata.
    pub async fn count_rows(&self) -> Result<u64, LakeError> {
        let rows = self
            .dataset
            .count_rows(None)
            .await
            .map_err(LakeError::storage("count the rows of", &self.name))?;
        Ok(rows as u64)
    }

    /// Streams `columns` and, last, the row id of every row, in batches of at most [`SCAN_BATCH_ROWS`].
    pub async fn scan(
        &self,
        columns: &[&str],
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        let failed = || LakeError::storage("scan", &self.name);
        let mut scanner = self.dataset.scan();
        scanner
            .project(columns)
            .map_err(failed())?
            .with_row_id()
            .batch_size(SCAN_BATCH_ROWS)
            .io_buffer_size(SCAN_BUFFER_BYTES);
        let stream = scanner.try_into_stream().await.map_err(failed())?;
        let name = self.name.clone();
        Ok(stream
            .map(move |batch| batch.map_err(LakeError::storage("scan", &name)))
            .boxed())
    }
}

/// Lance panics over some manifests that were cut off: that is damage to report, not the end of the process.
async fn unharmed<T>(
    table: &str,
    version: Option<LanceVersion>,
    reading: impl Future<Output = T>,
) -> Result<T, LakeError> {
    AssertUnwindSafe(reading)
        .catch_unwind()
        .await
        .map_err(|_| LakeError::Damaged {
            table: table.to_owned(),
            version: version.map_or_else(|| "the newest".to_owned(), |version| version.to_string()),
            detail: "it cannot be read".to_owned(),
        })
}

/// Columns of the tombstones table (design: `tx_id, table, label, pk (JSON), ts`).
pub fn tombstones_schema() -> SchemaRef {
    Arc::new(ArrowSchema::new(vec![
        Field::new("tx_id", DataType::Utf8, false),
        Field::new("table", DataType::Utf8, false),
        Field::new("label", DataType::Utf8, false),
        Field::new("pk", DataType::Utf8, false),
        Field::new(
            "ts",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
    ]))
}

/// Whether a table is one of the system's own.
pub fn is_system_table(name: &str) -> bool {
    name == TOMBSTONES
}

fn describe(schema: &ArrowSchema) -> String {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    format!("({})", columns.join(", "))
}

/// Name of the row id column in scans and deltas; the same word as in Kuzu.
pub const LANCE_ROW_ID: &str = ROW_ID;
