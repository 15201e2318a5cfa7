//! `slipstream-operator probe URL`: asks an address until it answers 200. `helm test` runs it in a pod of its own, because the
//! operator's image is the only one the chart can count on, and it has no other HTTP client.
//!
//! ```text
//! GET url ─┬─ 200 ──> its body, exit 0
//!          └─ anything else ──> again every half second ─── timeout ──> the last answer, exit 1
//! ```
//!
//! Owns: the loop and its one sentence of failure. Does not own: what the address says (`/readyz`).

use std::time::Duration;

use clap::Args;
use reqwest::{Client, StatusCode, Url};
use tokio::time::{Instant, sleep};

/// Time from one attempt to the next.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest single attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Arguments of `slipstream-operator probe`.
#[derive(Debug, Clone, Args)]
pub struct ProbeArgs {
    /// What to ask, for example http://slipstream-operator:8080/readyz
    pub url: Url,
    /// How long to go on asking, as `500ms`, `60s` or `2m`
    #[arg(long, default_value = "60s")]
    pub timeout: crds::Duration,
}

/// Why an address could not be found well.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No client could be made.
    #[error("failed to prepare an HTTP client")]
    Client(#[source] reqwest::Error),
    /// No attempt succeeded in time.
    #[error("failed to get 200 from {url} within {timeout:?}; last answer: {last}")]
    Unwell {
        url: Url,
        timeout: Duration,
        last: String,
    },
}

/// Asks until the answer is 200 and prints it.
///
/// # Errors
/// When that does not happen within `timeout`; the error quotes the last answer.
pub async fn run(args: ProbeArgs) -> Result<(), ProbeError> {
    let client = Client::builder()
        .no_proxy()
        .timeout(ATTEMPT)
        .build()
        .map_err(ProbeError::Client)?;
    let deadline = Instant::now() + args.timeout.as_std();
    loop {
        let last = match ask(&client, &args.url).await {
            Ok(body) => {
                println!("{}: 200 {}", args.url, body.trim());
                return Ok(());
            }
            Err(last) => last,
        };
        if Instant::now() + PAUSE > deadline {
            let (url, timeout) = (args.url, args.timeout.as_std());
            return Err(ProbeError::Unwell { url, timeout, last });
        }
        sleep(PAUSE).await;
    }
}

/// The body of a 200, or else what came instead.
async fn ask(client: &Client, url: &Url) -> Result<String, String> {
    let answer = client.get(url.clone()).send().await.map_err(cause)?;
    let status = answer.status();
    let body = answer.text().await.map_err(cause)?;
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(format!("{status} {}", body.trim()))
    }
}

/// The innermost cause: the outer ones only repeat the address.
fn cause(error: reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Router, routing::get};

    use super::*;

    /// Answers 503 to the first `failures` requests, then 200.
    async fn server(failures: usize) -> Url {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = move || async move {
            if asked.fetch_add(1, Ordering::SeqCst) < failures {
                (StatusCode::SERVICE_UNAVAILABLE, "watches are not in sync")
            } else {
                (StatusCode::OK, "ok")
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let router = Router::new().route("/readyz", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_that_becomes_ready_is_asked_until_it_is() {
        let url = server(2).await;
        let timeout = crds::Duration::from_secs(30);
        run(ProbeArgs { url, timeout }).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_stays_unready_is_an_error_that_quotes_its_answer() {
        let url = server(usize::MAX).await;
        let timeout = crds::Duration::from_millis(1);
        let text = run(ProbeArgs { url, timeout }).await.unwrap_err().to_string();
        assert!(
            text.contains("503 Service Unavailable watches are not in sync"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn an_address_where_nothing_listens_is_an_error_that_says_so() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", free.local_addr().unwrap());
        drop(free);
        let timeout = crds::Duration::from_millis(1);
        let args = ProbeArgs {
            url: url.parse().unwrap(),
            timeout,
        };
        let text = run(args).await.unwrap_err().to_string();
        assert!(text.contains("refused"), "{text}");
    }
}
