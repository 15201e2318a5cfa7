//! `{"columns", "tx_id", "seq", "lag_ms", "rows": [[…], …], "truncated"}`.

use std::io::{self, Write};

use bytes::Bytes;
use serde_json::json;

use super::{AnswerHead, Encoder};
use crate::api::problem::Problem;
use crate::graph::Cell;

/// Whether a row was written already, as rows are separated by commas.
#[derive(Debug, Default)]
pub(super) struct Json {
    has_rows: bool,
}

impl Encoder for Json {
    fn head(&mut self, head: &AnswerHead) -> io::Result<Bytes> {
        let mut text = head_text(head)?;
        // Opens the value again for what follows.
        text.pop();
        text.extend_from_slice(b",\"rows\":[");
        Ok(text.into())
    }

    fn rows(&mut self, rows: Vec<Vec<Cell>>) -> io::Result<Bytes> {
        let mut text = Vec::new();
        for row in rows {
            if std::mem::replace(&mut self.has_rows, true) {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &row)?;
        }
        Ok(text.into())
    }

    fn end(&mut self, truncated: bool) -> io::Result<Bytes> {
        let mut text = Vec::new();
        write!(text, "],\"truncated\":{truncated}}}")?;
        Ok(text.into())
    }

    fn failure(&mut self, problem: &Problem) -> io::Result<Bytes> {
        Err(io::Error::other(problem.detail().to_owned()))
    }
}

/// The head as a JSON object.
pub(super) fn head_text(head: &AnswerHead) -> io::Result<Vec<u8>> {
    let value = json!({
        "columns": head.columns,
        "tx_id": head.position.tx_id,
        "seq": head.position.seq,
        "lag_ms": head.lag_ms,
    });
    Ok(serde_json::to_vec(&value)?)
}
