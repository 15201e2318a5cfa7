//! Bulk rows on the writer's local disk: an Arrow IPC stream file, read as often as needed, removed with its last user.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

/// A spool being written.
pub(super) struct SpoolWriter {
    writer: StreamWriter<Hashing>,
    path: TempPath,
    rows: u64,
}

/// Digests what goes to the file.
struct Hashing {
    file: BufWriter<File>,
    digest: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A finished spool.
#[derive(Debug)]
pub(super) struct SpoolFile {
    path: TempPath,
    pub(super) rows: u64,
    pub(super) schema: SchemaRef,
}

impl SpoolWriter {
    /// Starts a spool file. Blocks.
    pub(super) fn create(directory: &Path, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let (file, path) = NamedTempFile::new_in(directory)?.into_parts();
        let file = Hashing {
            file: BufWriter::new(file),
            digest: Sha256::new(),
        };
        Ok(Self {
            writer: StreamWriter::try_new(file, schema)?,
            path,
            rows: 0,
        })
    }

    /// SHA-256 of what was written so far, hex.
    pub(super) fn fingerprint(&self) -> String {
        hex::encode(self.writer.get_ref().digest.clone().finalize())
    }

    /// Appends rows. Blocks.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch)
    }

    /// Ends the file. Blocks.
    pub(super) fn finish(mut self, schema: SchemaRef) -> Result<SpoolFile, ArrowError> {
        self.writer.finish()?;
        self.writer.get_mut().flush()?;
        Ok(SpoolFile {
            path: self.path,
            rows: self.rows,
            schema,
        })
    }
}

impl SpoolFile {
    /// Reads the rows but those whose index is in `skip`. The reader blocks.
    pub(super) fn read(self: &Arc<Self>, skip: Arc<HashSet<u64>>) -> Result<SpoolReader, ArrowError> {
        let reader = StreamReader::try_new(BufReader::new(File::open(&self.path)?), None)?;
        Ok(SpoolReader {
            reader,
            _file: self.clone(),
            skip,
            next_row: 0,
        })
    }
}

/// Streams a spool's batches; keeps the file.
pub(super) struct SpoolReader {
    reader: StreamReader<BufReader<File>>,
    _file: Arc<SpoolFile>,
    skip: Arc<HashSet<u64>>,
    next_row: u64,
}

impl Iterator for SpoolReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.reader.next()? {
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
        self.reader.schema()
    }
}
