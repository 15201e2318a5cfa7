//! Bodies that are malformed, cut off, damaged or of another format, and rows that do not belong: the refusal names the place.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{arrow_stream, decode, ndjson, parquet_file, rows};
use crate::rows::tests::{everything, table};
use crate::rows::{DecodeError, Format, MAX_LINE_BYTES, decode_json_rows, decode_stream};

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
