//! Bulk requests: rows of one table, spooled to local disk while they arrive, committed as one commit.
//!
//! Memory: one batch, and 8 bytes per row (a hash of its key, to find keys that come twice).

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::spool::{SpoolFile, SpoolWriter};
use super::{Refusal, WriteError};
use crate::commit_log::IdempotencyEntry;
use crate::rows::{RowKey, row_keys};
use crate::schema::TableSchema;

/// A spooled bulk request, ready for the queue.
#[derive(Debug)]
pub struct BulkLoad {
    pub(super) table: Arc<TableSchema>,
    pub(super) spool: Arc<SpoolFile>,
    /// Rows that repeat an earlier row of the request exactly.
    pub(super) repeated: Arc<HashSet<u64>>,
    pub(super) notes: Option<String>,
    pub(super) idempotency: Option<IdempotencyEntry>,
    pub(super) traceparent: Option<String>,
}

impl BulkLoad {
    /// Rows that will be committed.
    pub fn rows(&self) -> u64 {
        self.spool.rows - self.repeated.len() as u64
    }
}

/// Takes conforming batches and writes them to a spool.
pub struct Spooler {
    table: Arc<TableSchema>,
    directory: PathBuf,
    writer: Option<SpoolWriter>,
    key_hashes: Vec<u64>,
}

impl Spooler {
    /// A spool for rows of `table` in `directory`; no file is made before the first batch.
    pub fn new(table: Arc<TableSchema>, directory: &Path) -> Self {
        Self {
            table,
            directory: directory.to_owned(),
            writer: None,
            key_hashes: Vec::new(),
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.key_hashes.len() as u64
    }

    /// SHA-256 of the rows so far, hex: what an idempotency key of a bulk request stands for. Depends on the rows' content
    /// and on where batches end.
    pub fn fingerprint(&self) -> String {
        self.writer
            .as_ref()
            .map(SpoolWriter::fingerprint)
            .unwrap_or_default()
    }

    /// Writes a conforming batch.
    ///
    /// # Errors
    /// [`WriteError::NotCommitted`] when the local disk does not take it.
    pub async fn push(&mut self, batch: RecordBatch) -> Result<(), WriteError> {
        let (table, directory, writer) = (self.table.clone(), self.directory.clone(), self.writer.take());
        let spooled = tokio::task::spawn_blocking(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => SpoolWriter::create(&directory, table.arrow())?,
            };
            writer.write(&batch)?;
            let keys = row_keys(&table, &batch);
            Ok::<_, arrow::error::ArrowError>((writer, keys.iter().map(hash).collect::<Vec<u64>>()))
        });
        let (writer, hashes) = finished(spooled.await)?;
        self.writer = Some(writer);
        self.key_hashes.extend(hashes);
        Ok(())
    }

    /// Ends the spool and finds repeated keys.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when there is no row, or when a key comes twice with different values.
    pub async fn finish(
        self,
        notes: Option<String>,
        idempotency: Option<IdempotencyEntry>,
        traceparent: Option<String>,
    ) -> Result<BulkLoad, WriteError> {
        let Some(writer) = self.writer else {
            return Err(Refusal {
                table: Some(self.table.name.clone()),
                ..Refusal::whole("expected at least one row, found none")
            }
            .into());
        };
        let (table, mut hashes) = (self.table.clone(), self.key_hashes);
        let finished_spool = tokio::task::spawn_blocking(move || {
            let spool = Arc::new(writer.finish(table.arrow().clone())?);
            hashes.sort_unstable();
            let suspects: HashSet<u64> = hashes
                .windows(2)
                .filter(|pair| pair[0] == pair[1])
                .map(|pair| pair[0])
                .collect();
            Ok::<_, arrow::error::ArrowError>((spool.clone(), repeated_rows(&table, &spool, &suspects)?))
        });
        let (spool, repeated) = finished(finished_spool.await)?;
        Ok(BulkLoad {
            table: self.table,
            spool,
            repeated: Arc::new(repeated?),
            notes,
            idempotency,
            traceparent,
        })
    }
}

/// Row indices that repeat an earlier row exactly; only keys with a suspect hash are looked at. Blocks.
fn repeated_rows(
    table: &TableSchema,
    spool: &Arc<SpoolFile>,
    suspects: &HashSet<u64>,
) -> Result<Result<HashSet<u64>, Refusal>, arrow::error::ArrowError> {
    let mut repeated = HashSet::new();
    if suspects.is_empty() {
        return Ok(Ok(repeated));
    }
    let mut first: HashMap<RowKey, RecordBatch> = HashMap::new();
    let mut index = 0;
    for batch in spool.read(Arc::default())? {
        let batch = batch?;
        for (row, key) in row_keys(table, &batch).into_iter().enumerate() {
            let at = index + row as u64;
            if !suspects.contains(&hash(&key)) {
                continue;
            }
            let values = batch.slice(row, 1);
            match first.get(&key) {
                None => {
                    first.insert(key, values);
                }
                Some(earlier) if *earlier == values => {
                    repeated.insert(at);
                }
                Some(_) => {
                    let detail =
                        format!("key {key} comes twice with different values, expected each key once");
                    return Ok(Err(Refusal {
                        table: Some(table.name.clone()),
                        row: Some(at),
                        ..Refusal::whole(detail)
                    }));
                }
            }
        }
        index += batch.num_rows() as u64;
    }
    Ok(Ok(repeated))
}

fn hash(key: &RowKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn finished<T>(
    result: Result<Result<T, arrow::error::ArrowError>, tokio::task::JoinError>,
) -> Result<T, WriteError> {
    let detail = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(WriteError::NotCommitted {
        detail: format!("failed to spool the rows: {detail}"),
    })
}
