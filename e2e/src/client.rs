//! One node's HTTP API (design, section 9), typed as far as scenarios need it.
//!
//! Owns: requests, answers, and that only an answer of the promised form counts as one.
//! Does not own: which nodes there are (`local_process`), and waiting (`wait`).

use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use crate::answers::{Answer, Column, Commit, CommitAnswer, Head, NodeStatus};
pub use crate::problem::{ClientError, Problem};

/// `Content-Type` of a Parquet body.
pub const PARQUET: &str = "application/vnd.apache.parquet";
/// `Content-Type` of an Arrow IPC stream.
pub const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";
/// `Content-Type` of newline-delimited JSON.
pub const NDJSON: &str = "application/x-ndjson";
/// `Content-Type` of transactions and queries.
pub const JSON: &str = "application/json";

/// For a request of any size: a load of everything takes seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A node at an address.
#[derive(Debug, Clone)]
pub struct Node {
    /// `writer`, `replica-2`.
    pub name: String,
    /// Scheme and authority, without a slash at the end.
    pub url: String,
    http: Client,
}

/// The body of `POST /v1/query`.
#[derive(Debug, Clone)]
pub struct Query(Value);

impl Query {
    /// A query without parameters and floors.
    pub fn new(text: &str) -> Self {
        Self(json!({"query": text, "parameters": {}}))
    }

    /// With one more parameter.
    pub fn param(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0["parameters"][name] = value.into();
        self
    }

    /// Read your writes: answered from this commit or a later one.
    pub fn min_tx(mut self, tx_id: &str) -> Self {
        self.0["min_tx"] = tx_id.into();
        self
    }

    /// At most so many rows.
    pub fn limit(mut self, rows: u64) -> Self {
        self.0["limit"] = rows.into();
        self
    }

    /// Answered from everything that is committed now.
    pub fn strong(mut self) -> Self {
        self.0["strong"] = true.into();
        self
    }

    /// Answered from a state that is no older than this.
    pub fn max_staleness_ms(mut self, ms: u64) -> Self {
        self.0["max_staleness_ms"] = ms.into();
        self
    }

    /// How long the node may take to reach the floor and to answer; 30 s otherwise.
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0["timeout_ms"] = ms.into();
        self
    }
}

impl Node {
    /// The node that listens on this machine's `port`.
    pub fn new(name: &str, port: u16) -> Self {
        Self::at(name, &format!("http://127.0.0.1:{port}"))
    }

    /// The node at `url`: scheme and authority, without a slash at the end.
    pub fn at(name: &str, url: &str) -> Self {
        Self::with(name, url, Client::builder())
    }

    /// Whatever node answers behind `url`: each request takes a connection of its own, so that each one is balanced anew
    /// and none meets a connection to a node that is gone.
    pub fn behind(name: &str, url: &str) -> Self {
        Self::with(name, url, Client::builder().pool_max_idle_per_host(0))
    }

    fn with(name: &str, url: &str, builder: reqwest::ClientBuilder) -> Self {
        let client = builder
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .build();
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            // Fails only where the system has no random numbers or the like; the first request tells then.
            http: client.unwrap_or_default(),
        }
    }

    /// Where the node stands.
    ///
    /// # Errors
    /// When it does not answer, as for all requests.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.get("/v1/status").await
    }

    /// A metric's value, without regard to labels; `None` where the node has not recorded it.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn metric(&self, name: &str) -> Result<Option<f64>, ClientError> {
        Ok(metric_in(&self.metrics().await?).find_map(|(found, value)| (found == name).then_some(value)))
    }

    /// The sum of a metric's values over all labels.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn metric_sum(&self, name: &str) -> Result<f64, ClientError> {
        let text = self.metrics().await?;
        Ok(metric_in(&text)
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .sum())
    }

    async fn metrics(&self) -> Result<String, ClientError> {
        let url = format!("{}/metrics", self.url);
        let broken = |error: reqwest::Error| ClientError::Exchange {
            url: url.clone(),
            detail: root_cause(&error),
        };
        let response = self.http.get(&url).send().await.map_err(broken)?;
        response.text().await.map_err(broken)
    }

    /// The commits after `after`, oldest first, at most 1000.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn commits(&self, after: u64) -> Result<Vec<Commit>, ClientError> {
        #[derive(Deserialize)]
        struct Commits {
            commits: Vec<Commit>,
        }
        let answer: Commits = self.get(&format!("/v1/commits?after={after}&limit=1000")).await?;
        Ok(answer.commits)
    }

    /// The whole log.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn all_commits(&self) -> Result<Vec<Commit>, ClientError> {
        let mut all: Vec<Commit> = Vec::new();
        loop {
            let more = self.commits(all.last().map_or(0, |commit| commit.seq)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// Runs a query.
    ///
    /// # Errors
    /// As [`Node::status`], and when the query is refused.
    pub async fn query(&self, query: &Query) -> Result<Answer, ClientError> {
        self.post("/v1/query", JSON, query.0.to_string()).await
    }

    /// The only value of an answer of one row and one column, a number.
    ///
    /// # Errors
    /// As [`Node::query`], and when the answer is of another shape.
    pub async fn count(&self, query: &Query) -> Result<u64, ClientError> {
        let answer = self.query(query).await?;
        let value = match answer.rows.as_slice() {
            [row] => row.first().and_then(Value::as_u64),
            _ => None,
        };
        value.ok_or_else(|| ClientError::Unexpected {
            url: format!("{}/v1/query", self.url),
            detail: format!("expected one row with one number, found {:?}", answer.rows),
        })
    }

    /// Commits a transaction.
    ///
    /// # Errors
    /// As [`Node::status`], and when the transaction is refused.
    pub async fn commit(&self, transaction: &Value) -> Result<CommitAnswer, ClientError> {
        self.post("/v1/transactions", JSON, transaction.to_string()).await
    }

    /// Commits a transaction as part of a trace; `traceparent` is a W3C trace context.
    ///
    /// # Errors
    /// As [`Node::commit`].
    pub async fn commit_traced(
        &self,
        transaction: &Value,
        traceparent: &str,
    ) -> Result<CommitAnswer, ClientError> {
        let url = format!("{}/v1/transactions", self.url);
        let request = self
            .http
            .request(Method::POST, &url)
            .header("traceparent", traceparent);
        answer(&url, request.json(transaction).send().await).await
    }

    /// Loads a body of rows as one commit.
    ///
    /// # Errors
    /// As [`Node::commit`].
    pub async fn load(
        &self,
        table: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<CommitAnswer, ClientError> {
        self.post(&format!("/v1/tables/{table}/rows"), content_type, body)
            .await
    }

    /// Loads a body of rows as one commit; sent again with the same key, the first answer comes back.
    ///
    /// # Errors
    /// As [`Node::commit`].
    pub async fn load_keyed(
        &self,
        table: &str,
        content_type: &str,
        key: &str,
        body: Vec<u8>,
    ) -> Result<CommitAnswer, ClientError> {
        let url = format!("{}/v1/tables/{table}/rows", self.url);
        let request = self.http.request(Method::POST, &url);
        let request = request
            .header("content-type", content_type)
            .header("idempotency-key", key);
        answer(&url, request.body(body).send().await).await
    }

    /// Sends any body anywhere.
    ///
    /// # Errors
    /// As [`Node::status`], and [`ClientError::Refused`] for an answer that does not say success.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.url);
        let request = self
            .http
            .request(Method::POST, &url)
            .header("content-type", content_type);
        answer(&url, request.body(body).send().await).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.url);
        answer(&url, self.http.request(Method::GET, &url).send().await).await
    }
}

async fn answer<T: DeserializeOwned>(
    url: &str,
    sent: Result<Response, reqwest::Error>,
) -> Result<T, ClientError> {
    let broken = |error: reqwest::Error| ClientError::Exchange {
        url: url.to_owned(),
        detail: root_cause(&error),
    };
    let unexpected = |detail: String| ClientError::Unexpected {
        url: url.to_owned(),
        detail,
    };
    let response = sent.map_err(broken)?;
    let status = response.status();
    let body = response.bytes().await.map_err(broken)?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| unexpected(error.to_string()));
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if problem.status == status.as_u16() => Err(ClientError::Refused {
            url: url.to_owned(),
            problem: Box::new(problem),
        }),
        _ => Err(unexpected(format!(
            "HTTP {status} without a problem document: {}",
            String::from_utf8_lossy(&body)
        ))),
    }
}

/// Names and values in the Prometheus text format: a line is `name{label="…"} value` or `name value`.
fn metric_in(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split_once('{').map_or(series, |(name, _)| name);
            Some((name, value.parse().ok()?))
        })
}

/// Of an error and its causes the innermost says what happened.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a_b summary\na_b_sum 3\na_b{x=\"1 2\"} 0.5\na_c 7\n";
        let found: Vec<_> = metric_in(text).collect();
        assert_eq!(found, [("a_b_sum", 3.0), ("a_b", 0.5), ("a_c", 7.0)]);
    }
}
