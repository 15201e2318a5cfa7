//! The rows of a bulk request while it is on its way: in memory while there is room, else in an Arrow IPC stream file on the
//! writer's local disk, which is removed with its last user.
//!
//! Owns: where the rows are. Does not own: what they are checked for, nor how they get into Lance.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory for spools of this process, in KiB: all requests together.
const ROOM_KIB: usize = 64 * 1024;

/// The memory that spools may take. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SpoolRoom {
    directory: PathBuf,
    memory: Arc<Semaphore>,
}

impl SpoolRoom {
    /// Room in memory, and in `directory` for what does not fit.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            memory: Arc::new(Semaphore::new(ROOM_KIB)),
        }
    }

    /// Where files go.
    pub(super) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        self.memory.clone().try_acquire_many_owned(kib).ok()
    }
}

/// A spool being written.
pub(super) struct SpoolWriter {
    schema: SchemaRef,
    room: SpoolRoom,
    batches: Vec<RecordBatch>,
    /// For `batches`.
    memory: Vec<OwnedSemaphorePermit>,
    file: Option<SpoolFileWriter>,
    digest: Option<StreamWriter<Sha256Sink>>,
    rows: u64,
}

struct SpoolFileWriter {
    writer: StreamWriter<BufWriter<File>>,
    path: TempPath,
}

/// Digests what is written to it.
struct Sha256Sink(Sha256);

impl Write for Sha256Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A finished spool.
#[derive(Debug)]
pub(super) struct Spool {
    rows_at: RowsAt,
    pub(super) rows: u64,
    pub(super) schema: SchemaRef,
}

#[derive(Debug)]
enum RowsAt {
    Memory(
        Vec<RecordBatch>,
        #[expect(dead_code, reason = "held, not read")] Vec<OwnedSemaphorePermit>,
    ),
    File(TempPath),
}

impl SpoolWriter {
    /// Starts a spool; `digested` when its fingerprint will be asked for.
    ///
    /// # Errors
    /// Arrow's own, about the schema.
    pub(super) fn create(room: &SpoolRoom, schema: &SchemaRef, digested: bool) -> Result<Self, ArrowError> {
        let digest = || StreamWriter::try_new(Sha256Sink(Sha256::new()), schema);
        Ok(Self {
            schema: schema.clone(),
            room: room.clone(),
            batches: Vec::new(),
            memory: Vec::new(),
            file: None,
            digest: digested.then(digest).transpose()?,
            rows: 0,
        })
    }

    /// SHA-256 of what was written so far, hex; empty when it was not wanted.
    pub(super) fn fingerprint(&self) -> String {
        self.digest
            .as_ref()
            .map(|digest| hex::encode(digest.get_ref().0.clone().finalize()))
            .unwrap_or_default()
    }

    /// Appends rows. Blocks.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows() as u64;
        if let Some(digest) = &mut self.digest {
            digest.write(batch)?;
        }
        if let Some(file) = &mut self.file {
            return file.writer.write(batch);
        }
        if let Some(memory) = self.room.take(batch.get_array_memory_size()) {
            self.memory.push(memory);
            self.batches.push(batch.clone());
            return Ok(());
        }
        let mut file = SpoolFileWriter::create(&self.room.directory, &self.schema)?;
        for held in self.batches.drain(..) {
            file.writer.write(&held)?;
        }
        self.memory.clear();
        file.writer.write(batch)?;
        self.file = Some(file);
        Ok(())
    }

    /// Ends the spool. Blocks.
    pub(super) fn finish(self) -> Result<Spool, ArrowError> {
        let rows_at = match self.file {
            Some(mut file) => {
                file.writer.finish()?;
                file.writer.get_mut().flush()?;
                RowsAt::File(file.path)
            }
            None => RowsAt::Memory(self.batches, self.memory),
        };
        Ok(Spool {
            rows_at,
            rows: self.rows,
            schema: self.schema,
        })
    }
}

impl SpoolFileWriter {
    fn create(directory: &Path, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let (file, path) = NamedTempFile::new_in(directory)?.into_parts();
        Ok(Self {
            writer: StreamWriter::try_new(BufWriter::new(file), schema)?,
            path,
        })
    }
}

impl Spool {
    /// Reads the rows but those whose index is in `skip`. The reader blocks.
    pub(super) fn read(self: &Arc<Self>, skip: Arc<HashSet<u64>>) -> Result<SpoolReader, ArrowError> {
        let batches: Batches = match &self.rows_at {
            RowsAt::Memory(batches, _) => Box::new(batches.clone().into_iter().map(Ok)),
            RowsAt::File(path) => Box::new(StreamReader::try_new(BufReader::new(File::open(path)?), None)?),
        };
        Ok(SpoolReader {
            batches,
            spool: self.clone(),
            skip,
            next_row: 0,
        })
    }
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// Streams a spool's batches; keeps the spool.
pub(super) struct SpoolReader {
    batches: Batches,
    spool: Arc<Spool>,
    skip: Arc<HashSet<u64>>,
    next_row: u64,
}

impl Iterator for SpoolReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let first = self.next_row;
        self.next_row += batch.num_rows() as u64;
        if self.skip.is_empty() {
            return Some(Ok(batch));
        }
        let keep: BooleanArray = (first..self.next_row)
            .map(|row| Some(!self.skip.contains(&row)))
            .collect();
        Some(arrow::compute::filter_record_batch(&batch, &keep))
    }
}

impl RecordBatchReader for SpoolReader {
    fn schema(&self) -> SchemaRef {
        self.spool.schema.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(ids))]).unwrap()
    }

    fn spooled(room: &SpoolRoom) -> (Arc<Spool>, String) {
        let mut writer = SpoolWriter::create(room, &batch(0..0).schema(), true).unwrap();
        for start in [0, 1000, 2000] {
            writer.write(&batch(start..start + 1000)).unwrap();
        }
        let fingerprint = writer.fingerprint();
        (Arc::new(writer.finish().unwrap()), fingerprint)
    }

    fn ids(spool: &Arc<Spool>, skip: impl IntoIterator<Item = u64>) -> Vec<i64> {
        let reader = spool.read(Arc::new(skip.into_iter().collect())).unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let columns = batches.iter().map(|batch| {
            batch
                .column(0)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap()
                .values()
                .to_vec()
        });
        columns.flatten().collect()
    }

    #[test]
    fn rows_that_do_not_fit_into_memory_go_to_a_file_and_read_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let roomy = SpoolRoom::new(directory.path().to_owned());
        let files = || std::fs::read_dir(directory.path()).unwrap().count();
        let (in_memory, fingerprint) = spooled(&roomy);
        assert_eq!(files(), 0);
        // Room for the first batch only.
        let narrow = SpoolRoom {
            memory: Arc::new(Semaphore::new(10)),
            ..roomy
        };
        let (in_file, same_fingerprint) = spooled(&narrow);
        assert_eq!(files(), 1);
        assert_eq!(narrow.memory.available_permits(), 10, "the file took over");
        assert_eq!(fingerprint, same_fingerprint);
        for spool in [&in_memory, &in_file] {
            assert_eq!(spool.rows, 3000);
            assert_eq!(ids(spool, []), (0..3000).collect::<Vec<i64>>());
            assert_eq!(
                ids(spool, (0..2998).chain([2999])),
                [2998],
                "rows are skipped by their number"
            );
        }
        drop(in_file);
        assert_eq!(files(), 0, "a file goes with its last user");
    }

    #[test]
    fn memory_is_given_back_with_the_last_user() {
        let directory = tempfile::tempdir().unwrap();
        let room = SpoolRoom::new(directory.path().to_owned());
        let (spool, _) = spooled(&room);
        assert!(room.memory.available_permits() < ROOM_KIB);
        drop(spool);
        assert_eq!(room.memory.available_permits(), ROOM_KIB);
    }
}
