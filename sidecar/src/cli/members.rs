//! What each node of a graph says about itself, gathered from all of them at once.
//!
//! Owns: the part of `/v1/status` that people are shown, and its table. Does not own: which nodes there are.

use std::time::Duration;

use comfy_table::Table;
use futures::StreamExt as _;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use super::error::root_cause;
use super::output::table;

/// Nodes that are asked at the same time.
const AT_ONCE: usize = 32;

/// One node and what it answered.
#[derive(Debug, Clone)]
pub struct Member {
    /// How the table calls it: `writer`, `replica-2`.
    pub name: String,
    pub address: String,
    pub answer: Result<StatusAnswer, Silence>,
}

/// Why a node gave no status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// Nobody listens there.
    Refused,
    /// Something else, in words.
    Other(String),
}

/// The members of `/v1/status` that are shown; `raw` has all of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StatusAnswer {
    pub role: String,
    pub state: String,
    /// Why, where the state has a reason.
    pub state_detail: Option<String>,
    pub seq: Option<u64>,
    pub lag_commits: Option<u64>,
    pub lag_ms: Option<u64>,
    pub epoch: Option<u64>,
    pub ready: bool,
    #[serde(skip)]
    pub raw: Value,
}

impl StatusAnswer {
    /// The state in words: `following`, `degraded: why`.
    pub fn state_text(&self) -> String {
        let reason = self.state_detail.as_ref().map(|detail| format!(": {detail}"));
        format!("{}{}", self.state, reason.unwrap_or_default())
    }
}

/// Asks every `(name, address)` for its status, for at most `timeout` each. The order is kept.
pub async fn gather(client: &Client, nodes: Vec<(String, String)>, timeout: Duration) -> Vec<Member> {
    let ask = |(name, address): (String, String)| async move {
        let answer = ask(client, &address, timeout).await;
        Member {
            name,
            address,
            answer,
        }
    };
    futures::stream::iter(nodes.into_iter().map(ask))
        .buffered(AT_ONCE)
        .collect()
        .await
}

async fn ask(client: &Client, address: &str, timeout: Duration) -> Result<StatusAnswer, Silence> {
    let silence = |error: reqwest::Error| match error {
        error if error.is_timeout() => Silence::Other(format!("no answer in {} ms", timeout.as_millis())),
        error if error.is_connect() => Silence::Refused,
        error => Silence::Other(root_cause(&error)),
    };
    let response = client
        .get(format!("{address}/v1/status"))
        .timeout(timeout)
        .send()
        .await
        .map_err(silence)?;
    let status = response.status();
    if !status.is_success() {
        return Err(Silence::Other(format!("HTTP {status}")));
    }
    let raw: Value = response.json().await.map_err(silence)?;
    let shown = serde_json::from_value(raw.clone());
    let mut answer: StatusAnswer = shown.map_err(|error| Silence::Other(error.to_string()))?;
    answer.raw = raw;
    Ok(answer)
}

/// One line per member.
pub fn status_table(members: &[Member]) -> Table {
    let mut table = table(&[
        "node",
        "address",
        "state",
        "ready",
        "seq",
        "lag commits",
        "lag ms",
        "epoch",
    ]);
    for member in members {
        table.add_row(row(member));
    }
    table
}

fn row(member: &Member) -> [String; 8] {
    let or_dash = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let (name, address) = (member.name.clone(), member.address.clone());
    let (state, answer) = match &member.answer {
        Ok(answer) => (answer.state_text(), answer.clone()),
        Err(Silence::Refused) => ("not running".to_owned(), StatusAnswer::default()),
        Err(Silence::Other(why)) => (format!("no status: {why}"), StatusAnswer::default()),
    };
    let ready = if answer.ready { "yes" } else { "no" }.to_owned();
    let [seq, commits, ms, epoch] =
        [answer.seq, answer.lag_commits, answer.lag_ms, answer.epoch].map(or_dash);
    [name, address, state, ready, seq, commits, ms, epoch]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_shown_with_its_reason() {
        let answer = |detail: Option<&str>| StatusAnswer {
            state: "degraded".to_owned(),
            state_detail: detail.map(str::to_owned),
            ..StatusAnswer::default()
        };
        assert_eq!(answer(None).state_text(), "degraded");
        assert_eq!(answer(Some("disk full")).state_text(), "degraded: disk full");
    }

    #[tokio::test]
    async fn nodes_that_answer_and_nodes_that_do_not_are_told_apart() {
        let status = json!({"role": "replica", "state": "following", "seq": 12, "tx_id": "x", "lag_commits": 0,
            "lag_ms": 0, "epoch": 3, "ready": true, "head": {"seq": 12}, "version": "0.1.0"});
        let app = axum::Router::new()
            .route("/v1/status", axum::routing::get(async move || axum::Json(status)))
            .route(
                "/broken/v1/status",
                axum::routing::get(async || axum::http::StatusCode::INTERNAL_SERVER_ERROR),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let up = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, app).into_future());
        let down = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();

        let nodes = [
            ("a", up.clone()),
            ("b", format!("http://{down}")),
            ("c", format!("{up}/broken")),
        ];
        let nodes = nodes.map(|(name, address)| (name.to_owned(), address)).to_vec();
        let members = gather(&Client::new(), nodes, Duration::from_secs(10)).await;

        let rows: Vec<_> = members.iter().map(row).collect();
        assert_eq!(rows[0][2..], ["following", "yes", "12", "0", "0", "3"]);
        assert_eq!(rows[1][2..], ["not running", "no", "-", "-", "-", "-"]);
        assert_eq!(rows[2][2], "no status: HTTP 500 Internal Server Error");
    }
}
