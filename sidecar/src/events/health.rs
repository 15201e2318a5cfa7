//! How it goes with NATS: for `/v1/status` and for metrics. Shared by the connection and whoever uses it.

use std::sync::Arc;

use ::metrics::{counter, gauge};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Clock;

/// The object `events` of `/v1/status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EventsView {
    /// Whether events go through now.
    pub connected: bool,
    /// Since when `connected` has been what it is.
    pub since: Option<DateTime<Utc>>,
    /// Why they do not; none also while the first connection is being made.
    pub error: Option<String>,
    /// Milliseconds since the last event was published or received; `None` before the first.
    pub last_event_age_ms: Option<u64>,
    /// Events that the server stored.
    pub published: u64,
    /// Events that were given up because newer ones filled the queue.
    pub dropped: u64,
    /// Events that came, repeated and useless ones included.
    pub received: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    view: EventsView,
    last_event: Option<DateTime<Utc>>,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventsHealth {
    state: Arc<watch::Sender<State>>,
    clock: Clock,
}

impl EventsHealth {
    /// Not connected yet.
    pub fn new(clock: Clock) -> Self {
        set_up(false);
        let view = EventsView {
            since: Some(clock.now()),
            ..EventsView::default()
        };
        let state = State {
            view,
            ..State::default()
        };
        Self {
            state: Arc::new(watch::Sender::new(state)),
            clock,
        }
    }

    /// What it is like now.
    pub fn view(&self) -> EventsView {
        let state = self.state.borrow();
        let age = |at: DateTime<Utc>| u64::try_from((self.clock.now() - at).num_milliseconds()).unwrap_or(0);
        EventsView {
            last_event_age_ms: state.last_event.map(age),
            ..state.view.clone()
        }
    }

    /// Stream and, on a replica, consumer are there: events go through.
    pub(super) fn ready(&self) {
        self.connected(true, None);
    }

    /// Events do not go through.
    pub(super) fn failed(&self, why: impl ToString) {
        self.connected(false, Some(why.to_string()));
    }

    fn connected(&self, connected: bool, error: Option<String>) {
        let now = self.clock.now();
        self.state.send_modify(|state| {
            let view = &mut state.view;
            if view.connected != connected || view.error != error {
                match &error {
                    None => tracing::info!("events go through NATS"),
                    Some(error) => tracing::warn!(error, "events do not go through NATS; polling goes on"),
                }
            }
            if view.connected != connected {
                view.since = Some(now);
            }
            view.connected = connected;
            view.error = error;
        });
        set_up(connected);
    }

    pub(super) fn published(&self) {
        counter!("slipstream_events_published_total").increment(1);
        let now = self.clock.now();
        self.state.send_modify(|state| {
            state.view.published += 1;
            state.last_event = Some(now);
        });
    }

    pub(super) fn dropped(&self, events: u64) {
        counter!("slipstream_events_dropped_total").increment(events);
        self.state.send_modify(|state| state.view.dropped += events);
    }

    pub(super) fn received(&self) {
        counter!("slipstream_events_received_total").increment(1);
        let now = self.clock.now();
        self.state.send_modify(|state| {
            state.view.received += 1;
            state.last_event = Some(now);
        });
    }
}

/// Under both names: dashboards ask for the older one.
fn set_up(up: bool) {
    for name in ["slipstream_events_up", "slipstream_events_connected"] {
        gauge!(name).set(if up { 1.0 } else { 0.0 });
    }
}

/// An event that brought nothing: of a commit that was applied already, of none at all, or no event.
pub(super) fn ignored(reason: &'static str, events: usize) {
    counter!("slipstream_events_ignored_total", "reason" => reason).increment(events as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_since_when_and_why_events_do_not_go_through() {
        let clock = Clock::default();
        let health = EventsHealth::new(clock.clone());
        assert_eq!((health.view().connected, health.view().error), (false, None));
        health.ready();
        let connected = health.view();
        assert_eq!((connected.connected, &connected.error), (true, &None));
        clock.shift_millis(5000);
        health.failed("the connection is lost");
        let lost = health.view();
        assert!(!lost.connected && lost.since > connected.since, "{lost:?}");
        clock.shift_millis(5000);
        health.failed("connection refused");
        let still = health.view();
        assert_eq!(
            (still.since, still.error.as_deref()),
            (lost.since, Some("connection refused"))
        );
    }

    #[test]
    fn the_last_event_has_an_age() {
        let clock = Clock::default();
        let health = EventsHealth::new(clock.clone());
        assert_eq!(health.view().last_event_age_ms, None);
        health.received();
        clock.shift_millis(3000);
        let view = health.view();
        assert_eq!((view.received, view.published), (1, 0));
        assert!(view.last_event_age_ms >= Some(3000), "{view:?}");
    }
}
