//! Tests wait for conditions, with a deadline.

use std::time::{Duration, Instant};

/// Looks every few milliseconds until `condition` gives something; panics with `what` after ten seconds.
pub(crate) async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
