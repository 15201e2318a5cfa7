//! An Arrow IPC stream. Its schema's metadata names the commit (`slipstream.tx_id`, `slipstream.seq`, `slipstream.lag_ms`).
//!
//! The format has no place for what is known only at the end: an answer with as many rows as its limit may be truncated.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use super::{AnswerHead, Encoder, cells};
use crate::api::problem::Problem;
use crate::graph::Cell;

pub(super) struct ArrowStream {
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
}

impl ArrowStream {
    /// A stream whose first bytes, the schema, wait for [`Encoder::head`].
    pub(super) fn new(head: &AnswerHead) -> io::Result<Self> {
        let fields: Vec<Field> = head
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.arrow.clone(), true))
            .collect();
        let metadata = HashMap::from([
            ("slipstream.tx_id".to_owned(), head.position.tx_id.to_string()),
            ("slipstream.seq".to_owned(), head.position.seq.to_string()),
            ("slipstream.lag_ms".to_owned(), head.lag_ms.to_string()),
        ]);
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(arrow_error)?;
        Ok(Self { writer, schema })
    }

    fn written(&mut self) -> Bytes {
        std::mem::take(self.writer.get_mut()).into()
    }
}

impl Encoder for ArrowStream {
    fn head(&mut self, _: &AnswerHead) -> io::Result<Bytes> {
        Ok(self.written())
    }

    fn rows(&mut self, rows: Vec<Vec<Cell>>) -> io::Result<Bytes> {
        let columns: io::Result<Vec<_>> = (self.schema.fields().iter().enumerate())
            .map(|(index, field)| {
                let column: Vec<&Cell> = rows
                    .iter()
                    .map(|row| row.get(index).unwrap_or(&Cell::Null))
                    .collect();
                cells::array(field.data_type(), &column)
                    .map_err(|error| io::Error::other(format!("column {:?}: {error}", field.name())))
            })
            .collect();
        // A query without visible columns still has rows.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns?, &options)
            .map_err(arrow_error)?;
        self.writer.write(&batch).map_err(arrow_error)?;
        Ok(self.written())
    }

    fn end(&mut self, _: bool) -> io::Result<Bytes> {
        self.writer.finish().map_err(arrow_error)?;
        Ok(self.written())
    }

    fn failure(&mut self, problem: &Problem) -> io::Result<Bytes> {
        Err(io::Error::other(problem.detail().to_owned()))
    }
}

fn arrow_error(error: ArrowError) -> io::Error {
    io::Error::other(error)
}
