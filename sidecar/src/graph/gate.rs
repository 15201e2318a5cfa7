//! Who is inside the database: queries side by side, or a checkpoint alone. Beside an open reader the engine's checkpoint shows
//! that reader a mix of two commits (`tests/reads_during_apply.rs`).
//!
//! A query enters, uses the engine, leaves. A checkpoint claims the graph: at once where nobody reads, else as its [`Urgency`]
//! says. Commits stand still meanwhile, so it gives up after [`Waits::checkpoint`], and having given up it does not wait again
//! for [`Waits::rest`]. Newcomers do not queue behind one that waits. Only a moment they do ([`Waits::newcomer`]), so that short
//! queries side by side cannot keep it out for ever; and while it ends readers, which takes about as long.
//!
//! Owns: that order. Does not own: when a checkpoint is due, and how a reader is ended.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a checkpoint may ask of those who read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// They go first.
    Due,
    /// It waits for them, not for long.
    Overdue,
    /// It ends them.
    Vital,
}

/// Who waits for how long.
#[derive(Debug, Clone, Copy)]
struct Waits {
    checkpoint: Duration,
    newcomer: Duration,
    rest: Duration,
}

const WAITS: Waits = Waits {
    checkpoint: Duration::from_secs(2),
    newcomer: Duration::from_millis(100),
    rest: Duration::from_secs(20),
};

/// After which someone who waits for a change looks again in any case; between two interrupts of a reader.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Gate {
    waits: Waits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers of those inside, in the order they came.
    readers: BTreeSet<u64>,
    /// Those of them who can be ended by an interrupt.
    watched: BTreeSet<u64>,
    next_reader: u64,
    /// Readers with smaller numbers are to end.
    end_before: u64,
    /// A checkpoint is at work.
    claimed: bool,
    /// A checkpoint waits; until then newcomers do too.
    held_until: Option<Instant>,
    gave_up: Option<(Urgency, Instant)>,
}

impl State {
    fn is_free(&self) -> bool {
        !self.claimed && self.readers.is_empty()
    }

    /// How long a newcomer waits before it looks again; `None` when it may enter.
    fn holds_newcomers(&self, now: Instant) -> Option<Duration> {
        match self.held_until {
            _ if self.claimed => Some(LOOK_AGAIN),
            // The last one has just left: this moment is the checkpoint's.
            Some(_) if self.readers.is_empty() => Some(LOOK_AGAIN),
            Some(until) if now < until => Some(until - now),
            _ => None,
        }
    }
}

/// A reader inside, until it is dropped.
#[derive(Debug)]
pub(super) struct Reading<'g> {
    gate: &'g Gate,
    number: u64,
}

/// While it lives, [`Gate::watch`] goes on for this reader.
#[derive(Debug)]
pub(super) struct Watched<'g> {
    gate: &'g Gate,
    number: u64,
}

/// A checkpoint alone inside, until it is dropped.
#[derive(Debug)]
pub(super) struct Alone<'g> {
    gate: &'g Gate,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(WAITS)
    }
}

impl Gate {
    fn new(waits: Waits) -> Self {
        Self {
            waits,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Lets a reader in; it waits while a checkpoint is at work. Blocks.
    pub(super) fn enter(&self) -> Reading<'_> {
        let mut state = self.lock();
        while let Some(wait) = state.holds_newcomers(Instant::now()) {
            state = self.wait(state, wait);
        }
        let number = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(number);
        Reading { gate: self, number }
    }

    /// Lets a checkpoint in, alone; `None` when readers go first. Blocks, at most as long as [`WAITS`] says.
    pub(super) fn claim(&self, urgency: Urgency) -> Option<Alone<'_>> {
        let mut state = self.lock();
        if !state.is_free() {
            state = self.wait_for_readers(state, urgency);
        }
        if !state.is_free() {
            return None;
        }
        state.claimed = true;
        state.gave_up = None;
        Some(Alone { gate: self })
    }

    fn wait_for_readers<'g>(
        &'g self,
        mut state: MutexGuard<'g, State>,
        urgency: Urgency,
    ) -> MutexGuard<'g, State> {
        let began = Instant::now();
        let rests = state
            .gave_up
            .is_some_and(|(before, at)| urgency <= before && began.duration_since(at) < self.waits.rest);
        if urgency == Urgency::Due || rests {
            return state;
        }
        let hold = if urgency == Urgency::Vital {
            tracing::warn!(
                readers = state.readers.len(),
                "queries are ended for a checkpoint that cannot wait any longer"
            );
            state.end_before = state.next_reader;
            self.changed.notify_all();
            self.waits.checkpoint
        } else {
            self.waits.newcomer
        };
        state.held_until = Some(began + hold);
        while !state.is_free() {
            let left = self.waits.checkpoint.saturating_sub(began.elapsed());
            if left.is_zero() {
                state.gave_up = Some((urgency, Instant::now()));
                break;
            }
            state = self.wait(state, left);
        }
        state.held_until = None;
        self.changed.notify_all();
        state
    }

    /// Whether a checkpoint waits for readers: long ones that can go on later give way.
    pub(super) fn is_claim_waiting(&self) -> bool {
        self.lock().held_until.is_some()
    }

    /// Calls `interrupt` from the moment the reader is to end, again and again, as the engine forgets one that comes between two
    /// statements. Returns when its [`Watched`] is dropped. Blocks; `interrupt` must not.
    pub(super) fn watch(&self, reader: u64, interrupt: impl Fn()) {
        let mut state = self.lock();
        while state.watched.contains(&reader) {
            state = if reader < state.end_before {
                interrupt();
                self.wait(state, LOOK_AGAIN)
            } else {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&'g self, state: MutexGuard<'g, State>, longest: Duration) -> MutexGuard<'g, State> {
        let waited = self.changed.wait_timeout(state, longest);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<'g> Reading<'g> {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a checkpoint ends this reader.
    pub(super) fn is_to_end(&self) -> bool {
        self.number < self.gate.lock().end_before
    }

    /// Declares that [`Gate::watch`] watches this reader.
    pub(super) fn watched(&self) -> Watched<'g> {
        self.gate.lock().watched.insert(self.number);
        Watched {
            gate: self.gate,
            number: self.number,
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.gate.lock().readers.remove(&self.number);
        self.gate.changed.notify_all();
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.gate.lock().watched.remove(&self.number);
        self.gate.changed.notify_all();
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.gate.lock().claimed = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
