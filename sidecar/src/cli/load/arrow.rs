//! Arrow IPC files and streams, told apart by their first bytes.

use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::super::error::CliError;
use super::converted::{ArrowSink, Counted};

/// How an IPC file begins; an IPC stream does not.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// Sends the batches of the file.
///
/// # Errors
/// When it is neither, or breaks off.
pub(super) fn convert(path: &Path, mut input: Counted, sink: &mut ArrowSink) -> Result<(), CliError> {
    let is_file = begins_with_magic(&mut input).map_err(|error| CliError::read(path, error))?;
    let sent = if is_file {
        FileReader::try_new(BufReader::new(input), None)
            .and_then(|reader| send(reader.schema(), reader, sink))
    } else {
        StreamReader::try_new(BufReader::new(input), None)
            .and_then(|reader| send(reader.schema(), reader, sink))
    };
    let form = if is_file { "file" } else { "stream" };
    sent.map_err(|error| CliError::input(path, format!("malformed Arrow IPC {form}: {error}")))
}

fn begins_with_magic(input: &mut Counted) -> std::io::Result<bool> {
    use std::io::Read as _;
    let mut first = Vec::new();
    input
        .by_ref()
        .take(FILE_MAGIC.len() as u64)
        .read_to_end(&mut first)?;
    input.seek(SeekFrom::Start(0))?;
    Ok(first == FILE_MAGIC)
}

fn send(
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    sink: &mut ArrowSink,
) -> Result<(), ArrowError> {
    sink.begin(&schema)?;
    for batch in batches {
        sink.write(&batch?)?;
    }
    Ok(())
}
