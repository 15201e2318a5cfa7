//! Ports of this machine: finding free ones, and whether somebody listens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rand::Rng as _;

/// Ports that a graph may use: the writer's and those of seven replicas.
pub const PORTS: u16 = 8;
/// Below the range that systems hand out for outgoing connections.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
const ATTEMPTS: usize = 200;

/// No run of free ports.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to find {PORTS} free ports in a row between {FIRST} and {LAST}; name the first one with --port"
)]
pub struct NoFreePorts;

/// The first of [`PORTS`] consecutive ports that nobody listens on. The place is random, so that graphs that are started at
/// the same time hardly meet.
///
/// # Errors
/// When there is none.
pub fn free_base_port() -> Result<u16, NoFreePorts> {
    let mut random = rand::rng();
    (0..ATTEMPTS)
        .map(|_| FIRST + random.random_range(0..(LAST - FIRST) / PORTS) * PORTS)
        .find(|base| (*base..base + PORTS).all(is_free))
        .ok_or(NoFreePorts)
}

/// Whether a listener could be made.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether somebody takes connections.
pub fn is_listening(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_a_listener_is_not_free() {
        let base = free_base_port().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, base)).unwrap();
        assert!(!is_free(base) && is_listening(base));
        drop(listener);
        assert!(!is_listening(base));
    }
}
