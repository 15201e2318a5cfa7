//! `slipstream query`: one Cypher query, asked of one node.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::DEFAULT_WRITER;
use super::error::CliError;
use super::output::{Output, print, table};
use super::server::Server;

/// The first replica that `slipstream local` runs.
const FIRST_REPLICA: &str = "http://127.0.0.1:7701";
/// What the answer may take longer than the query itself: the way there and back.
const TRANSPORT: Duration = Duration::from_secs(5);

/// Arguments of `slipstream query`.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("text").required(true).args(["query", "file"])))]
pub struct QueryArgs {
    /// The query, or `-` to read it from standard input
    pub query: Option<String>,
    /// Read the query from a file
    #[arg(long, value_name = "CYPHER")]
    pub file: Option<PathBuf>,
    /// The node to ask [default: replica 1 on this machine, or the writer if there is none]
    #[arg(long, env = "SLIPSTREAM_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// A parameter, as JSON: --param size=10 --param 'name="curl"'
    #[arg(long = "param", value_name = "NAME=JSON", value_parser = parameter)]
    pub params: Vec<(String, Value)>,
    /// Wait until the node has this commit: read your own write
    #[arg(long, value_name = "TX_ID")]
    pub min_tx: Option<String>,
    /// Wait until the node's answer is no older than this
    #[arg(long, value_name = "DURATION")]
    pub max_staleness: Option<crds::Duration>,
    /// Wait until the node has everything that is committed now
    #[arg(long)]
    pub strong: bool,
    /// How long waiting and running may take together
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub timeout: crds::Duration,
    /// Most rows to answer with
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    tx_id: Value,
    seq: u64,
    lag_ms: u64,
    truncated: bool,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

/// Asks and prints the answer.
///
/// # Errors
/// When the query cannot be read, or the node refuses it or does not answer.
pub async fn run(args: QueryArgs) -> Result<(), CliError> {
    let text = query_text(&args).await?;
    let body = request(&args, &text);
    let timeout = args.timeout.as_std() + TRANSPORT;
    let (server, answer) = match &args.server {
        Some(address) => ask(Server::new(address, "--server")?, &body, timeout).await?,
        None => match ask(Server::new(FIRST_REPLICA, "--server")?, &body, timeout).await {
            Err(CliError::Unreachable { .. }) => {
                ask(Server::new(DEFAULT_WRITER, "--server")?, &body, timeout).await?
            }
            other => other?,
        },
    };
    match args.output {
        Output::Json => print(answer.trim_end()),
        Output::Table => {
            let answer = serde_json::from_str(&answer)
                .map_err(|error| server.unexpected("understand the answer of", &error.to_string()))?;
            print(&as_table(&answer));
        }
    }
    Ok(())
}

async fn ask(server: Server, body: &Value, timeout: Duration) -> Result<(Server, String), CliError> {
    let request = server
        .request(reqwest::Method::POST, "/v1/query")
        .header("accept", "application/json");
    let response = server.send(request.json(body).timeout(timeout)).await?;
    let answer = response
        .text()
        .await
        .map_err(|error| server.failure("read the answer of", &error))?;
    Ok((server, answer))
}

async fn query_text(args: &QueryArgs) -> Result<String, CliError> {
    if let Some(path) = &args.file {
        return tokio::fs::read_to_string(path)
            .await
            .map_err(|error| CliError::read(path, error));
    }
    match args.query.as_deref() {
        Some("-") => tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()))
            .await
            .map_err(std::io::Error::other)
            .and_then(|text| text)
            .map_err(|error| {
                CliError::Argument(format!("failed to read the query from standard input: {error}"))
            }),
        text => Ok(text.unwrap_or_default().to_owned()),
    }
}

fn request(args: &QueryArgs, text: &str) -> Value {
    let parameters: Map<String, Value> = args.params.iter().cloned().collect();
    let millis = |duration: crds::Duration| u64::try_from(duration.as_std().as_millis()).unwrap_or(u64::MAX);
    let mut body = json!({"query": text, "parameters": parameters, "timeout_ms": millis(args.timeout)});
    let optional = [
        ("min_tx", args.min_tx.clone().map(Value::from)),
        (
            "max_staleness_ms",
            args.max_staleness.map(|staleness| millis(staleness).into()),
        ),
        ("strong", args.strong.then(|| true.into())),
        ("limit", args.limit.map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    body
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected NAME=JSON, for example size=10")?;
    let value = serde_json::from_str(value)
        .map_err(|_| format!("`{value}` is not JSON; a text needs its own quotes: '{name}=\"{value}\"'"))?;
    Ok((name.to_owned(), value))
}

fn as_table(answer: &Answer) -> String {
    let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let mut rows = table(&names);
    for row in &answer.rows {
        rows.add_row(row.iter().map(cell));
    }
    let count = answer.rows.len();
    let plural = if count == 1 { "" } else { "s" };
    let tx_id = answer.tx_id.as_str().unwrap_or("none");
    let mut text = format!(
        "{rows}\n{count} row{plural} at seq {} (tx {tx_id}), lag {} ms",
        answer.seq, answer.lag_ms
    );
    if answer.truncated {
        let _ = write!(text, "; there are more rows: raise --limit");
    }
    text
}

/// A text as it is, everything else as JSON.
fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: QueryArgs,
    }

    fn parse(line: &[&str]) -> Result<QueryArgs, clap::Error> {
        Line::try_parse_from([&["query"], line].concat()).map(|line| line.args)
    }

    #[test]
    fn arguments_become_the_request_and_what_is_not_given_is_left_out() {
        let args = parse(&[
            "RETURN $a",
            "--param",
            "a=[1,\"x\"]",
            "--max-staleness",
            "5s",
            "--timeout",
            "2s",
        ])
        .unwrap();
        let expected = json!({"query": "RETURN $a", "parameters": {"a": [1, "x"]}, "max_staleness_ms": 5000, "timeout_ms": 2000});
        assert_eq!(request(&args, "RETURN $a"), expected);
        let args = parse(&["RETURN 1", "--min-tx", "t", "--strong", "--limit", "3"]).unwrap();
        let expected = json!({"query": "RETURN 1", "parameters": {}, "timeout_ms": 30000, "min_tx": "t", "strong": true, "limit": 3});
        assert_eq!(request(&args, "RETURN 1"), expected);
    }

    #[test]
    fn wrong_arguments_say_what_was_expected() {
        for (line, part) in [
            (&["RETURN 1", "--param", "a"][..], "expected NAME=JSON"),
            (&["RETURN 1", "--param", "a=curl"], "'a=\"curl\"'"),
            (&["RETURN 1", "--timeout", "5"], "expected a form like"),
            (&["RETURN 1", "--file", "q.cypher"], "cannot be used with"),
            (&[], "required"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn an_answer_is_a_table_with_the_commit_below() {
        let answer = json!({"columns": [{"name": "p.name", "type": "STRING"}, {"name": "n", "type": "INT64"}],
            "rows": [["curl", 498], [null, "9007199254740993"]], "tx_id": "t-1", "seq": 12, "lag_ms": 3, "truncated": true});
        let text = as_table(&serde_json::from_value(answer).unwrap());
        assert!(text.contains("│ curl   ┆ 498"), "{text}");
        assert!(text.contains("│ null   ┆ 9007199254740993"), "{text}");
        assert!(
            text.ends_with("2 rows at seq 12 (tx t-1), lag 3 ms; there are more rows: raise --limit"),
            "{text}"
        );
    }
}
