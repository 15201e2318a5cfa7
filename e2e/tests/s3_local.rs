//! `slipstream local --remote` on a real S3 server: rows are written, read on a replica, survive the server's absence and
//! the loss of every local file, and `slipstream cleanup` takes them away.

#![expect(clippy::unwrap_used, reason = "what fails fails the test")]

#[path = "../../sidecar/tests/support/versitygw.rs"]
mod versitygw;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_e2e::client::{NDJSON, Node, Query};
use slipstream_e2e::local_process::{LocalProcess, LocalSettings, find_binary};
use slipstream_e2e::ports::free_base_port;
use slipstream_e2e::wait::{Look, until};
use tempfile::TempDir;

use versitygw::{ACCESS_KEY, SECRET_KEY, Versitygw};

const WITHIN: Duration = Duration::from_secs(120);
const BUCKET: &str = "graphs";

fn resource(endpoint: &str) -> String {
    format!(
        "
apiVersion: slipstream.dev/v1alpha1
kind: ReplicatedGraphDB
metadata: {{name: small}}
spec:
  replicas: 1
  storage: {{uri: 's3://{BUCKET}/of/small', endpoint: '{endpoint}', credentialsSecretRef: {{name: s3}}}}
  events: {{pollInterval: 100ms}}
  schema:
    nodes:
      - name: Item
        primaryKey: id
        properties: [{{name: id, type: string}}, {{name: size, type: int64}}]
    edges:
      - {{name: NEAR, from: Item, to: Item, properties: [{{name: weight, type: double}}]}}
"
    )
}

/// Addresses in the environment are for graphs whose resource names none.
fn environment() -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Starts the graph with its own files in `directory`, which it has never seen.
async fn start(directory: &Path, endpoint: &str) -> LocalProcess {
    let graph_file = directory.join("small.yaml");
    std::fs::write(&graph_file, resource(endpoint)).unwrap();
    let mut local = LocalProcess::start(LocalSettings {
        binary: find_binary().unwrap(),
        graph_file,
        data_dir: directory.join("data"),
        log_file: directory.join("local.log"),
        base_port: free_base_port().unwrap(),
        detached: false,
        remote: Some(environment()),
    })
    .unwrap();
    if let Err(error) = local.wait_ready(1, WITHIN).await {
        panic!("{error}\n{}", local.logs_tail(40));
    }
    local
}

fn transaction(number: usize) -> Value {
    let (left, right) = (format!("left-{number}"), format!("right-{number}"));
    json!({"idempotency_key": format!("key-{number}"), "operations": [
        {"upsert": {"table": "Item", "rows": [{"id": left, "size": number}, {"id": right, "size": number}]}},
        {"upsert": {"table": "NEAR", "rows": [{"from": left, "to": right, "weight": 0.5}]}}]})
}

async fn counts(node: &Node, min_tx: &str) -> (u64, u64) {
    let count = async |text: &str| node.count(&Query::new(text).min_tx(min_tx)).await.unwrap();
    (
        count("MATCH (i:Item) RETURN count(*)").await,
        count("MATCH (:Item)-[n:NEAR]->(:Item) RETURN count(*)").await,
    )
}

#[tokio::test]
async fn a_graph_lives_in_s3_and_goes_with_cleanup() {
    let mut server = Versitygw::start(&[BUCKET]);
    let [first, second] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut local = start(first.path(), &server.endpoint()).await;
    let (writer, replica) = (local.writer(), local.replica(1));

    let rows: Vec<String> = (0..5000)
        .map(|number| json!({"id": format!("bulk-{number}"), "size": number}).to_string())
        .collect();
    let loaded = writer.load("Item", NDJSON, rows.join("\n").into_bytes()).await;
    loaded.unwrap_or_else(|error| panic!("{error}\n{}", local.logs_tail(40)));
    let committed = writer.commit(&transaction(0)).await.unwrap();
    assert_eq!(counts(&replica, &committed.tx_id).await, (5002, 1));
    assert!(
        !first.path().join("data/store").exists(),
        "the store is not on this machine"
    );

    // Without the server reads go on and nothing is acknowledged; with it again, the retry is written once.
    server.kill();
    assert_eq!(counts(&replica, &committed.tx_id).await, (5002, 1));
    let patience = Duration::from_secs(5);
    if let Ok(answer) = tokio::time::timeout(patience, writer.commit(&transaction(1))).await {
        let error = answer.unwrap_err();
        assert!(
            error.problem().is_none_or(|problem| problem.status >= 500),
            "{error}"
        );
    }
    server.restart();
    let committed = until("the writer to commit again", WITHIN, async || {
        match writer.commit(&transaction(1)).await {
            Ok(answer) => Look::Found(answer),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", local.logs_tail(40)));
    assert_eq!(counts(&replica, &committed.tx_id).await, (5004, 2));
    assert_eq!(writer.commit(&transaction(1)).await.unwrap(), committed);

    let said = std::fs::read_to_string(&local.settings.log_file).unwrap();
    assert!(
        said.contains("Secrets are not read here: S3 keys come from AWS_ACCESS_KEY_ID"),
        "{said}"
    );
    let status = local.terminate(WITHIN).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", local.logs_tail(40));

    // Another machine, with nothing but the bucket.
    drop(first);
    let mut local = start(second.path(), &server.endpoint()).await;
    let committed = local.writer().commit(&transaction(2)).await.unwrap();
    assert_eq!(counts(&local.replica(1), &committed.tx_id).await, (5006, 3));
    // A replica that is killed leaves its lease behind.
    local.sigkill().await.unwrap();

    let config = second.path().join("data/config.yaml");
    let removed = cleanup(&config, &[]);
    assert!(
        removed.contains("1 lease ") || removed.contains("no lease "),
        "{removed}"
    );
    assert!(cleanup(&config, &[]).contains("removed no lease "));
    let bucket = server.bucket_dir(BUCKET);
    assert!(files_below(&bucket).len() > 20, "the data stays");
    let removed = cleanup(&config, &["--delete-data"]);
    assert!(
        removed.contains("of lance/") && removed.contains("of commits/"),
        "{removed}"
    );
    assert_eq!(files_below(&bucket), Vec::<PathBuf>::new(), "{removed}");
    assert!(cleanup(&config, &["--delete-data"]).contains("removed no object "));
}

#[tokio::test]
async fn a_writer_that_cannot_use_its_store_says_why_and_ends() {
    let server = Versitygw::start(&[BUCKET]);
    let right = ACCESS_KEY;
    for (bucket, access_key, expected) in [
        ("nowhere", right, "the bucket does not exist"),
        (
            BUCKET,
            "somebody",
            "the server refuses these credentials (from AWS_ACCESS_KEY_ID",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("config.yaml");
        let endpoint = server.endpoint();
        let text = format!(
            "graph: {{namespace: default, name: small}}\n\
             storage: {{uri: 's3://{bucket}/small', endpoint: '{endpoint}'}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut writer = Command::new(find_binary().unwrap());
        writer.arg("writer").arg("--config").arg(&config);
        writer.arg("--data-dir").arg(directory.path().join("data"));
        writer.args(["--listen", "127.0.0.1:0"]);
        let output = run(&mut writer, access_key);
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(last.starts_with("error: ") && last.contains(expected), "{said}");
        assert!(
            last.contains(&format!("s3://{bucket}/small/")) && last.contains(&endpoint),
            "{said}"
        );
    }
}

/// What `slipstream cleanup` printed.
fn cleanup(config: &Path, options: &[&str]) -> String {
    let mut command = Command::new(find_binary().unwrap());
    command.arg("cleanup").arg("--config").arg(config).args(options);
    let output = run(&mut command, ACCESS_KEY);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn run(command: &mut Command, access_key: &str) -> Output {
    command.env("AWS_ACCESS_KEY_ID", access_key);
    command.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command.env("NO_COLOR", "1").output().unwrap()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
