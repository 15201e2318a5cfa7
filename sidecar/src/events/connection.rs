//! The connection to NATS: credentials from files, reconnects for ever.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{ConnectOptions, Event, jetstream};
use tokio::sync::watch;

use super::health::EventsHealth;
use super::{Connection, EventsError, EventsSettings};

/// How often the server is asked for a sign of life; a few without an answer and the connection counts as lost.
const PING: Duration = Duration::from_secs(5);
/// Longest time that a request to JetStream may take.
const REQUEST: Duration = Duration::from_secs(5);
/// Waits between attempts to connect again: first, and at most.
const FIRST_RECONNECT: Duration = Duration::from_millis(50);
const LAST_RECONNECT: Duration = Duration::from_secs(2);
/// A connection that is not up for so long is made anew, with credentials read again: they may have been renewed.
const RENEW: Duration = Duration::from_secs(60);
/// Between attempts to set something up.
pub(super) const RETRY: Duration = Duration::from_secs(1);

impl Connection {
    /// Returns at once; [`Connection::linked`] waits until the connection is up.
    pub(super) async fn open(settings: &EventsSettings, health: &EventsHealth) -> Result<Self, EventsError> {
        let link = Arc::new(watch::Sender::new(false));
        // What a connection says that was replaced is of no interest.
        let (current, health) = (Arc::downgrade(&link), health.clone());
        let server = without_password(&settings.nats.url);
        let options = options(settings)
            .await?
            .retry_on_initial_connect()
            .event_callback(move |event| {
                heed(&event, &server, &current, &health);
                std::future::ready(())
            });
        Self::with(options, settings, link).await
    }

    /// Connects, or fails within a few seconds.
    pub(super) async fn once(settings: &EventsSettings) -> Result<Self, EventsError> {
        let options = options(settings).await?.max_reconnects(1);
        Self::with(options, settings, Arc::new(watch::Sender::new(true))).await
    }

    async fn with(
        options: ConnectOptions,
        settings: &EventsSettings,
        link: Arc<watch::Sender<bool>>,
    ) -> Result<Self, EventsError> {
        let urls: Vec<&str> = settings.nats.url.split(',').map(str::trim).collect();
        let client = options
            .connect(urls)
            .await
            .map_err(|error| EventsError::Connect {
                server: without_password(&settings.nats.url),
                detail: error.to_string(),
            })?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(REQUEST)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            link,
        })
    }

    /// Returns once the connection is up; `None` if it does not come up and should be made anew.
    pub(super) async fn linked(&self) -> Option<Link> {
        let mut link = self.link.subscribe();
        let waiting = tokio::time::timeout(RENEW, link.wait_for(|up| *up));
        let is_up = matches!(waiting.await, Ok(Ok(_)));
        is_up.then_some(Link(link))
    }

    /// Hands everything that was sent to the server.
    pub(super) async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            tracing::debug!(%error, "failed to flush");
        }
    }
}

/// A connection that was up, and may be lost at any time.
pub(super) struct Link(watch::Receiver<bool>);

impl Link {
    /// Returns once the connection was lost, even if it is up again by now.
    pub(super) async fn lost(&mut self) {
        // It fails where the connection is gone altogether.
        let _ = self.0.changed().await;
    }
}

/// Tries until a connection object exists: only unreadable credentials and a malformed URL stand in its way.
pub(super) async fn open(settings: &EventsSettings, health: &EventsHealth) -> Connection {
    loop {
        match Connection::open(settings, health).await {
            Ok(connection) => return connection,
            Err(error) => {
                health.failed(error);
                tokio::time::sleep(RETRY * 5).await;
            }
        }
    }
}

fn heed(event: &Event, server: &str, current: &Weak<watch::Sender<bool>>, health: &EventsHealth) {
    let Some(link) = current.upgrade() else { return };
    match event {
        Event::Connected => {
            link.send_replace(true);
        }
        Event::Disconnected | Event::Closed => {
            link.send_replace(false);
            health.failed("the connection to NATS is lost");
        }
        Event::ClientError(error) if !*link.borrow() => {
            let error = error.to_string();
            let cause = error.strip_prefix("nats: ").unwrap_or(&error);
            health.failed(format!("no connection to NATS at {server}: {cause}"));
        }
        Event::ServerError(error) if !*link.borrow() => health.failed(format!("NATS refuses: {error}")),
        other => tracing::debug!(event = %other, "NATS"),
    }
}

async fn options(settings: &EventsSettings) -> Result<ConnectOptions, EventsError> {
    let options = ConnectOptions::new()
        .name(format!(
            "slipstream {}/{}",
            settings.graph.namespace, settings.graph.name
        ))
        .ping_interval(PING)
        .request_timeout(Some(REQUEST))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let shift = u32::try_from(attempts).unwrap_or(u32::MAX).min(6);
            (FIRST_RECONNECT * 2_u32.pow(shift)).min(LAST_RECONNECT)
        });
    let Some(directory) = &settings.credentials else {
        return Ok(options);
    };
    let file = |name: &str| Some(directory.join(name)).filter(|path| path.is_file());
    let mut options = options;
    if let Some(path) = file("nats.creds") {
        options = options
            .credentials_file(&path)
            .await
            .map_err(|error| unreadable(&path, &error))?;
    }
    if let Some(authority) = file("ca.crt") {
        // Whoever names an authority wants no connection without it.
        options = options.add_root_certificates(authority).require_tls(true);
    }
    match (file("tls.crt"), file("tls.key")) {
        (Some(certificate), Some(key)) => options = options.add_client_certificate(certificate, key),
        (None, None) => {}
        (certificate, _) => {
            let missing = if certificate.is_some() {
                "tls.key"
            } else {
                "tls.crt"
            };
            return Err(EventsError::Credentials {
                path: directory.join(missing),
                detail: "it is missing; tls.crt and tls.key belong together".to_owned(),
            });
        }
    }
    Ok(options)
}

fn unreadable(path: &Path, error: &std::io::Error) -> EventsError {
    EventsError::Credentials {
        path: PathBuf::from(path),
        detail: error.to_string(),
    }
}

/// The URL as it may stand in a log.
fn without_password(url: &str) -> String {
    let one = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    };
    url.split(',')
        .map(|url| one(url.trim()))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: Option<&Path>) -> EventsSettings {
        EventsSettings {
            graph: crds::GraphName {
                namespace: "default".to_owned(),
                name: "g".to_owned(),
            },
            nats: crds::NatsConfig {
                url: "nats://127.0.0.1:4222".to_owned(),
                subject: "slipstream.versionmap.default.g".to_owned(),
            },
            credentials: directory.map(Path::to_owned),
            ack_wait: Duration::from_secs(30),
        }
    }

    #[tokio::test]
    async fn credentials_are_those_files_that_exist() {
        assert!(options(&settings(None)).await.is_ok());
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(Some(directory.path()));
        assert!(options(&settings).await.is_ok(), "none is needed");
        std::fs::write(directory.path().join("tls.crt"), "").unwrap();
        let error = options(&settings).await.unwrap_err().to_string();
        assert!(error.contains("tls.key: it is missing"), "{error}");
        std::fs::write(directory.path().join("tls.key"), "").unwrap();
        assert!(options(&settings).await.is_ok());
        std::fs::write(directory.path().join("nats.creds"), "no credentials").unwrap();
        let error = options(&settings).await.unwrap_err().to_string();
        assert!(
            error.starts_with("failed to read NATS credentials /") && error.contains("nats.creds: "),
            "{error}"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(
            without_password("nats://u:p@a:4222, tls://b"),
            "nats://a:4222,tls://b"
        );
        assert_eq!(without_password("nats://a:4222"), "nats://a:4222");
    }
}
