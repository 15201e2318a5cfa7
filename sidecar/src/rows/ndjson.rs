//! NDJSON bodies: one JSON object per line; blank lines are skipped, and the last line may lack its newline.

use std::sync::Arc;

use super::error::DecodeError;
use super::json::RowsBuilder;
use super::json_row::JsonRow;
use super::limits::MAX_LINE_BYTES;
use super::stream::{BATCH_BYTES, Body, Format, Output};
use crate::schema::TableSchema;

pub(super) fn decode(body: &mut Body, output: &mut Output) -> Result<(), DecodeError> {
    let table = Arc::clone(&output.table);
    let mut lines = Lines {
        builder: RowsBuilder::new(&table, output.batch_rows),
        table: &table,
        output,
        bytes: 0,
        number: 0,
    };
    // The beginning of a line whose end has not arrived.
    let mut begun: Vec<u8> = Vec::new();
    while let Some(chunk) = body.next()? {
        let mut rest = &chunk[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if begun.is_empty() {
                lines.take(line)?;
            } else {
                begun.extend_from_slice(line);
                lines.take(&begun)?;
                begun.clear();
            }
        }
        begun.extend_from_slice(rest);
        if begun.len() > MAX_LINE_BYTES {
            return lines.take(&begun);
        }
    }
    lines.take(&begun)?;
    lines.flush()
}

struct Lines<'a> {
    table: &'a TableSchema,
    builder: RowsBuilder<'a>,
    output: &'a mut Output,
    /// Of the lines in `builder`.
    bytes: usize,
    /// Lines taken; also the number of the last one, counted from 1.
    number: u64,
}

impl Lines<'_> {
    fn take(&mut self, line: &[u8]) -> Result<(), DecodeError> {
        self.number += 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(self.malformed(format!("the line is longer than {MAX_LINE_BYTES} bytes")));
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let row: JsonRow = serde_json::from_slice(line).map_err(|error| {
            // serde_json counts lines within what it was given, which is always one.
            let text = error.to_string();
            let cause = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(cause, _)| cause);
            self.malformed(format!("{cause} at column {}", error.column()))
        })?;
        self.builder
            .append(&row, self.output.next_row + self.builder.rows() as u64)?;
        self.bytes += line.len();
        if self.builder.rows() >= self.output.batch_rows || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DecodeError> {
        self.bytes = 0;
        if self.builder.rows() == 0 {
            return Ok(());
        }
        let next = RowsBuilder::new(self.table, self.output.batch_rows);
        self.output
            .send(std::mem::replace(&mut self.builder, next).finish()?)
    }

    fn malformed(&self, detail: String) -> DecodeError {
        DecodeError::Malformed {
            format: Format::Ndjson,
            line: Some(self.number),
            detail,
        }
    }
}
