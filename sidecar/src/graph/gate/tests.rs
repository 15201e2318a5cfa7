//! Readers that never leave, that overlap, that are ended.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;

use super::*;

/// Far longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

fn gate(checkpoint: Duration, newcomer: Duration) -> Gate {
    Gate::new(Waits {
        checkpoint,
        newcomer,
        rest: LONG,
    })
}

/// Waits on a condition, which other threads of the scope make true.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn beside_a_reader_that_never_leaves_a_checkpoint_waits_once_and_not_for_long() {
    let gate = gate(SHORT, Duration::ZERO);
    let reading = gate.enter();
    assert!(gate.claim(Urgency::Due).is_none());
    let began = Instant::now();
    assert!(gate.claim(Urgency::Overdue).is_none());
    assert!(began.elapsed() >= SHORT);
    let began = Instant::now();
    for _ in 0..1000 {
        assert!(gate.claim(Urgency::Overdue).is_none());
    }
    assert!(
        began.elapsed() < SHORT * 500,
        "each of them waited: {:?}",
        began.elapsed()
    );
    assert!(!reading.is_to_end());
    drop(reading);
    assert!(gate.claim(Urgency::Due).is_some());
}

#[test]
fn newcomers_pass_a_checkpoint_that_waits() {
    let gate = gate(LONG, Duration::ZERO);
    let reading = gate.enter();
    std::thread::scope(|scope| {
        let claim = scope.spawn(|| gate.claim(Urgency::Overdue).is_some());
        until(|| gate.is_claim_waiting());
        drop(gate.enter());
        assert!(!claim.is_finished());
        drop(reading);
        assert!(claim.join().unwrap());
    });
    assert!(!gate.is_claim_waiting());
}

#[test]
fn in_its_first_moment_a_checkpoint_that_waits_goes_before_newcomers() {
    let (gate, asked) = (&gate(LONG, LONG), &AtomicBool::new(false));
    let reading = gate.enter();
    let (query, order) = mpsc::channel();
    let checkpoint = query.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let alone = gate.claim(Urgency::Overdue);
            until(|| asked.load(Ordering::SeqCst));
            checkpoint.send("checkpoint").unwrap();
            drop(alone);
        });
        until(|| gate.is_claim_waiting());
        scope.spawn(move || {
            asked.store(true, Ordering::SeqCst);
            let _reading = gate.enter();
            query.send("query").unwrap();
        });
        drop(reading);
    });
    assert_eq!(order.iter().collect::<Vec<_>>(), ["checkpoint", "query"]);
}

#[test]
fn a_vital_checkpoint_ends_whoever_reads_and_nobody_later() {
    let (gate, interrupts) = (&gate(LONG, Duration::ZERO), &AtomicU32::new(0));
    let (enters, entered) = mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let reading = gate.enter();
            let watched = reading.watched();
            enters.send(reading.number()).unwrap();
            // Needs several: the engine forgets some.
            until(|| interrupts.load(Ordering::SeqCst) >= 3);
            drop(watched);
            reading.is_to_end()
        });
        let number = entered.recv().unwrap();
        scope.spawn(move || {
            gate.watch(number, || {
                interrupts.fetch_add(1, Ordering::SeqCst);
            });
        });
        assert_eq!(interrupts.load(Ordering::SeqCst), 0);
        assert!(gate.claim(Urgency::Vital).is_some());
        assert!(reader.join().unwrap());
    });
    assert!(!gate.enter().is_to_end());
}

#[test]
fn a_reader_that_cannot_be_ended_holds_a_vital_checkpoint_back_for_its_time_and_nobody_else() {
    let gate = gate(SHORT, Duration::ZERO);
    let reading = gate.enter();
    assert!(gate.claim(Urgency::Overdue).is_none());
    // To have given up waiting is no reason not to end readers.
    assert!(gate.claim(Urgency::Vital).is_none());
    assert!(reading.is_to_end());
    assert!(!gate.enter().is_to_end());
}
