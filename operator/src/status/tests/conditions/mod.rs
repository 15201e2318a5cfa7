//! Each situation has its conditions, and a graph is being created only once.

mod members;
mod objects;
mod reports;

use crds::{ConditionType, Reason, ReplicatedGraphDBStatus};

use super::{Graph, well};
use crate::status::Standing;

type Change = fn(&mut Graph);
type Expected = (ConditionType, &'static str, Reason, &'static str);
/// What it is called, what is different from a graph that is well, and what must be in its conditions.
type Situation = (&'static str, Change, Vec<Expected>);

fn condition(status: &ReplicatedGraphDBStatus, kind: ConditionType) -> (String, String, String) {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
        .unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn each_situation_has_its_conditions() {
    let table = [
        members::situations(),
        objects::situations(),
        reports::situations(),
    ];
    for (situation, change, expected) in table.into_iter().flatten() {
        let mut graph = well().settled();
        change(&mut graph);
        let status = graph.status();
        assert_eq!(status.conditions.len(), 5, "{situation}");
        for (kind, value, reason, part) in expected {
            let (found, why, message) = condition(&status, kind);
            assert_eq!(
                (found.as_str(), why.as_str()),
                (value, reason.as_str()),
                "{situation}: {kind}: {message}"
            );
            assert!(message.contains(part), "{situation}: {kind}: {message}");
        }
    }
}

#[test]
fn a_new_graph_is_being_created_until_it_is_ready_once() {
    let mut graph = well();
    graph.readings.clear();
    let created = graph.status();
    assert_eq!(condition(&created, ConditionType::Progressing).1, "Creating");
    assert_eq!((created.head.is_none(), created.max_lag_commits), (true, None));
    graph.previous = Some(created);
    graph.readings = well().readings;
    let ready = graph.status();
    assert_eq!(condition(&ready, ConditionType::Progressing).1, "UpToDate");
    graph.previous = Some(ready);
    graph.readings.truncate(1);
    assert_eq!(
        condition(&graph.status(), ConditionType::Progressing).1,
        "Scaling"
    );
}

#[test]
fn a_new_graph_whose_objects_were_refused_at_first_is_created_all_the_same() {
    let mut graph = well();
    graph.readings.clear();
    graph.wanted = 0;
    graph.standing = Standing::ApplyFailed("exceeded quota".to_owned());
    graph.previous = Some(graph.status());
    graph.standing = Standing::Applied;
    assert_eq!(
        condition(&graph.status(), ConditionType::Progressing).1,
        "Creating"
    );
}
