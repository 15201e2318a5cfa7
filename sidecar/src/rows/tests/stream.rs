use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::{everything, table};
use crate::rows::{DecodeError, Format, MAX_LINE_BYTES, decode_json_rows, decode_stream};
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

#[tokio::test]
async fn malformed_json_is_refused_with_its_line() {
    for (body, message) in [
        (
            &b"{\"id\": 1}\n\n{\"id\": 2,}\n"[..],
            "malformed NDJSON body at line 3: trailing comma at column 10",
        ),
        (
            b"{\"id\": 1}\n{\"id\": 2",
            "malformed NDJSON body at line 2: EOF while parsing an object at column 8",
        ),
        (
            b"{\"id\": 1} {\"id\": 2}\n",
            "malformed NDJSON body at line 1: trailing characters at column 11",
        ),
        (
            b"{\"text\": \"\xff\"}",
            "malformed NDJSON body at line 1: invalid unicode code point at column 11",
        ),
    ] {
        for chunk in [1, 1000] {
            let error = decode(&everything(), Format::Ndjson, body, chunk, 10)
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}

#[tokio::test]
async fn a_line_longer_than_the_limit_is_refused_before_it_ends() {
    const CHUNK: usize = 1 << 20;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let endless = stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(Bytes::from(vec![b' '; CHUNK]))
    });
    let body = stream::iter([Ok(Bytes::from("{\"id\": 1}\n"))]).chain(endless);
    let batches = decode_stream(everything(), Format::Ndjson, body, 10, &std::env::temp_dir());
    let error = batches.try_collect::<Vec<_>>().await.unwrap_err();
    let expected = format!("malformed NDJSON body at line 2: the line is longer than {MAX_LINE_BYTES} bytes");
    assert_eq!(error.to_string(), expected);
    assert_eq!(asked.load(Ordering::Relaxed), MAX_LINE_BYTES / CHUNK + 1);
}

#[tokio::test]
async fn a_wrong_row_is_named_by_its_place_in_the_body_after_the_batches_before_it() {
    let table = table("Named");
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..25).map(|row| row.to_string())));
    let sizes: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..25).map(|row| (row != 23).then_some(row)),
    ));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("name", names, false), ("size", sizes, true)]).unwrap();
    let lines: Vec<Value> = (0..25)
        .map(|row| json!({"name": row.to_string(), "size": if row == 23 { json!(null) } else { json!(row) }}))
        .collect();
    let bodies = [
        (Format::Ndjson, ndjson(&lines)),
        (
            Format::ArrowStream,
            arrow_stream(&[batch.slice(0, 12), batch.slice(12, 13)]),
        ),
        (Format::Parquet, parquet_file(&batch)),
    ];
    for (format, body) in bodies {
        let chunks = stream::iter([Ok::<_, io::Error>(Bytes::from(body))]);
        let batches: Vec<_> = decode_stream(Arc::clone(&table), format, chunks, 5, &std::env::temp_dir())
            .collect()
            .await;
        let (last, before) = batches.split_last().unwrap();
        assert!(before.iter().all(Result::is_ok), "{format}");
        let error = last.as_ref().unwrap_err().to_string();
        assert_eq!(
            error, "row 23, column \"size\": expected a value (it is required), found null",
            "{format}"
        );
    }
}

#[tokio::test]
async fn a_truncated_body_is_refused_wherever_it_was_cut() {
    let table = everything();
    let batch = decode_json_rows(&table, &rows(50), 0).unwrap();
    let parquet = parquet_file(&batch);
    for length in [
        0,
        3,
        4,
        11,
        12,
        parquet.len() / 2,
        parquet.len() - 9,
        parquet.len() - 1,
    ] {
        let error = decode(&table, Format::Parquet, &parquet[..length], 100, 10)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                DecodeError::Malformed {
                    format: Format::Parquet,
                    ..
                }
            ),
            "{length}: {error}"
        );
        assert!(
            error.to_string().starts_with("malformed Parquet body: "),
            "{error}"
        );
    }
    let arrow = arrow_stream(std::slice::from_ref(&batch));
    // The last 8 bytes mark the end; without them the stream still ends between two messages.
    for length in [0, 3, 4, 8, 100, arrow.len() / 2, arrow.len() - 9, arrow.len() - 1] {
        let error = decode(&table, Format::ArrowStream, &arrow[..length], 100, 10)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                DecodeError::Malformed {
                    format: Format::ArrowStream,
                    ..
                }
            ),
            "{length}: {error}"
        );
        assert!(
            error.to_string().starts_with("malformed Arrow stream body: "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_flipped_bit_is_taken_for_a_malformed_body_and_loses_no_row_of_a_parquet_file() {
    let table = everything();
    let batch = decode_json_rows(&table, &rows(50), 0).unwrap();
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    for (format, body) in [
        (Format::Parquet, parquet_file(&batch)),
        (Format::ArrowStream, arrow_stream(std::slice::from_ref(&batch))),
    ] {
        for _ in 0..100 {
            let mut damaged = body.clone();
            let place = rand::Rng::random_range(&mut random, 0..damaged.len());
            damaged[place] ^= 1 << rand::Rng::random_range(&mut random, 0..8);
            // Neither format has checksums by default, so damage to values passes or makes a row refused. Damage to
            // structure is the body's fault even where it makes a reader panic, and a Parquet file announces its rows.
            match decode(&table, format, &damaged, usize::MAX, 10).await {
                Ok(batches) if format == Format::Parquet => {
                    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
                    assert_eq!(count, 50, "{format}: bit flipped in byte {place}");
                }
                Ok(_) | Err(DecodeError::Row(_) | DecodeError::Malformed { .. }) => {}
                Err(other) => panic!("{format}: bit flipped in byte {place}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_another_format_is_refused() {
    for format in [Format::Ndjson, Format::ArrowStream, Format::Parquet] {
        let error = decode(&everything(), format, b"name,size\ncurl,498\n", 100, 10)
            .await
            .unwrap_err();
        assert!(
            matches!(error, DecodeError::Malformed { .. }),
            "{format}: {error}"
        );
    }
}

#[tokio::test]
async fn wrong_columns_are_refused_even_without_rows() {
    let strange: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
    let batch = RecordBatch::try_from_iter([("strange", strange)]).unwrap();
    for (format, body) in [
        (Format::Parquet, parquet_file(&batch)),
        (Format::ArrowStream, arrow_stream(std::slice::from_ref(&batch))),
    ] {
        let error = decode(&everything(), format, &body, 100, 10).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("column \"strange\": expected a property of Thing"),
            "{format}: {error}"
        );
    }
}

#[tokio::test]
async fn an_error_of_the_transport_is_passed_on() {
    for format in [Format::Ndjson, Format::ArrowStream, Format::Parquet] {
        let body = stream::iter([Ok(Bytes::new()), Err(io::Error::other("connection reset"))]);
        let error = decode_stream(everything(), format, body, 10, &std::env::temp_dir())
            .try_collect::<Vec<_>>()
            .await;
        let DecodeError::Body(source) = error.unwrap_err() else {
            panic!("{format}")
        };
        assert_eq!(source.to_string(), "connection reset");
    }
}

#[tokio::test]
async fn a_spool_directory_that_is_missing_is_an_error_of_its_own() {
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let body = stream::iter([Ok::<_, io::Error>(Bytes::new())]);
    let batches = decode_stream(everything(), Format::Parquet, body, 10, &missing)
        .try_collect::<Vec<_>>()
        .await;
    assert!(matches!(batches.unwrap_err(), DecodeError::Spool(_)));
}

#[tokio::test]
async fn a_decoder_that_panics_does_not_look_like_the_end() {
    let body =
        stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, io::Error>>> { panic!("broken body") });
    let batches: Vec<_> = decode_stream(everything(), Format::Ndjson, body, 10, &std::env::temp_dir())
        .collect()
        .await;
    assert!(
        matches!(batches.as_slice(), [Err(DecodeError::Stopped { .. })]),
        "{batches:?}"
    );
}

/// Counts how often it was asked, and says when it is dropped.
fn watched(
    asked: Arc<AtomicUsize>,
    line: &'static str,
) -> (
    impl Stream<Item = Result<Bytes, io::Error>>,
    tokio::sync::oneshot::Receiver<()>,
) {
    let (guard, dropped) = tokio::sync::oneshot::channel::<()>();
    let body = stream::repeat_with(move || {
        let _held = &guard;
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(line))
    });
    (body, dropped)
}

#[tokio::test]
async fn the_body_is_read_no_faster_than_its_batches_are_taken_and_dropped_with_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (body, dropped) = watched(Arc::clone(&asked), "{\"id\": 1}\n");
    let mut batches = Box::pin(decode_stream(
        everything(),
        Format::Ndjson,
        body,
        1,
        &std::env::temp_dir(),
    ));
    for _ in 0..10 {
        batches.next().await.unwrap().unwrap();
    }
    // Taken, waiting in the channel, waiting to be sent, and one being made.
    assert!(asked.load(Ordering::Relaxed) <= 13);
    drop(batches);
    // Its sender is dropped with the body.
    assert!(dropped.await.is_err());
}

#[tokio::test]
async fn a_silent_body_is_dropped_when_nobody_waits_for_it() {
    let (guard, dropped) = tokio::sync::oneshot::channel::<()>();
    let silent = stream::poll_fn(move |_| -> std::task::Poll<Option<Result<Bytes, io::Error>>> {
        let _held = &guard;
        std::task::Poll::Pending
    });
    drop(decode_stream(
        everything(),
        Format::Parquet,
        silent,
        10,
        &std::env::temp_dir(),
    ));
    assert!(dropped.await.is_err());
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

#[tokio::test]
async fn a_property_named_twice_in_a_line_is_refused_as_a_row() {
    let body = b"{\"id\": 1}\n{\"id\": 2, \"id\": 2}\n";
    let error = decode(&everything(), Format::Ndjson, body, 7, 10)
        .await
        .unwrap_err();
    assert!(matches!(error, DecodeError::Row(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        r#"row 1, column "id": expected each property once, found it twice"#
    );
}
