//! `slipstream verify`: does every node's graph hold exactly what its tables hold?

use std::time::Duration;

use clap::Args;
use comfy_table::Table;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Output, pretty, print, table};
use super::server::Server;
use super::status;

/// Arguments of `slipstream verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// A node to ask; may be given several times [default: the writer at 127.0.0.1:7700 and the replicas on the ports after it]
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,
    /// How long one node may take
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub timeout: humantime::Duration,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// The members of the answer to `POST /v1/scrub` that are shown.
#[derive(Debug, Clone, Deserialize)]
struct Verified {
    seq: u64,
    ok: bool,
    tables: Vec<VerifiedTable>,
}

#[derive(Debug, Clone, Deserialize)]
struct VerifiedTable {
    table: String,
    lance_rows: u64,
    graph_rows: u64,
    equal: bool,
    detail: Option<String>,
}

/// One node and its answer.
struct Node {
    name: String,
    address: String,
    answer: Result<(Verified, Value), String>,
}

/// Asks every node to compare, and prints one line per node and table.
///
/// # Errors
/// When something differs, or a node that runs could not compare.
pub async fn run(args: VerifyArgs) -> Result<(), CliError> {
    let mut nodes = Vec::new();
    // One after the other: a comparison reads everything.
    for member in status::find(&args.server).await? {
        let server = Server::new(&member.address, "--server")?;
        let answer = verify(&server, args.timeout.into()).await;
        nodes.push(Node {
            name: member.name,
            address: member.address,
            answer: answer.map_err(|error| error.to_string()),
        });
    }
    match args.output {
        Output::Table => print(&comparison_table(&nodes).to_string()),
        Output::Json => print(&pretty(&nodes.iter().map(as_json).collect::<Vec<_>>())),
    }
    let problems = problems(&nodes);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(CliError::Verify(problems.join("; ")))
    }
}

async fn verify(server: &Server, timeout: Duration) -> Result<(Verified, Value), CliError> {
    let request = server
        .request(reqwest::Method::POST, "/v1/scrub")
        .timeout(timeout);
    let answer = server.send(request).await?.bytes().await;
    let answer = answer.map_err(|error| server.failure("read the answer of", &error))?;
    let raw: Value = serde_json::from_slice(&answer)
        .map_err(|error| server.unexpected("understand the answer of", &error.to_string()))?;
    let verified = serde_json::from_value(raw.clone())
        .map_err(|error| server.unexpected("understand the answer of", &error.to_string()))?;
    Ok((verified, raw))
}

fn comparison_table(nodes: &[Node]) -> Table {
    let mut shown = table(&["node", "seq", "table", "rows in Lance", "rows in Kuzu", "equal"]);
    for node in nodes {
        match &node.answer {
            Ok((verified, _)) => {
                for table in &verified.tables {
                    let equal = if table.equal { "yes" } else { "NO" };
                    shown.add_row([
                        node.name.clone(),
                        verified.seq.to_string(),
                        table.table.clone(),
                        table.lance_rows.to_string(),
                        table.graph_rows.to_string(),
                        equal.to_owned(),
                    ]);
                }
            }
            Err(_) => {
                let dash = || "-".to_owned();
                shown.add_row([
                    node.name.clone(),
                    dash(),
                    dash(),
                    dash(),
                    dash(),
                    "not known".to_owned(),
                ]);
            }
        }
    }
    shown
}

/// One sentence per node where not all is well.
fn problems(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter_map(|node| match &node.answer {
            Ok((verified, _)) if verified.ok => None,
            Ok((verified, _)) => {
                let different: Vec<String> = verified
                    .tables
                    .iter()
                    .filter(|table| !table.equal)
                    .map(|table| {
                        format!(
                            "table {}: {}",
                            table.table,
                            table.detail.as_deref().unwrap_or("differs")
                        )
                    })
                    .collect();
                Some(format!(
                    "{} at {} differed from its tables at seq {} and builds its graph again: {}",
                    node.name,
                    node.address,
                    verified.seq,
                    different.join("; ")
                ))
            }
            Err(error) => Some(format!("{} was not compared: {error}", node.name)),
        })
        .collect()
}

fn as_json(node: &Node) -> Value {
    match &node.answer {
        Ok((_, raw)) => json!({"node": node.name, "address": node.address, "scrub": raw}),
        Err(error) => json!({"node": node.name, "address": node.address, "error": error}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, answer: Result<Value, String>) -> Node {
        Node {
            name: name.to_owned(),
            address: "http://127.0.0.1:7701".to_owned(),
            answer: answer.map(|raw| (serde_json::from_value(raw.clone()).unwrap(), raw)),
        }
    }

    #[test]
    fn a_difference_and_a_silent_node_are_both_problems() {
        let table = |graph_rows: u64, detail: Option<&str>| json!({"table": "Package", "lance_rows": 3, "graph_rows": graph_rows, "equal": detail.is_none(), "detail": detail});
        let nodes = [
            node(
                "writer",
                Ok(json!({"seq": 7, "ok": true, "tables": [table(3, None)]})),
            ),
            node(
                "replica-1",
                Ok(json!({"seq": 7, "ok": false, "tables": [table(2, Some("a row is missing"))]})),
            ),
            node("replica-2", Err("connection refused".to_owned())),
        ];
        assert_eq!(
            problems(&nodes),
            [
                "replica-1 at http://127.0.0.1:7701 differed from its tables at seq 7 and builds its graph again: \
                 table Package: a row is missing",
                "replica-2 was not compared: connection refused",
            ]
        );
        let text = comparison_table(&nodes).to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split(['│', '┆'])
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert!(
            rows.contains(&vec!["replica-1", "7", "Package", "3", "2", "NO"]),
            "{text}"
        );
        assert!(
            rows.contains(&vec!["replica-2", "-", "-", "-", "-", "not known"]),
            "{text}"
        );
    }
}
