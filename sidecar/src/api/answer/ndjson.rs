//! One line with the head, one array per row, one line with the end or with the problem.

use std::io;

use bytes::Bytes;
use serde_json::json;

use super::{AnswerHead, Encoder, json};
use crate::api::problem::Problem;
use crate::graph::Cell;

#[derive(Debug)]
pub(super) struct Ndjson;

impl Encoder for Ndjson {
    fn head(&mut self, head: &AnswerHead) -> io::Result<Bytes> {
        let mut text = json::head_text(head)?;
        text.push(b'\n');
        Ok(text.into())
    }

    fn rows(&mut self, rows: Vec<Vec<Cell>>) -> io::Result<Bytes> {
        let mut text = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut text, &row)?;
            text.push(b'\n');
        }
        Ok(text.into())
    }

    fn end(&mut self, truncated: bool) -> io::Result<Bytes> {
        Ok(format!("{}\n", json!({"truncated": truncated})).into())
    }

    fn failure(&mut self, problem: &Problem) -> io::Result<Bytes> {
        Ok(format!("{}\n", problem.to_json()).into())
    }
}
