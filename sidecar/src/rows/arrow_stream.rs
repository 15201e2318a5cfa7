//! Bodies in Arrow's IPC stream format.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;

use super::error::DecodeError;
use super::limits::MAX_MESSAGE_BYTES;
use super::stream::{Body, Format, Output, reading};

pub(super) fn decode(body: &mut Body, output: &mut Output) -> Result<(), DecodeError> {
    let mut decoder = StreamDecoder::new();
    // Bytes since the last batch: what the decoder may be holding.
    let mut held = 0;
    while let Some(chunk) = body.next()? {
        let mut chunk = Buffer::from(chunk);
        held += chunk.len();
        while !chunk.is_empty() {
            if let Some(batch) = reading(Format::ArrowStream, || decoder.decode(&mut chunk))? {
                output.conform_and_send(&batch)?;
                held = chunk.len();
            }
        }
        if held > MAX_MESSAGE_BYTES {
            return Err(malformed(format!(
                "a record batch is larger than {MAX_MESSAGE_BYTES} bytes"
            )));
        }
    }
    reading(Format::ArrowStream, || decoder.finish())?;
    match decoder.schema() {
        // A stream without batches may still have the wrong columns.
        Some(schema) => output.conform_and_send(&RecordBatch::new_empty(schema)),
        None => Err(malformed("it has no schema".to_owned())),
    }
}

fn malformed(detail: String) -> DecodeError {
    DecodeError::Malformed {
        format: Format::ArrowStream,
        line: None,
        detail,
    }
}
