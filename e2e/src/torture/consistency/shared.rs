//! What the sessions of a run share: where the nodes are, the history, and what all of them saw.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cast::Nodes;
use crate::torture::history::Recorder;

/// What all sessions of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) recorder: Recorder,
    nodes: Mutex<Nodes>,
    until: Instant,
    is_over: AtomicBool,
    pub(super) next_id: AtomicI64,
    /// The newest commit that anybody saw.
    pub(super) newest_tx: Mutex<Option<String>>,
    /// When the last write was acknowledged, and the longest time without.
    acknowledged: Mutex<(Instant, Duration)>,
    /// Answers that the protocol does not promise for what was asked.
    surprises: Mutex<Vec<String>>,
    pub(super) retried: AtomicU64,
}

impl Shared {
    pub(super) fn new(nodes: Nodes, lasts: Duration) -> Self {
        Self {
            recorder: Recorder::default(),
            nodes: Mutex::new(nodes),
            until: Instant::now() + lasts,
            is_over: AtomicBool::new(false),
            next_id: AtomicI64::new(1),
            newest_tx: Mutex::new(None),
            acknowledged: Mutex::new((Instant::now(), Duration::ZERO)),
            surprises: Mutex::default(),
            retried: AtomicU64::new(0),
        }
    }

    /// Where clients find the graph from now on.
    pub(super) fn set_nodes(&self, nodes: Nodes) {
        *lock(&self.nodes) = nodes;
    }

    pub(super) fn nodes(&self) -> Nodes {
        lock(&self.nodes).clone()
    }

    /// Whether no new operation is begun.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// Ends all sessions after the operation at hand.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// The longest time in which no write was acknowledged.
    pub(super) fn longest_silence(&self) -> Duration {
        lock(&self.acknowledged).1
    }

    pub(super) fn surprises(&self) -> Vec<String> {
        lock(&self.surprises).clone()
    }

    pub(super) fn saw(&self, tx_id: &str) {
        let mut newest = lock(&self.newest_tx);
        if newest.as_deref().is_none_or(|newest| newest < tx_id) {
            *newest = Some(tx_id.to_owned());
        }
    }

    pub(super) fn acknowledge(&self) {
        let mut acknowledged = lock(&self.acknowledged);
        acknowledged.1 = acknowledged.1.max(acknowledged.0.elapsed());
        acknowledged.0 = Instant::now();
    }

    pub(super) fn surprise(&self, what: String) {
        lock(&self.surprises).push(what);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
