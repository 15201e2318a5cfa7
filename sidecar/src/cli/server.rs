//! One node's HTTP API, as the commands use it: every failure becomes a sentence that names the address.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use super::error::{CliError, root_cause, with_causes};
use super::problem::Problem;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most characters that are quoted of an answer which is no problem document.
const QUOTED_ANSWER: usize = 200;

/// A node at an address.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Scheme and authority, without a slash at the end.
    pub(super) address: String,
    client: Client,
    /// Which option names another address.
    option: &'static str,
}

impl Server {
    /// `address` as people write it: the scheme may be left out.
    pub(super) fn new(address: &str, option: &'static str) -> Result<Self, CliError> {
        let address = address.trim();
        let address = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let parsed = reqwest::Url::parse(&address);
        if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let found = format!("`{address}` is not an address; expected a form like http://127.0.0.1:7700");
            return Err(CliError::Argument(format!("{option}: {found}")));
        }
        let address = address.trim_end_matches('/').to_owned();
        // A proxy of the surroundings would be asked for the loopback address too.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| CliError::Exchange {
                action: "prepare a connection to",
                address: address.clone(),
                detail: with_causes(&error),
            })?;
        Ok(Self {
            address,
            client,
            option,
        })
    }

    /// A request for `path`, which begins with a slash.
    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    /// Sends a request; only an answer that says success comes back.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request
            .send()
            .await
            .map_err(|error| self.failure("ask", &error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// The JSON document at `path`, for at most `timeout`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<T, CliError> {
        let request = self.request(reqwest::Method::GET, path).timeout(timeout);
        let answer = self
            .send(request)
            .await?
            .bytes()
            .await
            .map_err(|error| self.failure("read the answer of", &error))?;
        serde_json::from_slice(&answer)
            .map_err(|error| self.unexpected("understand the answer of", &error.to_string()))
    }

    /// The sentence for a request or an answer that broke off.
    pub(super) fn failure(&self, action: &'static str, error: &reqwest::Error) -> CliError {
        if error.is_connect() {
            return CliError::Unreachable {
                address: self.address.clone(),
                cause: root_cause(error),
                advice: format!(
                    "start the graph with `slipstream local -f graph.yaml`, or name another address with {}",
                    self.option
                ),
            };
        }
        let cause = root_cause(error);
        let detail = match error {
            error if error.is_timeout() => "no answer in time".to_owned(),
            error if is_broken_off(error) => {
                format!("it closed the connection before everything was sent ({cause})")
            }
            _ => cause,
        };
        self.unexpected(action, &detail)
    }

    pub(super) fn unexpected(&self, action: &'static str, detail: &str) -> CliError {
        CliError::Exchange {
            action,
            address: self.address.clone(),
            detail: detail.to_owned(),
        }
    }

    pub(super) fn problem(&self, problem: Problem) -> CliError {
        CliError::Problem {
            address: self.address.clone(),
            problem: Box::new(problem),
        }
    }

    async fn refusal(&self, response: Response) -> CliError {
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&body) {
            Ok(mut problem) if !problem.title.is_empty() || !problem.detail.is_empty() => {
                problem.status = status.as_u16();
                self.problem(problem)
            }
            _ => {
                let quoted: String = body.trim().chars().take(QUOTED_ANSWER).collect();
                self.unexpected("ask", format!("it answered HTTP {status} {quoted}").trim_end())
            }
        }
    }
}

/// Whether the other side closed the connection while this one was still sending.
fn is_broken_off(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(BrokenPipe | ConnectionReset)) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// `text` as one segment of a path, or one value of a query string.
pub(super) fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if is_plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_the_scheme_and_must_be_one() {
        assert_eq!(
            Server::new("127.0.0.1:7700/", "--writer").unwrap().address,
            "http://127.0.0.1:7700"
        );
        for bad in ["", "ftp://x", "http://", "a b"] {
            let error = Server::new(bad, "--writer").unwrap_err().to_string();
            assert!(
                error.starts_with("--writer: `") && error.contains("http://127.0.0.1:7700"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_refused_connection_says_where_and_what_to_start() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let server = Server::new(&free.to_string(), "--server").unwrap();
        let error = server
            .get::<serde_json::Value>("/v1/status", Duration::from_secs(5))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("nothing answers at http://{free} (Connection refused")),
            "{text}"
        );
        assert!(text.ends_with(
            "start the graph with `slipstream local -f graph.yaml`, or name another address with --server"
        ));
    }

    #[test]
    fn names_are_safe_in_a_path() {
        assert_eq!(percent_encoded("a/b c?ü"), "a%2Fb%20c%3F%C3%BC");
    }
}
