//! A TCP link to a server on this machine that can be made slow: what clients send arrives later, in order, at full rate.
//!
//! ```text
//! client ─> read ─> (due, bytes) … ─> wait until due ─> server
//!        <──────────────── copied at once ───────────────┘
//! ```
//!
//! So each request takes the added time once, as on a long line. Owns: its port and the connections through it; dropping it
//! ends them. Does not own: the server; while it is away, connections are taken and closed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::TortureError;

/// Bytes of one read.
const CHUNK: usize = 64 << 10;
/// Chunks on their way; beyond them the client waits.
const ON_THE_WAY: usize = 64;

/// The link; see the module.
#[derive(Debug)]
pub(super) struct SlowLink {
    port: u16,
    added_ms: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl SlowLink {
    /// A link to `server`'s port, without added latency.
    ///
    /// # Errors
    /// When the system has no port for it.
    pub(super) async fn to(server: u16) -> Result<Self, TortureError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(TortureError::system("listen for a slow link"))?;
        let address = listener.local_addr();
        let port = address
            .map_err(TortureError::system("find a slow link's port"))?
            .port();
        let added_ms = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(listener, server, Arc::clone(&added_ms)));
        Ok(Self { port, added_ms, task })
    }

    /// Where clients connect.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Adds so much to the time of every request from now on, also on connections that exist.
    pub(super) fn add_latency(&self, latency: Duration) {
        let millis = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.added_ms.store(millis, Ordering::Relaxed);
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: u16, added_ms: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // A connection that could not be taken is its client's trouble.
        if let Ok((client, _)) = listener.accept().await {
            connections.spawn(carry(client, server, Arc::clone(&added_ms)));
        }
    }
}

/// Until the server has nothing more to say; errors of either side end the connection, as a real line would.
async fn carry(client: TcpStream, server: u16, added_ms: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
        return;
    };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let reading = async move {
        loop {
            let mut bytes = vec![0; CHUNK];
            match from_client.read(&mut bytes).await {
                Ok(read) if read > 0 => bytes.truncate(read),
                _ => return,
            }
            let due = Instant::now() + Duration::from_millis(added_ms.load(Ordering::Relaxed));
            if sender.send((due, bytes)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = on_the_way.recv().await {
            sleep_until(due).await;
            if to_server.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The client said its last: so does the link, and the server may still answer.
        let _ = to_server.shutdown().await;
        std::future::pending().await
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(reading, writing) } => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a client of it through a link.
    async fn echo() -> (SlowLink, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link = SlowLink::to(listener.local_addr().unwrap().port()).await.unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
        });
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port()))
            .await
            .unwrap();
        (link, client)
    }

    async fn round_trip(client: &mut TcpStream, bytes: &[u8]) -> Duration {
        let began = Instant::now();
        client.write_all(bytes).await.unwrap();
        let mut back = vec![0; bytes.len()];
        client.read_exact(&mut back).await.unwrap();
        assert!(back == bytes, "what came back is not what was sent");
        began.elapsed()
    }

    #[tokio::test]
    async fn added_latency_is_paid_once_per_request_whatever_its_size() {
        let (link, mut client) = echo().await;
        let large: Vec<u8> = (0..10 * CHUNK).map(|byte| byte as u8).collect();
        round_trip(&mut client, &large).await;
        link.add_latency(Duration::from_millis(300));
        let slow = round_trip(&mut client, &large).await;
        assert!(slow >= Duration::from_millis(300), "{slow:?}");
        // Ten chunks, each late by itself, would take three seconds.
        assert!(slow < Duration::from_millis(2_000), "{slow:?}");
        link.add_latency(Duration::ZERO);
        let fast = round_trip(&mut client, b"quick").await;
        assert!(fast < Duration::from_millis(300), "{fast:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_closes_the_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let link = SlowLink::to(port).await.unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port()))
            .await
            .unwrap();
        let read = client.read(&mut [0; 1]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}
