use std::io::Write as _;
use std::sync::Mutex;

use ::arrow::array::AsArray as _;
use ::arrow::datatypes::Int64Type;
use ::arrow::ipc::reader::StreamReader;
use axum::Router;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use futures::StreamExt as _;
use serde_json::json;

use super::*;

/// What a fake writer was sent.
#[derive(Default)]
struct Received {
    bodies: Mutex<Vec<(String, String, Bytes)>>,
}

/// A writer of one table, `Package (name string, size int64)`, that takes bodies whole and gives `answer` to each.
async fn fake_writer(answer: (StatusCode, &'static str)) -> (String, Arc<Received>) {
    let received = Arc::new(Received::default());
    let keep = Arc::clone(&received);
    let rows = async move |RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes| {
        let content_type = headers["content-type"].to_str().unwrap().to_owned();
        keep.bodies
            .lock()
            .unwrap()
            .push((query.unwrap_or_default(), content_type, body));
        answer.into_response()
    };
    (
        serve(Router::new().route("/v1/tables/Package/rows", post(rows))).await,
        received,
    )
}

async fn serve(app: Router) -> String {
    let schema = json!({"nodes": [{"name": "Package", "primaryKey": "name",
        "properties": [{"name": "name", "type": "string"}, {"name": "size", "type": "int64"}]}], "edges": []});
    let app = app.route("/v1/schema", get(async move || axum::Json(schema)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

fn file(suffix: &str, content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn args(writer: &str, file: &tempfile::NamedTempFile) -> LoadArgs {
    LoadArgs {
        table: "Package".to_owned(),
        file: file.path().to_owned(),
        writer: writer.to_owned(),
        format: None,
        chunk_rows: None,
        notes: None,
        idempotency_key: None,
        output: Output::Table,
    }
}

/// Loads, and gives what was printed.
async fn printed(args: LoadArgs) -> (Vec<String>, Result<(), CliError>) {
    let lines = Mutex::new(Vec::new());
    let loaded = load(args, |line| lines.lock().unwrap().push(line.to_owned())).await;
    (lines.into_inner().unwrap(), loaded)
}

const COMMITTED: (StatusCode, &str) = (
    StatusCode::OK,
    r#"{"tx_id": "t-1", "seq": 5, "timestamp": "", "tables": []}"#,
);

#[tokio::test]
async fn a_csv_file_arrives_as_an_arrow_stream_with_the_tables_types() {
    let (writer, received) = fake_writer(COMMITTED).await;
    let csv = file(".csv", b"size,name\n1,a\n2,b\n,c\n");
    run(LoadArgs {
        chunk_rows: Some(7),
        notes: Some("a b".to_owned()),
        ..args(&writer, &csv)
    })
    .await
    .unwrap();
    let (query, content_type, body) = received.bodies.lock().unwrap().pop().unwrap();
    assert_eq!(
        (query.as_str(), content_type.as_str()),
        ("chunk_rows=7&notes=a%20b", body::ARROW_STREAM)
    );
    let batches: Vec<_> = StreamReader::try_new(body.as_ref(), None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let [batch] = batches.as_slice() else {
        panic!("{batches:?}")
    };
    assert_eq!(
        batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some("a"), Some("b"), Some("c")]
    );
    assert_eq!(
        batch
            .column(1)
            .as_primitive::<Int64Type>()
            .iter()
            .collect::<Vec<_>>(),
        [Some(1), Some(2), None]
    );
}

#[tokio::test]
async fn ndjson_is_sent_as_it_is() {
    let (writer, received) = fake_writer(COMMITTED).await;
    let text = br#"{"name": "a"}"#;
    run(args(&writer, &file(".jsonl", text))).await.unwrap();
    let (query, content_type, body) = received.bodies.lock().unwrap().pop().unwrap();
    assert_eq!(
        (query.as_str(), content_type.as_str(), body.as_ref()),
        ("", body::NDJSON, text.as_slice())
    );
}

#[tokio::test]
async fn a_bad_cell_names_its_line_and_the_writer_never_sees_a_whole_body() {
    let (writer, received) = fake_writer(COMMITTED).await;
    let mut text = "name,size\n".to_owned();
    for row in 0..50_000 {
        text += &format!("p{row},{row}\n");
    }
    let error = run(args(&writer, &file(".csv", (text + "x,many\n").as_bytes())))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 50002, column \"size\": expected "),
        "{error}"
    );
    assert!(received.bodies.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_is_told_even_when_it_comes_while_the_file_is_still_being_sent() {
    let problem =
        r#"{"title": "Refused", "status": 422, "detail": "found a list", "row": 3, "column": "size"}"#;
    // Answers at once, and goes on reading so that the connection is not reset under the answer.
    let rows = post(async move |body: axum::body::Body| {
        tokio::spawn(body.into_data_stream().for_each(async |_| {}));
        (StatusCode::UNPROCESSABLE_ENTITY, problem)
    });
    let writer = serve(Router::new().route("/v1/tables/Package/rows", rows)).await;
    let big = file(
        ".ndjson",
        "{\"name\": \"abcdefghijklmnopqrstuvwxyz\"}\n"
            .repeat(500_000)
            .as_bytes(),
    );
    let error = run(args(&writer, &big)).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{writer} answered: Refused: row 3, column size: found a list (HTTP 422)")
    );
}

#[tokio::test]
async fn a_load_in_chunks_that_fails_says_how_many_stand() {
    let lines = "{\"tx_id\": \"t-1\", \"seq\": 5}\n{\"tx_id\": \"t-2\", \"seq\": 6}\n{\"title\": \"Fenced\", \"status\": 503}\n";
    let (writer, _) = fake_writer((StatusCode::OK, lines)).await;
    let error = run(args(&writer, &file(".ndjson", b"{}")))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("Fenced (HTTP 503) (2 of its chunks were committed before, and stand)"),
        "{error}"
    );
}

#[tokio::test]
async fn as_json_each_commit_is_a_line_as_the_writer_answered_it_those_before_a_failure_too() {
    const FIRST: &str = r#"{"tx_id": "t-1", "seq": 5, "tables": []}"#;
    const SECOND: &str = r#"{"tx_id": "t-2", "seq": 6, "tables": []}"#;
    const FENCED: &str = r#"{"title": "Fenced", "status": 503}"#;
    let ndjson = file(".ndjson", b"{}");
    for (answered, shown, is_loaded) in [
        (&[FIRST][..], &[FIRST][..], true),
        (&[FIRST, SECOND, FENCED], &[FIRST, SECOND], false),
    ] {
        let answer: &'static str = answered.join("\n").leak();
        let (writer, _) = fake_writer((StatusCode::OK, answer)).await;
        let (lines, loaded) = printed(LoadArgs {
            output: Output::Json,
            ..args(&writer, &ndjson)
        })
        .await;
        assert_eq!(lines, shown);
        assert_eq!(loaded.is_ok(), is_loaded, "{loaded:?}");
    }
    let (writer, _) = fake_writer(COMMITTED).await;
    let (lines, loaded) = printed(args(&writer, &ndjson)).await;
    loaded.unwrap();
    assert!(
        lines.len() == 1 && lines[0].contains("seq 5, tx_id t-1"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_loaded_is_told_before_anything_is_sent() {
    let (writer, received) = fake_writer(COMMITTED).await;
    let ndjson = file(".ndjson", b"{}");
    let files = [
        (file(".parquet", b"PAR1 and no more"), "not a Parquet file"),
        (file(".txt", b""), "does not tell its format"),
        (file(".csv", b""), "it is empty"),
        (
            file(".arrow", b"nonsense, not Arrow"),
            "malformed Arrow IPC stream",
        ),
    ];
    let mut cases = vec![
        (
            LoadArgs {
                table: "Packages".to_owned(),
                ..args(&writer, &ndjson)
            },
            "no table `Packages`; the graph has Package",
        ),
        (
            LoadArgs {
                file: "/nowhere/rows.csv".into(),
                ..args(&writer, &ndjson)
            },
            "failed to read /nowhere/rows.csv",
        ),
    ];
    cases.extend(files.iter().map(|(file, part)| (args(&writer, file), *part)));
    for (args, part) in cases {
        let error = run(args).await.unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(received.bodies.lock().unwrap().is_empty());
}
