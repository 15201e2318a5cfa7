//! A body that arrives in pieces, in every format: the same rows as from JSON, in batches of the size asked for. What is refused is
//! in `refused.rs`, how body and reader wait for each other in `flow.rs`.

mod flow;
mod refused;

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::everything;
use crate::rows::{DecodeError, Format, decode_json_rows, decode_stream};
use crate::schema::TableSchema;

/// Decodes a body that arrives in pieces of `chunk` bytes.
async fn decode(
    table: &Arc<TableSchema>,
    format: Format,
    body: &[u8],
    chunk: usize,
    batch_rows: usize,
) -> Result<Vec<RecordBatch>, DecodeError> {
    let chunks: Vec<_> = body
        .chunks(chunk)
        .map(|bytes| Ok::<_, io::Error>(Bytes::copy_from_slice(bytes)))
        .collect();
    let spool = tempfile::tempdir().unwrap();
    let batches = decode_stream(
        Arc::clone(table),
        format,
        stream::iter(chunks),
        batch_rows,
        spool.path(),
    );
    let outcome = batches.try_collect().await;
    assert_eq!(
        std::fs::read_dir(spool.path()).unwrap().count(),
        0,
        "the spool directory is left empty"
    );
    outcome
}

fn ndjson(rows: &[Value]) -> Vec<u8> {
    rows.iter()
        .flat_map(|row| format!("{row}\n").into_bytes())
        .collect()
}

fn arrow_stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn parquet_file(batch: &RecordBatch) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    body
}

/// Rows of `Thing` with something in every column of every second one.
fn rows(count: i64) -> Vec<Value> {
    let full = |id| {
        json!({"id": id, "text": format!("row {id}"), "flag": id % 4 == 0, "ratio": 0.5, "day": "2024-02-29",
               "at": "2024-02-29T00:00:00.5Z", "blob": "AP8=", "tags": ["a", "b"], "embedding": [1, 2, 3, id]})
    };
    (0..count)
        .map(|id| if id % 2 == 0 { full(id) } else { json!({"id": id}) })
        .collect()
}

#[tokio::test]
async fn every_format_gives_the_same_rows_however_the_body_is_cut() {
    let table = everything();
    let rows = rows(103);
    let expected = decode_json_rows(&table, &rows, 0).unwrap();
    let bodies = [
        (Format::Ndjson, ndjson(&rows)),
        (
            Format::ArrowStream,
            arrow_stream(&[expected.slice(0, 60), expected.slice(60, 43)]),
        ),
        (Format::Parquet, parquet_file(&expected)),
    ];
    for (format, body) in bodies {
        for chunk in [1, 7, 1000, usize::MAX] {
            let batches = decode(&table, format, &body, chunk, 10).await.unwrap();
            assert!(
                batches.iter().all(|batch| (1..=10).contains(&batch.num_rows())),
                "{format}, {chunk}"
            );
            assert_eq!(
                concat_batches(table.arrow(), &batches).unwrap(),
                expected,
                "{format}, {chunk}"
            );
        }
    }
}

#[tokio::test]
async fn batches_are_filled_to_the_rows_asked_for() {
    let table = everything();
    let expected = decode_json_rows(&table, &rows(25), 0).unwrap();
    let bodies = [
        (Format::Ndjson, ndjson(&rows(25))),
        (Format::ArrowStream, arrow_stream(std::slice::from_ref(&expected))),
        (Format::Parquet, parquet_file(&expected)),
    ];
    for (format, body) in bodies {
        let batches = decode(&table, format, &body, 100, 10).await.unwrap();
        let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(sizes, [10, 10, 5], "{format}");
    }
}

#[tokio::test]
async fn ndjson_skips_blank_lines_and_needs_no_last_newline() {
    let body = b"\n{\"id\": 1}\r\n  \n\n{\"id\": 2}";
    let batches = decode(&everything(), Format::Ndjson, body, 3, 10).await.unwrap();
    assert_eq!(
        batches,
        [decode_json_rows(&everything(), &[json!({"id": 1}), json!({"id": 2})], 0).unwrap()]
    );
    assert_eq!(
        decode(&everything(), Format::Ndjson, b"", 1, 10).await.unwrap(),
        []
    );
}

#[test]
fn content_types_name_their_format() {
    for (content_type, format) in [
        ("application/x-ndjson", Some(Format::Ndjson)),
        ("Application/NDJSON; charset=utf-8", Some(Format::Ndjson)),
        ("application/vnd.apache.arrow.stream", Some(Format::ArrowStream)),
        ("application/vnd.apache.parquet", Some(Format::Parquet)),
        ("application/json", None),
        ("application/vnd.apache.arrow.file", None),
        ("", None),
    ] {
        assert_eq!(Format::from_content_type(content_type), format, "{content_type}");
    }
}
