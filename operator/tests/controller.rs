//! The controller whole, against an API server in memory: what it writes, what it leaves alone, and what it makes of a crash.
//! Here, how a resource becomes all its objects; what follows is beside: its upkeep, what is refused, its deletion.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without may panic")]

#[path = "controller/deleting.rs"]
mod deleting;
#[path = "controller/refusals.rs"]
mod refusals;
#[path = "controller/scene.rs"]
mod scene;
mod support;
#[path = "controller/upkeep.rs"]
mod upkeep;

use std::time::Duration;

use scene::{
    ACCOUNTS, CONFIG_MAPS, DEPLOYMENTS, EVENTS, GRAPHS, PODS, SERVICES, STATEFUL_SETS, graph, settled, start,
};
use serde_json::json;
use support::api_server::{ApiServer, Kill};
use support::waiting::until;

#[tokio::test]
async fn one_resource_becomes_all_objects() {
    let (server, _sidecar, _operator) = settled().await;
    assert_eq!(server.names(CONFIG_MAPS), ["g-config"]);
    assert_eq!(
        server.names(SERVICES),
        ["g-read", "g-writer", "g-writer-headless"]
    );
    assert_eq!(server.names(ACCOUNTS), ["g-replica", "g-writer"]);
    assert_eq!(
        server.names("policy/v1/poddisruptionbudgets"),
        ["g-replica", "g-writer"]
    );
    assert_eq!(
        (server.names(DEPLOYMENTS), server.names(STATEFUL_SETS)),
        (vec!["g-replica".to_owned()], vec!["g-writer".to_owned()])
    );
    let resource = server.get(GRAPHS, "g").unwrap();
    assert_eq!(
        resource["metadata"]["finalizers"],
        json!(["slipstream.dev/cleanup"])
    );
    assert_eq!(resource["status"]["head"]["seq"], 5);
    assert_eq!(
        resource["status"]["writer"],
        json!({"epoch": 1, "pod": "g-writer-0", "ready": true})
    );
    let event = server.get(EVENTS, &server.names(EVENTS)[0]).unwrap();
    assert_eq!(
        (event["reason"].as_str(), event["regarding"]["name"].as_str()),
        (Some("Created"), Some("g"))
    );
}

#[tokio::test]
async fn an_operator_that_dies_at_any_write_is_followed_by_one_that_makes_the_same_objects() {
    let reference = ApiServer::new();
    reference.put(GRAPHS, graph("g"));
    let operator = start(&reference, Kill::never(), 1);
    until("the reference has its Event", || {
        (!reference.names(EVENTS).is_empty()).then_some(())
    })
    .await;
    drop(operator);
    let (wanted, writes) = (reference.normalized(), reference.writes().len());
    assert!(
        writes >= 12,
        "finalizer, objects, status, Event: {:?}",
        reference.writes()
    );

    for n in 1..=writes {
        for after in [false, true] {
            let server = ApiServer::new();
            server.put(GRAPHS, graph("g"));
            let kill = Kill::at(i64::try_from(n).unwrap(), after);
            let first = start(&server, kill.clone(), 1);
            until("the first operator dies", || kill.is_dead().then_some(())).await;
            drop(first);
            let _second = start(&server, Kill::never(), 1);
            until(&format!("it converges after write {n}, {after}"), || {
                (server.normalized() == wanted).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn more_graphs_than_are_reconciled_at_a_time_are_all_reconciled_from_the_start() {
    let server = ApiServer::new();
    let names: Vec<_> = (0..40).map(|number| format!("g{number}")).collect();
    for name in &names {
        server.put(GRAPHS, graph(name));
    }
    // As many reconciles as may run are held up by one watch that comes late; each of them must go on after that.
    server.hold(PODS);
    let _operator = start(&server, Kill::never(), 1);
    until("all other watches are filled", || {
        (server.lists() >= 10).then_some(())
    })
    .await;
    let since = std::time::Instant::now();
    let start_time = Duration::from_millis(50);
    until("reconciles have started", || {
        (since.elapsed() > start_time).then_some(())
    })
    .await;
    assert!(
        server.names(STATEFUL_SETS).is_empty(),
        "nothing is decided on half a sight"
    );
    server.release();
    until("all are made", || {
        (server.names(STATEFUL_SETS).len() == names.len()).then_some(())
    })
    .await;
    for name in &names {
        server.edit(GRAPHS, name, |graph| graph["spec"]["replicas"] = 3.into());
    }
    let scaled = |name: &String| {
        let deployment = server.get(DEPLOYMENTS, &format!("{name}-replica"));
        deployment.is_some_and(|deployment| deployment["spec"]["replicas"] == 3)
    };
    until("all are scaled", || names.iter().all(scaled).then_some(())).await;
}
