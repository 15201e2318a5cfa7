//! Waiting for a condition, with a deadline: nothing here sleeps and hopes.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(20);

/// What one look found.
#[derive(Debug)]
pub enum Look<T> {
    Found(T),
    /// What is there instead.
    NotYet(String),
}

/// A condition that was not met in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s for {what}; last seen: {last_seen}", within.as_secs())]
pub struct TimedOut {
    pub what: String,
    pub within: Duration,
    pub last_seen: String,
}

/// Looks again and again until the condition is met.
///
/// # Errors
/// When it is not met `within` that time; says what was seen last.
pub async fn until<T>(
    what: &str,
    within: Duration,
    look: impl AsyncFnMut() -> Look<T>,
) -> Result<T, TimedOut> {
    until_every(INTERVAL, what, within, look).await
}

/// As [`until`], with `interval` from one look to the next: for looks that cost the other side something.
///
/// # Errors
/// As [`until`].
pub async fn until_every<T>(
    interval: Duration,
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Look<T>,
) -> Result<T, TimedOut> {
    let deadline = Instant::now() + within;
    let mut last_seen = "nothing".to_owned();
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Look::Found(found)) => return Ok(found),
            Ok(Look::NotYet(seen)) => last_seen = seen,
            Err(_) => {}
        }
        if Instant::now() + interval >= deadline {
            return Err(TimedOut {
                what: what.to_owned(),
                within,
                last_seen,
            });
        }
        sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_thing_seen_stands_in_the_error() {
        let mut looks = 0;
        let outcome = until("a miracle", Duration::from_millis(300), async || {
            looks += 1;
            Look::<()>::NotYet(format!("look {looks}"))
        });
        let error = outcome.await.unwrap_err();
        assert_eq!(error.last_seen, format!("look {looks}"));
        assert!(looks > 1, "{looks}");
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_outlast_the_deadline() {
        let outcome = until("a node that hangs", Duration::from_millis(100), async || {
            std::future::pending::<()>().await;
            Look::Found(())
        });
        assert_eq!(outcome.await.unwrap_err().last_seen, "nothing");
    }
}
