//! The records of a CSV file (RFC 4180: comma, double quotes, CRLF or LF), with the lines they begin in.
//!
//! Owns: quoting. Whether a cell was quoted is kept: it tells an empty string from nothing. Does not own: types.

use std::io::{BufRead, Read as _};

/// More than the writer takes in one row; keeps a quote that is never closed from reading the whole file into memory.
const MAX_RECORD_BYTES: u64 = 64 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One record. Never without cells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it begins, counted from 1.
    pub(super) line: u64,
    pub(super) cells: Vec<Cell>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) quoted: bool,
}

/// A record that is malformed or cannot be read.
#[derive(Debug)]
pub(super) struct RecordError {
    pub(super) line: u64,
    pub(super) detail: String,
}

/// Reads records one by one; lines with nothing on them are skipped.
pub(super) struct Records<R> {
    input: R,
    /// Lines read so far.
    lines: u64,
}

enum Place {
    CellStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted cell: its end, or the first half of an escaped quote.
    QuoteInQuoted,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, lines: 0 }
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RecordError> {
        loop {
            let mut parser = Parser {
                line: self.lines + 1,
                ..Parser::new()
            };
            let mut line = Vec::new();
            let mut bytes = 0;
            while parser.wants_more() {
                let room = MAX_RECORD_BYTES - bytes;
                line.clear();
                bytes += self
                    .read_line(room, &mut line)
                    .map_err(|detail| parser.error(detail))?;
                if line.is_empty() {
                    break;
                }
                parser.take(&line)?;
                if bytes >= MAX_RECORD_BYTES {
                    return Err(parser.error(format!("the record is larger than {MAX_RECORD_BYTES} bytes")));
                }
            }
            if bytes == 0 {
                return Ok(None);
            }
            if let Some(record) = parser.finish()? {
                return Ok(Some(record));
            }
        }
    }

    fn read_line(&mut self, room: u64, line: &mut Vec<u8>) -> Result<u64, String> {
        let bytes = self
            .input
            .by_ref()
            .take(room)
            .read_until(b'\n', line)
            .map_err(|error| error.to_string())?;
        if self.lines == 0 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        self.lines += 1;
        Ok(bytes as u64)
    }
}

/// One record being taken apart.
struct Parser {
    line: u64,
    cells: Vec<(Vec<u8>, bool)>,
    cell: Vec<u8>,
    quoted: bool,
    place: Place,
    is_started: bool,
}

impl Parser {
    fn new() -> Self {
        let (cells, cell) = (Vec::new(), Vec::new());
        Self {
            line: 0,
            cells,
            cell,
            quoted: false,
            place: Place::CellStart,
            is_started: false,
        }
    }

    /// A record goes on over the line's end only inside quotes.
    fn wants_more(&self) -> bool {
        !self.is_started || matches!(self.place, Place::Quoted)
    }

    fn take(&mut self, line: &[u8]) -> Result<(), RecordError> {
        self.is_started = true;
        let end = if line.ends_with(b"\r\n") {
            line.len() - 2
        } else {
            line.len() - usize::from(line.ends_with(b"\n"))
        };
        for (at, &byte) in line.iter().enumerate() {
            match (&self.place, byte) {
                (Place::Quoted, b'"') => self.place = Place::QuoteInQuoted,
                (Place::Quoted, byte) => self.cell.push(byte),
                (_, _) if at >= end => {}
                (Place::CellStart, b'"') => {
                    self.quoted = true;
                    self.place = Place::Quoted;
                }
                (_, b',') => self.end_cell(),
                (Place::QuoteInQuoted, b'"') => {
                    self.cell.push(b'"');
                    self.place = Place::Quoted;
                }
                (Place::QuoteInQuoted, _) => {
                    return Err(
                        self.error("after a closing quote, expected a comma or the line's end".to_owned())
                    );
                }
                (Place::CellStart | Place::Plain, byte) => {
                    self.cell.push(byte);
                    self.place = Place::Plain;
                }
            }
        }
        Ok(())
    }

    fn end_cell(&mut self) {
        self.cells.push((std::mem::take(&mut self.cell), self.quoted));
        self.quoted = false;
        self.place = Place::CellStart;
    }

    /// `None` for a line with nothing on it.
    fn finish(mut self) -> Result<Option<Record>, RecordError> {
        if matches!(self.place, Place::Quoted) {
            return Err(self.error("a quote is opened and never closed".to_owned()));
        }
        self.end_cell();
        if let [(bytes, false)] = self.cells.as_slice()
            && bytes.is_empty()
        {
            return Ok(None);
        }
        let line = self.line;
        let cell = |(bytes, quoted)| match String::from_utf8(bytes) {
            Ok(text) => Ok(Cell { text, quoted }),
            Err(_) => Err(RecordError {
                line,
                detail: "expected UTF-8, found other bytes".to_owned(),
            }),
        };
        let cells = self.cells.into_iter().map(cell).collect::<Result<_, _>>()?;
        Ok(Some(Record { line, cells }))
    }

    fn error(&self, detail: String) -> RecordError {
        RecordError {
            line: self.line,
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record's line, and each cell's text with whether it was quoted.
    type Read = (u64, Vec<(String, bool)>);

    fn read(text: &[u8]) -> Result<Vec<Read>, RecordError> {
        let mut records = Records::new(text);
        let mut found = Vec::new();
        while let Some(record) = records.next()? {
            found.push((
                record.line,
                record
                    .cells
                    .into_iter()
                    .map(|cell| (cell.text, cell.quoted))
                    .collect(),
            ));
        }
        Ok(found)
    }

    fn plain(line: u64, cells: &[&str]) -> Read {
        (
            line,
            cells.iter().map(|text| ((*text).to_owned(), false)).collect(),
        )
    }

    #[test]
    fn records_know_their_line_also_after_quoted_line_ends_and_blank_lines() {
        let found = read(b"\xef\xbb\xbfa,b\r\n\n1,\"x\ny \"\"z\"\"\"\n2,\"\"\r\n,\nlast,3").unwrap();
        let quoted = |line, first: &str, second: &str| {
            (line, vec![(first.to_owned(), false), (second.to_owned(), true)])
        };
        let expected = [
            plain(1, &["a", "b"]),
            quoted(3, "1", "x\ny \"z\""),
            quoted(5, "2", ""),
            plain(6, &["", ""]),
            plain(7, &["last", "3"]),
        ];
        assert_eq!(found, expected);
        assert_eq!(read(b"").unwrap(), []);
        assert_eq!(read(b"\xef\xbb\xbf").unwrap(), []);
    }

    #[test]
    fn malformed_records_are_refused_with_their_line() {
        for (text, line, part) in [
            (&b"a\n\"b"[..], 2, "never closed"),
            (b"a\n\"b\"c,d\n", 2, "closing quote"),
            (b"a\nb\n\xff\n", 3, "UTF-8"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.line == line && error.detail.contains(part), "{error:?}");
        }
    }
}
