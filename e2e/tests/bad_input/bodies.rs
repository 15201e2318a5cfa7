//! Bad bodies of rows: Parquet, Arrow, NDJSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::json;
use slipstream_e2e::client::{ARROW_STREAM, NDJSON, PARQUET};

use crate::case::{Case, NOWHERE, Place, Request, at, malformed, refused, rows};

pub(crate) fn bodies() -> Vec<Case> {
    let item = |row, column| at(None, "Item", row, column);
    let of_body = Place {
        table: Some("Item"),
        ..NOWHERE
    };
    let good = parquet(&items(&["a", "b"], [0.5; 8]));
    let stream = arrow_stream(&items(&["a"], [0.5; 4]));
    let nan = items(&["a", "b"], [0.5, 0.5, 0.5, 0.5, 0.5, f32::NAN, 0.5, 0.5]);
    let infinite = items(&["a"], [0.5, 0.5, 0.5, f32::INFINITY]);
    let foreign =
        RecordBatch::try_from_iter([("name", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]).unwrap();
    vec![
        malformed(
            "truncated Parquet",
            rows("Item", PARQUET, &good[..good.len() - 20]),
            of_body,
            &["Parquet"],
        ),
        malformed(
            "Parquet that is none",
            rows("Item", PARQUET, "PAR1"),
            of_body,
            &["Parquet"],
        ),
        refused(
            "NaN vector in Parquet",
            rows("Item", PARQUET, parquet(&nan)),
            item(1, "embedding"),
            &["finite float32", "NaN"],
        ),
        refused(
            "NaN vector in Arrow",
            rows("Item", ARROW_STREAM, arrow_stream(&nan)),
            item(1, "embedding"),
            &["NaN"],
        ),
        refused(
            "infinite vector",
            rows("Item", PARQUET, parquet(&infinite)),
            item(0, "embedding"),
            &["finite float32", "inf"],
        ),
        malformed(
            "cut Arrow stream",
            rows("Item", ARROW_STREAM, &stream[..stream.len() - 30]),
            of_body,
            &["Arrow"],
        ),
        refused(
            "unknown column in Parquet",
            rows("Item", PARQUET, parquet(&foreign)),
            Place {
                table: Some("Item"),
                column: Some("name"),
                ..NOWHERE
            },
            &["unknown property"],
        ),
        malformed(
            "malformed NDJSON",
            rows("Item", NDJSON, "{\"id\": \"a\"}\n{\"id\": \n"),
            Place {
                table: Some("Item"),
                line: Some(2),
                ..NOWHERE
            },
            &["line 2"],
        ),
        refused(
            "wrong type in NDJSON",
            rows("Item", NDJSON, "{\"id\": \"a\"}\n{\"id\": 7}\n"),
            item(1, "id"),
            &["string", "7"],
        ),
        refused(
            "10 MB string in NDJSON",
            rows(
                "Item",
                NDJSON,
                json!({"id": "a", "note": "x".repeat(10_000_000)}).to_string(),
            ),
            item(0, "note"),
            &["8388608"],
        ),
        refused(
            "duplicate key in a body",
            rows(
                "Item",
                NDJSON,
                "{\"id\": \"a\", \"size\": 1}\n{\"id\": \"a\", \"size\": 2}\n",
            ),
            Place {
                table: Some("Item"),
                row: Some(1),
                ..NOWHERE
            },
            &["twice"],
        ),
        refused(
            "dangling edge in a body",
            rows(
                "NEAR",
                NDJSON,
                "{\"from\": \"here\", \"to\": \"there\"}\n{\"from\": \"here\", \"to\": \"nowhere\"}\n",
            ),
            at(None, "NEAR", 1, "to"),
            &["nowhere"],
        ),
        refused(
            "empty body",
            rows("Item", NDJSON, ""),
            of_body,
            &["at least one row"],
        ),
        malformed(
            "idempotency key that is not ASCII",
            Request::KeyedRows {
                key: "schlüssel",
                body: "{\"id\": \"a\"}\n",
            },
            NOWHERE,
            &["Idempotency-Key", "ASCII"],
        ),
        Case {
            name: "rows for an unknown table",
            request: rows("Thing", NDJSON, "{\"id\": \"a\"}\n"),
            status: 404,
            slug: "unknown-table",
            place: Place {
                table: Some("Thing"),
                ..NOWHERE
            },
            says: vec!["Item", "Thing"],
        },
        Case {
            name: "unknown content type",
            request: rows("Item", "text/csv", "id\na\n"),
            status: 415,
            slug: "unsupported-media-type",
            place: NOWHERE,
            says: vec!["text/csv", PARQUET],
        },
    ]
}

/// Items with vectors of dimension 4.
fn items<const N: usize>(ids: &[&str], numbers: [f32; N]) -> RecordBatch {
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors =
        FixedSizeListArray::try_new(field, 4, Arc::new(Float32Array::from(numbers.to_vec())), None).unwrap();
    let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
    RecordBatch::try_from_iter([("id", ids), ("embedding", Arc::new(vectors) as ArrayRef)]).unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    file
}

fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut stream = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(batch).unwrap();
    stream.finish().unwrap();
    stream.into_inner().unwrap()
}
