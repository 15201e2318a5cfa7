//! The search can fail: each rule of the protocol, left out, gives a counterexample of the property that the rule is there for.

mod searches;

use std::collections::BTreeSet;
use std::time::Duration;

use searches::SEARCHES;
use slipstream_model::{Bounds, Flaw, Protocol, path, properties as p};
use stateright::{Checker, HasDiscoveries, Model};

/// A search over the bounds of `search` with `flaw` must break `property`; prints the shortest way there.
fn breaks(flaw: Flaw, search: &str, property: &'static str) {
    let search = SEARCHES
        .iter()
        .find(|found| found.name == search)
        .expect("one of SEARCHES");
    let bounds = Bounds {
        flaw: Some(flaw),
        ..search.bounds
    };
    let checker = Protocol::new(bounds, &[])
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .timeout(Duration::from_secs(120))
        .spawn_bfs()
        .join();
    let found = checker.discovery(property);
    println!("{flaw:?}: after {} states", checker.unique_state_count());
    let path = found.unwrap_or_else(|| panic!("{flaw:?} does not break \"{property}\""));
    println!("\"{property}\" breaks by\n{}", path::told(&path));
}

macro_rules! flaws {
    ($($test:ident: $flaw:ident in $search:ident breaks $property:ident;)*) => {
        $(#[test] fn $test() { breaks(Flaw::$flaw, stringify!($search), p::$property); })*
    };
}

flaws! {
    without_a_barrier_an_older_writer_commits_beside_a_newer_one: NoBarrier in two_writers_and_two_tables breaks FENCED;
    a_barrier_over_a_newer_epoch_turns_the_log_back: BarrierOverNewerEpoch in two_writers_and_two_tables breaks EPOCHS;
    a_barrier_over_a_newer_epoch_commits_beside_a_newer_writer: BarrierOverNewerEpoch in two_writers_and_two_tables breaks FENCED;
    restoring_before_the_barrier_loses_a_commit: RestoreBeforeBarrier in two_writers_and_two_tables breaks NOT_LOST;
    stray_versions_that_are_not_settled_get_into_a_commit: NoSettle in two_writers_and_two_tables breaks NOT_TORN;
    a_rebase_over_a_stray_version_gets_it_into_a_commit: NoVersionCheck in two_writers_and_two_tables breaks NOT_TORN;
    an_unknown_outcome_taken_for_an_abort_denies_a_commit: UnknownIsAbort in two_writers_and_lost_answers breaks NOT_DENIED;
    an_answer_before_the_record_is_lost: AnswerBeforeRecord in two_writers_and_two_tables breaks NOT_LOST;
    a_graph_before_the_record_shows_what_is_no_commit: GraphBeforeRecord in two_writers_and_two_tables breaks ONE_COMMIT;
    without_known_keys_a_retry_is_written_again: NoKnownKeys in two_writers_crash_and_come_back breaks ONCE;
    a_put_into_a_trimmed_place_is_no_commit: TrustEveryPut in zombies_over_a_trimmed_log breaks NOT_LOST;
    a_graph_after_a_put_into_a_trimmed_place_shows_no_commit: TrustEveryPut in zombies_over_a_trimmed_log breaks ONE_COMMIT;
    keys_of_a_stray_record_answer_for_no_commit: KeysFromStrays in zombies_over_a_trimmed_log breaks NOT_LOST;
    a_starting_writer_whose_base_is_gone_must_build: RollForwardGivesUp in zombies_over_a_trimmed_log breaks CONVERGES;
    cleaning_without_leases_breaks_pins: CleanIgnoresLeases in cleaning_and_a_replica_that_slept breaks PINS;
    cleaning_without_snapshots_breaks_pins: CleanIgnoresSnapshots in snapshots_and_cleaning breaks PINS;
    cleaning_what_came_since_the_pins_were_read_deletes_the_head: CleanListsLate in zombies_over_a_trimmed_log breaks HEAD;
    a_meta_before_its_parts_is_no_snapshot: MetaFirst in snapshots_and_cleaning breaks SNAPSHOTS;
    parts_deleted_before_their_meta_leave_no_snapshot: PartsDeletedFirst in snapshots_and_cleaning breaks SNAPSHOTS;
    a_trimmed_log_is_not_the_end: TrimmedIsTheEnd in a_replica_that_slept_over_a_trimmed_log breaks END;
    the_schemas_record_proves_nothing: OwnRecordIsProof in a_replica_that_slept_over_a_trimmed_log breaks END;
    a_rebuild_that_waits_for_a_newer_head_never_comes: RebuildWaitsForHead in cleaning_and_a_replica_that_slept breaks CONVERGES;
    events_alone_are_not_enough: NoPolling in events_lost_and_forged breaks CONVERGES;
    an_event_is_not_the_log: EventIsTheLog in events_lost_and_forged breaks ONE_COMMIT;
}
