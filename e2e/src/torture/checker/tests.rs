//! A right history passes; each wrong one is named.

use super::state::{Change, State, Transaction};
use super::{Rule, check};
use crate::torture::history::{Floor, History, LogEntry, ReadOp, WriteOp, WriteOutcome};

fn tx_id(seq: u64) -> String {
    format!("00000000-0000-7000-8000-{seq:012}")
}

fn entry(seq: u64, notes: Option<&str>) -> LogEntry {
    LogEntry {
        seq,
        tx_id: tx_id(seq),
        prev_tx_id: tx_id(seq - 1),
        epoch: 1,
        kind: if notes.is_some() { "data" } else { "barrier" }.to_owned(),
        notes: notes.map(str::to_owned),
    }
}

fn transaction(changes: &[Change]) -> Transaction {
    Transaction {
        changes: changes.to_vec(),
    }
}

fn set(name: &str) -> Change {
    Change::Set(name.to_owned())
}

/// Acknowledged at `seq`, between two times.
fn write(id: i64, seq: u64, times: (u64, u64), changes: &[Change]) -> WriteOp {
    WriteOp {
        id,
        session: 0,
        invoked: times.0,
        completed: Some(times.1),
        transaction: transaction(changes),
        outcome: WriteOutcome::Committed {
            seq,
            tx_id: tx_id(seq),
        },
    }
}

fn read(seq: u64, times: (u64, u64), floor: Floor, seen: &[(&str, i64)]) -> ReadOp {
    ReadOp {
        session: 1,
        node: "replica-1".to_owned(),
        invoked: times.0,
        completed: times.1,
        floor,
        names: None,
        seq,
        tx_id: tx_id(seq),
        seen: State {
            registers: seen
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
            links: std::collections::BTreeMap::new(),
        },
    }
}

/// Two writes one after the other, and a read of each of their states.
fn right() -> History {
    History {
        writes: vec![
            write(1, 2, (100, 200), &[set("a"), set("b")]),
            write(2, 3, (300, 400), &[set("a"), set("b")]),
        ],
        reads: vec![
            read(2, (210, 220), Floor::Strong, &[("a", 1), ("b", 1)]),
            read(3, (450, 460), Floor::Strong, &[("a", 2), ("b", 2)]),
        ],
        unanswered_reads: 0,
        log: vec![entry(1, None), entry(2, Some("w1")), entry(3, Some("w2"))],
    }
}

/// The rules that a history breaks.
fn broken(history: &History) -> Vec<Rule> {
    check(history).violations.iter().map(|found| found.rule).collect()
}

#[test]
fn a_right_history_passes() {
    let checked = check(&right());
    assert_eq!(checked.violations, []);
    assert_eq!(
        (checked.acknowledged, checked.commits, checked.reads),
        (2, 3, [0, 0, 0, 2])
    );
}

#[test]
fn an_open_write_may_take_effect_late_once_or_never() {
    let mut history = right();
    for (id, invoked) in [(3, 10), (4, 10)] {
        let mut open = write(id, 0, (invoked, 0), &[set("c")]);
        (open.completed, open.outcome) = (None, WriteOutcome::Unknown);
        history.writes.push(open);
    }
    history.log.push(entry(4, Some("w3")));
    let checked = check(&history);
    assert_eq!(checked.violations, []);
    assert_eq!((checked.unknown, checked.unknown_committed), (2, 1));
}

#[test]
fn a_lost_write_is_found() {
    let mut history = right();
    history.log.pop();
    history.reads.pop();
    assert_eq!(broken(&history), [Rule::LostWrite]);
}

#[test]
fn a_write_that_stands_twice_is_found() {
    let mut history = right();
    history.log.push(entry(4, Some("w2")));
    assert_eq!(broken(&history), [Rule::DuplicateWrite]);
}

#[test]
fn a_refused_write_and_one_that_nobody_sent_are_found_in_the_log() {
    let mut history = right();
    history.writes[1].outcome = WriteOutcome::Refused {
        problem: "fenced".to_owned(),
    };
    assert_eq!(broken(&history), [Rule::PhantomWrite]);
    let mut history = right();
    history.log.push(entry(4, Some("w9")));
    assert_eq!(broken(&history), [Rule::PhantomWrite]);
}

#[test]
fn an_answer_that_names_another_commit_is_found() {
    let mut history = right();
    history.writes[0].outcome = WriteOutcome::Committed {
        seq: 3,
        tx_id: tx_id(3),
    };
    history.reads.clear();
    // The second write then also comes after a commit that was seen too early.
    assert_eq!(broken(&history), [Rule::WrongAnswer, Rule::RealTimeOrder]);
}

#[test]
fn a_gap_a_fork_and_an_older_epoch_in_the_log_are_found() {
    let mut history = right();
    history.log[2].prev_tx_id = tx_id(9);
    history.log[1].epoch = 2;
    assert_eq!(broken(&history), [Rule::LogForm, Rule::LogForm]);
    let mut history = right();
    history.log.remove(0);
    assert_eq!(broken(&history), [Rule::LogForm]);
}

#[test]
fn a_stale_strong_read_is_found() {
    let mut history = right();
    history
        .reads
        .push(read(2, (401, 500), Floor::Strong, &[("a", 1), ("b", 1)]));
    assert_eq!(broken(&history), [Rule::StaleStrong]);
    // Asked for while the write was still under way, either state is right.
    let mut history = right();
    history
        .reads
        .push(read(2, (399, 500), Floor::Strong, &[("a", 1), ("b", 1)]));
    assert_eq!(broken(&history), []);
}

#[test]
fn a_strong_read_that_goes_behind_another_read_is_found() {
    let mut history = right();
    // The write is open, but somebody saw it.
    (history.writes[1].completed, history.writes[1].outcome) = (None, WriteOutcome::Unknown);
    history
        .reads
        .push(read(2, (470, 480), Floor::Strong, &[("a", 1), ("b", 1)]));
    assert_eq!(broken(&history), [Rule::StaleStrong]);
}

#[test]
fn a_torn_read_is_found() {
    let mut history = right();
    history
        .reads
        .push(read(3, (470, 480), Floor::Nothing, &[("a", 2), ("b", 1)]));
    assert_eq!(broken(&history), [Rule::TornRead]);
}

#[test]
fn a_read_that_names_a_commit_and_shows_another_is_found() {
    let mut history = right();
    history
        .reads
        .push(read(3, (470, 480), Floor::Nothing, &[("a", 1), ("b", 1)]));
    assert_eq!(broken(&history), [Rule::WrongCommit]);
}

#[test]
fn a_read_of_a_commit_that_never_was_is_found() {
    let mut history = right();
    history.reads[1].tx_id = tx_id(8);
    assert_eq!(broken(&history), [Rule::UnknownCommit]);
}

#[test]
fn a_write_that_stands_before_what_was_seen_before_it_is_found() {
    let mut history = right();
    // Read at its commit before it was invoked: a read of the future.
    history.reads[1].invoked = 280;
    history.reads[1].completed = 290;
    assert_eq!(broken(&history), [Rule::RealTimeOrder]);
}

#[test]
fn a_read_below_its_floor_is_found() {
    let old = &[("a", 1), ("b", 1)];
    let mut history = right();
    let min_tx = Floor::MinTx {
        tx_id: tx_id(3),
        own: false,
    };
    history.reads.push(read(2, (470, 480), min_tx, old));
    assert_eq!(broken(&history), [Rule::BelowMinTx]);

    let mut history = right();
    let staleness = |ms| Floor::MaxStaleness { ms };
    history.reads.push(read(2, (1_390, 1_400), staleness(1), old));
    assert_eq!(broken(&history), []);
    history.reads.push(read(2, (1_480, 1_490), staleness(1), old));
    assert_eq!(broken(&history), [Rule::TooStale]);
}

#[test]
fn a_session_that_goes_back_is_found() {
    let mut history = right();
    // Its token is older than what it saw, so the floor holds and the session does not.
    let own = Floor::MinTx {
        tx_id: tx_id(2),
        own: true,
    };
    history
        .reads
        .push(read(2, (470, 480), own, &[("a", 1), ("b", 1)]));
    assert_eq!(broken(&history), [Rule::SessionWentBack]);
}

#[test]
fn transactions_of_one_commit_that_depend_on_their_order_are_found() {
    let mut history = right();
    history.log.pop();
    history.log[1].notes = Some("w1; w2".to_owned());
    history.writes[1] = write(2, 2, (100, 200), &[set("b")]);
    history.writes[1].session = 2;
    history.reads.clear();
    assert_eq!(broken(&history), [Rule::DependentGroup]);
}

#[test]
fn of_many_violations_of_a_rule_some_are_described_and_all_are_counted() {
    let mut history = right();
    history.reads = vec![read(3, (470, 480), Floor::Nothing, &[("a", 1), ("b", 2)]); 25];
    let checked = check(&history);
    assert_eq!(checked.violations.len() + checked.more, 25);
    assert!(!checked.is_clean());
}
