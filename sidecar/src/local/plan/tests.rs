use super::Action::{Kill, Start, Terminate};
use super::ChildId::{Replica, Writer};
use super::*;

const TWO: Wanted = Wanted {
    running: true,
    replicas: 2,
    writer_revision: 0,
};

fn started(wanted: Wanted, now: Instant) -> Plan {
    let mut plan = Plan::new(wanted);
    plan.decide(now);
    plan
}

#[test]
fn a_change_of_what_is_wanted_leads_to_these_actions() {
    let now = Instant::now();
    for (wanted, actions) in [
        (TWO, &[][..]),
        (
            Wanted { replicas: 4, ..TWO },
            &[Start(Replica(3)), Start(Replica(4))],
        ),
        (Wanted { replicas: 1, ..TWO }, &[Terminate(Replica(2))]),
        (
            Wanted { replicas: 0, ..TWO },
            &[Terminate(Replica(1)), Terminate(Replica(2))],
        ),
        (
            Wanted {
                writer_revision: 1,
                ..TWO
            },
            &[Terminate(Writer)],
        ),
        (
            Wanted {
                running: false,
                ..TWO
            },
            &[Terminate(Replica(1)), Terminate(Replica(2))],
        ),
    ] {
        let mut plan = Plan::new(TWO);
        assert_eq!(
            plan.decide(now),
            [Start(Writer), Start(Replica(1)), Start(Replica(2))]
        );
        plan.wanted = wanted;
        assert_eq!(plan.decide(now), actions, "{wanted:?}");
        assert_eq!(plan.decide(now), [], "nothing is done twice");
    }
}

#[test]
fn the_writer_stops_after_the_last_replica() {
    let now = Instant::now();
    let mut plan = started(TWO, now);
    plan.wanted.running = false;
    plan.decide(now);
    assert_eq!(plan.exited(Replica(1), now), None);
    assert_eq!(plan.decide(now), []);
    plan.exited(Replica(2), now);
    assert_eq!(plan.decide(now), [Terminate(Writer)]);
    assert!(!plan.is_empty());
    plan.exited(Writer, now);
    assert_eq!(plan.decide(now), []);
    assert!(plan.is_empty());
}

#[test]
fn who_does_not_end_in_time_is_killed_once() {
    let now = Instant::now();
    for (wanted, grace) in [
        (Wanted { replicas: 1, ..TWO }, 10),
        (
            Wanted {
                running: false,
                ..TWO
            },
            15,
        ),
    ] {
        let mut plan = started(TWO, now);
        plan.wanted = wanted;
        plan.decide(now);
        assert_eq!(
            plan.decide(now + Duration::from_secs(grace) - Duration::from_millis(1)),
            []
        );
        assert!(
            plan.decide(now + Duration::from_secs(grace))
                .contains(&Kill(Replica(2)))
        );
        assert_eq!(plan.decide(now + Duration::from_secs(grace + 1)), []);
    }
}

#[test]
fn who_dies_is_restarted_later_and_later_until_it_ran_well_for_a_while() {
    let mut now = Instant::now();
    let mut plan = started(TWO, now);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let wait = plan.exited(Replica(1), now).unwrap();
        waits.push(wait.as_millis());
        assert_eq!(plan.decide(now + wait - Duration::from_millis(1)), []);
        now += wait;
        assert_eq!(plan.decide(now), [Start(Replica(1))]);
    }
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    assert_eq!(
        plan.exited(Replica(1), now + Duration::from_secs(30)),
        Some(FIRST_BACKOFF)
    );
}

#[test]
fn a_restarted_writer_starts_as_soon_as_the_old_one_is_gone() {
    let now = Instant::now();
    let mut plan = started(TWO, now);
    plan.wanted.writer_revision = 1;
    plan.decide(now);
    assert_eq!(plan.exited(Writer, now), None);
    assert_eq!(plan.decide(now), [Start(Writer)]);
    assert_eq!(plan.decide(now), []);
}

#[test]
fn scaling_down_and_up_again_starts_a_replica_only_after_the_old_one_is_gone() {
    let now = Instant::now();
    let mut plan = started(TWO, now);
    plan.wanted.replicas = 1;
    plan.decide(now);
    plan.wanted.replicas = 2;
    assert_eq!(plan.decide(now), []);
    plan.exited(Replica(2), now);
    assert_eq!(plan.decide(now), [Start(Replica(2))]);
}

#[test]
fn who_waits_for_a_restart_is_forgotten_when_no_longer_wanted() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    for (wanted, dead) in [
        (Wanted { replicas: 1, ..TWO }, Replica(2)),
        (
            Wanted {
                running: false,
                ..TWO
            },
            Writer,
        ),
        (
            Wanted {
                running: false,
                ..TWO
            },
            Replica(1),
        ),
    ] {
        let mut plan = started(TWO, now);
        plan.exited(dead, now);
        plan.wanted = wanted;
        let actions = [plan.decide(now), plan.decide(later)].concat();
        assert!(!actions.contains(&Start(dead)), "{wanted:?}: {actions:?}");
        assert!(plan.children().all(|(id, _)| id != dead));
    }
}

#[test]
fn in_a_hurry_everything_is_killed_at_once() {
    let now = Instant::now();
    let mut plan = started(TWO, now);
    plan.wanted.running = false;
    plan.decide(now);
    assert_eq!(
        plan.hurry(now),
        [Kill(Writer), Kill(Replica(1)), Kill(Replica(2))]
    );
    assert_eq!(plan.hurry(now), []);
    for id in [Writer, Replica(1), Replica(2)] {
        plan.exited(id, now);
    }
    assert!(plan.decide(now).is_empty() && plan.is_empty());
}
