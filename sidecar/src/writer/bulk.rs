//! Bulk requests: rows of one table that go into Lance's data files, and are checked, while they arrive, and become one commit.
//!
//! ```text
//! batch ─┬─> Lance's data files (no version names them yet) ─┐
//!        └─> spool, hashes of the keys ──────────────────────┴─> BulkLoad ─> queue
//! ```
//!
//! Memory: the batches in flight, the spool's share of [`super::spool`], 8 bytes per row (a hash of its key, to find keys that
//! come twice), one row for every key that does come twice, and for nodes the keys as well, up to a bound.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{RecordBatch, RecordBatchReader, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::load_keys::{KeyCollector, LoadKeys};
use super::spool::{Spool, SpoolRoom, SpoolWriter};
use super::{Refusal, WriteError};
use crate::commit_log::IdempotencyEntry;
use crate::lake::{LakeError, Staged, TableAt};
use crate::rows::{KeyColumns, RowKey};
use crate::schema::TableSchema;

/// Batches between the decoder and Lance.
const AHEAD: usize = 2;

/// What bulk requests of one writer share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Loading {
    pub(super) room: SpoolRoom,
    /// Each table with the columns that this writer serves; rows are staged for it.
    pub(super) tables: Arc<HashMap<String, TableAt>>,
    pub(super) uploads: Uploads,
}

/// Counts bulk requests between their first row and their answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Uploads(Arc<AtomicUsize>);

impl Uploads {
    /// Whether one is on its way.
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn begin(&self) -> Upload {
        self.0.fetch_add(1, Ordering::Relaxed);
        Upload(self.0.clone())
    }
}

/// One request on its way, until it is dropped.
#[derive(Debug)]
struct Upload(Arc<AtomicUsize>);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A bulk request whose rows are in Lance's data files, ready for the queue.
#[derive(Debug)]
pub struct BulkLoad {
    pub(super) table: Arc<TableSchema>,
    pub(super) spool: Arc<Spool>,
    /// The rows but the repeated ones.
    pub(super) staged: Arc<Staged>,
    pub(super) keys: Arc<LoadKeys>,
    /// Rows that repeat an earlier row of the request exactly.
    pub(super) repeated: HashSet<u64>,
    pub(super) notes: Option<String>,
    pub(super) idempotency: Option<IdempotencyEntry>,
    pub(super) traceparent: Option<String>,
    _upload: Upload,
}

impl BulkLoad {
    /// Rows that will be committed.
    pub fn rows(&self) -> u64 {
        self.spool.rows - self.repeated.len() as u64
    }
}

/// Takes conforming batches of one request.
pub struct Spooler {
    table: Arc<TableSchema>,
    loading: Loading,
    digested: bool,
    /// From the first batch on.
    begun: Option<Begun>,
    rows: u64,
    upload: Upload,
}

/// The two places where rows go.
struct Begun {
    spooled: Spooled,
    to_lance: mpsc::Sender<RecordBatch>,
    staging: JoinHandle<Result<Staged, LakeError>>,
}

/// What blocking threads work on.
struct Spooled {
    writer: SpoolWriter,
    keys: KeyCollector,
}

impl Spooler {
    /// For rows of `table`; nothing is written before the first batch. `digested` when the fingerprint will be asked for.
    pub(super) fn new(table: Arc<TableSchema>, loading: Loading, digested: bool) -> Self {
        let upload = loading.uploads.begin();
        Self {
            table,
            loading,
            digested,
            begun: None,
            rows: 0,
            upload,
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// SHA-256 of the rows so far, hex: what an idempotency key of a bulk request stands for. Depends on the rows' content
    /// and on where batches end. Empty when it was not wanted.
    pub fn fingerprint(&self) -> String {
        self.begun
            .as_ref()
            .map(|begun| begun.spooled.writer.fingerprint())
            .unwrap_or_default()
    }

    /// Takes a conforming batch.
    ///
    /// # Errors
    /// [`WriteError::NotCommitted`] when the local disk or the storage does not take it.
    pub async fn push(&mut self, batch: RecordBatch) -> Result<(), WriteError> {
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.begin()?,
        };
        let Begun {
            mut spooled,
            to_lance,
            staging,
        } = begun;
        if to_lance.send(batch.clone()).await.is_err() {
            // It ended before its rows did: it failed.
            staged(staging.await)?;
            return Err(not_committed("the rows were not taken by the storage"));
        }
        self.rows += batch.num_rows() as u64;
        let table = self.table.clone();
        let pushed = tokio::task::spawn_blocking(move || {
            spooled.writer.write(&batch)?;
            spooled
                .keys
                .add(&KeyColumns::of(&table, &batch), batch.num_rows());
            Ok(spooled)
        });
        self.begun = Some(Begun {
            spooled: finished(pushed.await)?,
            to_lance,
            staging,
        });
        Ok(())
    }

    fn begin(&self) -> Result<Begun, WriteError> {
        let schema = self.table.arrow();
        let base = self.base()?;
        let (to_lance, batches) = mpsc::channel(AHEAD);
        let rows = ChannelReader {
            batches,
            schema: schema.clone(),
        };
        let writer = SpoolWriter::create(&self.loading.room, schema, self.digested);
        Ok(Begun {
            spooled: Spooled {
                writer: writer.map_err(|error| not_committed(&error))?,
                keys: KeyCollector::new(&self.table),
            },
            to_lance,
            staging: tokio::spawn(async move { base.stage(Box::new(rows)).await }),
        })
    }

    /// Ends the request's rows and finds repeated keys.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when there is no row, or when a key comes twice with different values.
    pub async fn finish(
        self,
        notes: Option<String>,
        idempotency: Option<IdempotencyEntry>,
        traceparent: Option<String>,
    ) -> Result<BulkLoad, WriteError> {
        let base = self.base()?;
        let Some(Begun {
            spooled,
            to_lance,
            staging,
        }) = self.begun
        else {
            return Err(Refusal {
                table: Some(self.table.name.clone()),
                ..Refusal::whole("expected at least one row, found none")
            }
            .into());
        };
        drop(to_lance);
        let table = self.table.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let spool = Arc::new(spooled.writer.finish()?);
            fail::fail_point!("writer::after_spool");
            let (keys, suspects) = spooled.keys.finish();
            let suspects = suspects.into_iter().collect();
            let repeated = repeated_rows(&table, &spool, &suspects)?;
            Ok((spool, keys, repeated))
        });
        let (checked, all_rows) = tokio::join!(checked, staging);
        let (spool, keys, repeated) = finished(checked)?;
        let mut rows = staged(all_rows)?;
        fail::fail_point!("writer::after_stage");
        let repeated = repeated?;
        if !repeated.is_empty() {
            // Rare enough to write the rows once more; the files with all of them go when `rows` is replaced.
            let kept = spool.read(Arc::new(repeated.clone()));
            let kept = kept.map_err(|error| not_committed(&error))?;
            rows = base
                .stage(Box::new(kept))
                .await
                .map_err(|error| not_committed(&error))?;
        }
        let expected = spool.rows - repeated.len() as u64;
        if rows.rows() != expected {
            let detail = format!("expected {expected} rows in the storage, found {}", rows.rows());
            return Err(not_committed(detail));
        }
        Ok(BulkLoad {
            table: self.table,
            spool,
            staged: Arc::new(rows),
            keys: Arc::new(keys),
            repeated,
            notes,
            idempotency,
            traceparent,
            _upload: self.upload,
        })
    }

    fn base(&self) -> Result<TableAt, WriteError> {
        let base = self.loading.tables.get(&self.table.name).cloned();
        base.ok_or_else(|| not_committed(format!("table {} is not in the storage", self.table.name)))
    }
}

/// Rows as they come in, for Lance to read on a blocking thread.
struct ChannelReader {
    batches: mpsc::Receiver<RecordBatch>,
    schema: SchemaRef,
}

impl Iterator for ChannelReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.blocking_recv().map(Ok)
    }
}

impl RecordBatchReader for ChannelReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Row indices that repeat an earlier row exactly; only keys with a suspect hash are looked at. Blocks.
fn repeated_rows(
    table: &TableSchema,
    spool: &Arc<Spool>,
    suspects: &HashSet<u64>,
) -> Result<Result<HashSet<u64>, Refusal>, ArrowError> {
    let mut repeated = HashSet::new();
    if suspects.is_empty() {
        return Ok(Ok(repeated));
    }
    let mut first: HashMap<RowKey, RecordBatch> = HashMap::new();
    let mut index = 0;
    for batch in spool.read(Arc::default())? {
        let batch = batch?;
        let keys = KeyColumns::of(table, &batch);
        for (row, hash) in keys.hashes().enumerate() {
            let at = index + row as u64;
            if !suspects.contains(&hash) {
                continue;
            }
            let key = keys.row_key(row);
            match first.get(&key) {
                None => {
                    first.insert(key, copy_of_row(&batch, row)?);
                }
                Some(earlier) if *earlier == batch.slice(row, 1) => {
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

/// A slice would keep the whole batch in memory.
fn copy_of_row(batch: &RecordBatch, row: usize) -> Result<RecordBatch, ArrowError> {
    take_record_batch(batch, &UInt64Array::from(vec![row as u64]))
}

type Joined<T, E> = Result<Result<T, E>, tokio::task::JoinError>;

fn staged(result: Joined<Staged, LakeError>) -> Result<Staged, WriteError> {
    match result {
        Ok(Ok(staged)) => Ok(staged),
        Ok(Err(error)) => Err(not_committed(&error)),
        Err(error) => Err(not_committed(&error)),
    }
}

fn finished<T>(result: Joined<T, ArrowError>) -> Result<T, WriteError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(not_committed(format!("failed to spool the rows: {error}"))),
        Err(error) => Err(not_committed(format!("failed to spool the rows: {error}"))),
    }
}

fn not_committed(detail: impl ToString) -> WriteError {
    WriteError::NotCommitted {
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn what_is_kept_of_a_repeated_key_is_its_row_and_not_the_batch_around_it() {
        let columns: [(&str, arrow::array::ArrayRef, bool); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(0..16_384)), false),
            (
                "text",
                Arc::new(StringArray::from_iter(
                    (0..16_384).map(|row| (row % 2 == 0).then(|| format!("the text of row {row}"))),
                )),
                true,
            ),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        for row in [0, 7001, 16_383] {
            let copy = copy_of_row(&batch, row).unwrap();
            assert_eq!(copy, batch.slice(row, 1));
            assert!(copy.get_array_memory_size() < 1024, "row {row}");
        }
        assert!(batch.slice(7, 1).get_array_memory_size() > 256 * 1024);
        assert_ne!(copy_of_row(&batch, 7).unwrap(), batch.slice(9, 1));
    }
}
