//! What must hold in every state, and what the search must come by.

use stateright::Property;

use crate::heal;
use crate::protocol::Protocol;
use crate::seen::Seen;
use crate::state::{State, Wrong};
use crate::store::{Kind, Shown, Store};

/// An acknowledged commit is never lost.
pub const NOT_LOST: &str = "an acknowledged transaction is in the log, and in every table at the head";
/// "Not committed" means it.
pub const NOT_DENIED: &str = "a commit of which a client heard that it was not made is not in the log";
/// A record names exactly the rows of the log up to it, in every table: nothing torn, nothing of a stranger's.
pub const NOT_TORN: &str = "a commit consists of exactly the transactions up to it";
/// Every node.
pub const ONE_COMMIT: &str = "a node shows exactly one commit of the log";
/// No retry is written again.
pub const ONCE: &str = "a transaction is committed at most once";
/// The log's order of writers.
pub const EPOCHS: &str = "epochs never go back in the log";
/// The log is dense, each record names the one before it.
pub const DENSE: &str = "the log is dense, and every commit names the one before it";
/// What a fenced writer does is visible nowhere.
pub const FENCED: &str = "no writer commits once a newer one serves";
/// The newest commit can always be read.
pub const HEAD: &str = "the head's record and versions are there";
/// What is pinned stays.
pub const PINS: &str = "what a lease or a snapshot pins is there";
/// Snapshots.
pub const SNAPSHOTS: &str = "a snapshot with a meta is whole, and of one commit of the log";
/// Lag and staleness are told right.
pub const END: &str = "a replica that says it is at the end of the log is";
/// Liveness.
pub const CONVERGES: &str = "once faults stop, every node reaches the head and every transaction is answered";

/// Those of `model`.
pub(crate) fn properties(model: &Protocol) -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::always(NOT_LOST, |_, state: &State| not_lost(state)),
        Property::always(NOT_DENIED, |_, state: &State| {
            let mut log = state.store.log.iter();
            log.all(|slot| !state.denied.contains(&slot.committed.tx_id))
        }),
        Property::always(NOT_TORN, |model: &Protocol, state: &State| {
            not_torn(model, &state.store)
        }),
        Property::always(ONE_COMMIT, |model: &Protocol, state: &State| {
            let writers = state.writers.iter().filter_map(|writer| writer.graph);
            let graphs = writers.chain(state.replicas.iter().filter_map(|replica| replica.graph));
            graphs
                .into_iter()
                .all(|shown| is_commit(model, &state.store, &shown))
        }),
        Property::always(ONCE, |_, state: &State| once(&state.store)),
        Property::always(EPOCHS, |_, state: &State| {
            state
                .store
                .log
                .is_sorted_by_key(|slot| slot.committed.tx_id.epoch)
        }),
        Property::always(DENSE, |_, state: &State| dense(&state.store)),
        Property::always(FENCED, |_, state: &State| {
            state.wrong != Some(Wrong::FencedCommitted)
        }),
        Property::always(HEAD, |_, state: &State| head_is_there(&state.store)),
        Property::always(PINS, |_, state: &State| {
            let snapshots = &mut state.store.snapshots.iter().filter(|snapshot| snapshot.pinned);
            state.wrong != Some(Wrong::PinBroken)
                && snapshots.all(|snapshot| {
                    state.store.has(&snapshot.of.tables) && state.store.read(snapshot.of.seq).is_some()
                })
        }),
        Property::always(SNAPSHOTS, |model: &Protocol, state: &State| {
            let snapshots = &mut state.store.snapshots.iter();
            snapshots.all(|snapshot| snapshot.whole && is_commit(model, &state.store, &snapshot.of))
        }),
        Property::always(END, |_, state: &State| state.wrong != Some(Wrong::FalseEnd)),
        Property::always(CONVERGES, |model: &Protocol, state: &State| {
            state.wrong.is_some() || heal::converges(model, state)
        }),
    ];
    properties.extend(
        sometimes()
            .into_iter()
            .filter_map(|(seen, property)| model.expected.contains(&seen).then_some(property)),
    );
    properties
}

fn not_lost(state: &State) -> bool {
    let store = &state.store;
    let length = store.log.len() as u8;
    let committed = store.committed_rows(length);
    let Some(head) = store.log.last() else {
        return state.acknowledged == 0;
    };
    let tables = store.tables.iter().zip(head.committed.tables);
    state.acknowledged & !committed == 0
        && tables
            .filter(|(table, _)| !table.is_empty())
            .all(|(table, version)| state.acknowledged & !table[usize::from(version)].rows == 0)
}

/// Versions never change, so it is enough to look at the newest commit, in every state.
fn not_torn(model: &Protocol, store: &Store) -> bool {
    let Some(head) = store.log.last() else { return true };
    let committed = store.committed_rows(head.committed.seq);
    (0..model.bounds.tables).all(|table| store.rows(table, head.committed.tables[table]) == committed)
}

fn is_commit(model: &Protocol, store: &Store, shown: &Shown) -> bool {
    let slot = usize::from(shown.seq)
        .checked_sub(1)
        .and_then(|index| store.log.get(index));
    let rows = store.committed_rows(shown.seq);
    slot.is_some_and(|slot| slot.committed.tx_id == shown.tx_id && slot.committed.tables == shown.tables)
        && shown
            .rows
            .iter()
            .take(model.bounds.tables)
            .all(|found| *found == rows)
}

fn once(store: &Store) -> bool {
    let mut seen = 0_u8;
    store.log.iter().all(|slot| match slot.committed.tx_id.kind {
        Kind::Data(transaction) => {
            let new = seen & (1 << transaction) == 0;
            seen |= 1 << transaction;
            new
        }
        Kind::Barrier | Kind::Optimize => true,
    })
}

fn dense(store: &Store) -> bool {
    let mut previous = None;
    store.log.iter().zip(1..).all(|(slot, seq)| {
        let fits = slot.committed.seq == seq && slot.committed.previous == previous;
        previous = Some(slot.committed.tx_id);
        fits
    })
}

fn head_is_there(store: &Store) -> bool {
    let head = store.log.last();
    head.is_none_or(|head| head.object == Some(head.committed) && store.has(&head.committed.tables))
}

macro_rules! sometimes {
    ($($seen:ident: $name:literal,)*) => {
        /// Behaviour by its name, as properties that need an example.
        fn sometimes() -> Vec<(Seen, Property<Protocol>)> {
            vec![$((
                Seen::$seen,
                Property::sometimes($name, |model: &Protocol, _: &State| model.seen.has(Seen::$seen)),
            )),*]
        }
    };
}

sometimes! {
    FencedByRecord: "a writer is fenced by a taken place in the log",
    FencedByHeartbeat: "a writer is fenced by writer.json",
    FencedInUndo: "a writer finds itself fenced before it restores",
    FencedInBarrier: "a writer is fenced while it takes over",
    OldCommitBeforeBarrier: "an older writer commits between claim and barrier",
    StrayLeft: "a stray version is found at a takeover",
    Interference: "a stranger's version comes between",
    Redone: "a commit is written again after that",
    UnknownCommitted: "an unknown outcome turns out committed",
    UnknownNotThere: "an unknown outcome turns out as not there yet",
    UnknownFenced: "an unknown outcome turns out fenced",
    LatePutLanded: "a put lands after its sender gave up waiting",
    LatePutRefused: "a put comes too late",
    RolledForward: "a writer's graph is rolled forward at start",
    AnsweredFromLog: "a repeated request is answered from the log",
    GraphFailureUndone: "a commit fails in the writer's graph and is undone",
    Optimized: "an optimize commit is made",
    Cleaned: "a version is cleaned",
    Trimmed: "a record is trimmed",
    StrayRecord: "a record lands in a trimmed place",
    StrayRecordDetected: "a writer finds out that its record is not of the log",
    Coalesced: "a replica applies several commits at once",
    RebuiltAfterCleaning: "a replica rebuilds as its base version was cleaned",
    JoinedAfterTrimming: "a replica joins anew as its commit was trimmed",
    SnapshotTaken: "a snapshot is taken",
    SnapshotRestored: "a replica starts from a snapshot",
    SnapshotDropped: "retention deletes a snapshot",
    EventLost: "an event is lost",
    EventForged: "an event is forged",
    WriterBuiltAgain: "a starting writer builds its graph again",
}
