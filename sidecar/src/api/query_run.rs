//! A query that runs: holds its permit, ends it at its deadline, counts it.
//!
//! A task stands between graph and answer, so that a client that reads slowly, or not at all, keeps neither permit nor
//! engine longer than its own timeout. The permit is given back when the engine has let go, not when the client left.

use metrics::{counter, gauge, histogram};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::problem::{Problem, ProblemKind};
use crate::graph::{GraphError, QueryEvent};

/// A piece of an answer, or why there is no more.
pub(super) type Piece = Result<QueryEvent, GraphError>;

/// The consumer's side. Dropping it ends the query.
pub(super) struct RunningQuery {
    pieces: mpsc::Receiver<Piece>,
}

impl RunningQuery {
    /// Runs `query`, which blocks, and passes on what it sends until `deadline`.
    pub(super) fn start(
        query: impl FnOnce(&mpsc::Sender<QueryEvent>) -> Result<(), GraphError> + Send + 'static,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let (events, receiver) = mpsc::channel(2);
        let engine = tokio::task::spawn_blocking(move || {
            let outcome = query(&events);
            drop(permit);
            outcome
        });
        let (sender, pieces) = mpsc::channel(2);
        tokio::spawn(pass_on(engine, receiver, sender, deadline));
        Self { pieces }
    }

    /// The next piece; `None` before an end or an error means that the deadline passed.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        self.pieces.recv().await
    }
}

/// What a query whose pieces stopped coming met.
pub(super) fn timed_out() -> Problem {
    Problem::new(
        ProblemKind::QueryTimeout,
        "the query, or reading its answer, took longer than timeout_ms",
    )
}

/// How a query ended, for the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    Failed,
    Timeout,
    Abandoned,
}

async fn pass_on(
    engine: JoinHandle<Result<(), GraphError>>,
    events: mpsc::Receiver<QueryEvent>,
    pieces: mpsc::Sender<Piece>,
    deadline: Instant,
) {
    let started = Instant::now();
    gauge!("slipstream_queries_running").increment(1.0);
    let stopped = pass_events(events, &pieces, deadline).await;
    let outcome = match stopped {
        Some(outcome) => {
            // The consumer learns of the end now, before the engine lets go.
            drop(pieces);
            let _ = engine.await;
            outcome
        }
        None => match joined(engine.await) {
            Ok(()) => Outcome::Complete,
            Err(GraphError::Timeout { .. }) => Outcome::Timeout,
            Err(error) => {
                let _ = timeout_at(deadline, pieces.send(Err(error))).await;
                Outcome::Failed
            }
        },
    };
    gauge!("slipstream_queries_running").decrement(1.0);
    let label = match outcome {
        Outcome::Complete => "complete",
        Outcome::Failed => "failed",
        Outcome::Timeout => "timeout",
        Outcome::Abandoned => "abandoned",
    };
    counter!("slipstream_queries_total", "outcome" => label).increment(1);
    histogram!("slipstream_query_duration_seconds").record(started.elapsed().as_secs_f64());
}

/// Returns why it stopped before the engine did; `None` when the engine has sent everything.
async fn pass_events(
    mut events: mpsc::Receiver<QueryEvent>,
    pieces: &mpsc::Sender<Piece>,
    deadline: Instant,
) -> Option<Outcome> {
    loop {
        let event = tokio::select! {
            () = pieces.closed() => return Some(Outcome::Abandoned),
            event = timeout_at(deadline, events.recv()) => event,
        };
        let event = match event {
            Err(_) => return Some(Outcome::Timeout),
            Ok(event) => event?,
        };
        if let QueryEvent::Rows(rows) = &event {
            counter!("slipstream_query_rows_total").increment(rows.len() as u64);
        }
        let is_end = matches!(event, QueryEvent::End { .. });
        match timeout_at(deadline, pieces.send(Ok(event))).await {
            Err(_) => return Some(Outcome::Timeout),
            Ok(Err(_)) => return Some(Outcome::Abandoned),
            // The consumer may go now without having abandoned anything.
            Ok(Ok(())) if is_end => return None,
            Ok(Ok(())) => {}
        }
    }
}

fn joined(result: Result<Result<(), GraphError>, tokio::task::JoinError>) -> Result<(), GraphError> {
    result.unwrap_or_else(|error| {
        Err(GraphError::Engine {
            doing: "run a query".to_owned(),
            detail: error.to_string(),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    async fn permit(of: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        of.clone().acquire_owned().await.unwrap()
    }

    fn in_an_hour() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[tokio::test]
    async fn at_the_deadline_the_pieces_stop_and_the_permit_waits_for_the_engine() {
        let queries = Arc::new(Semaphore::new(1));
        let (finish, finished) = oneshot::channel::<()>();
        let stuck = move |events: &mpsc::Sender<QueryEvent>| {
            events.blocking_send(QueryEvent::Rows(vec![])).unwrap();
            finished.blocking_recv().unwrap();
            Ok(())
        };
        let deadline = Instant::now() + Duration::from_millis(50);
        let mut query = RunningQuery::start(stuck, deadline, permit(&queries).await);
        while query.next().await.is_some() {}
        assert!(Instant::now() >= deadline);
        assert_eq!(queries.available_permits(), 0);
        finish.send(()).unwrap();
        drop(permit(&queries).await);
    }

    #[tokio::test]
    async fn a_consumer_that_goes_away_ends_the_query() {
        let queries = Arc::new(Semaphore::new(1));
        let endless = |events: &mpsc::Sender<QueryEvent>| {
            while events.blocking_send(QueryEvent::Rows(vec![])).is_ok() {}
            Ok(())
        };
        drop(RunningQuery::start(endless, in_an_hour(), permit(&queries).await));
        drop(permit(&queries).await);
    }

    #[tokio::test]
    async fn an_engine_that_fails_or_panics_says_so_last() {
        let queries = Arc::new(Semaphore::new(1));
        let failing = |_: &mpsc::Sender<QueryEvent>| Err(GraphError::Query("no such table".to_owned()));
        let mut query = RunningQuery::start(failing, in_an_hour(), permit(&queries).await);
        assert!(matches!(query.next().await, Some(Err(GraphError::Query(_)))));
        assert!(query.next().await.is_none());
        let panicking = |_: &mpsc::Sender<QueryEvent>| panic!("oops");
        let mut query = RunningQuery::start(panicking, in_an_hour(), permit(&queries).await);
        assert!(matches!(query.next().await, Some(Err(GraphError::Engine { .. }))));
        // A panic gives the permit back as well.
        drop(permit(&queries).await);
    }
}
