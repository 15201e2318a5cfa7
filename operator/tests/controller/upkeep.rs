//! A graph that has settled is kept as it is asked for, and nothing is written that is already so.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::scene::{
    CONFIG_MAPS, DEPLOYMENTS, EVENTS, GRAPHS, POLICIES, SERVICES, STATEFUL_SETS, condition, is,
    reconciled_again, settled,
};
use crate::support::waiting::until;

#[tokio::test]
async fn a_reconcile_that_changes_nothing_makes_no_request_at_all() {
    let (server, sidecar, _operator) = settled().await;
    reconciled_again(&sidecar).await;
    let before = (server.writes(), server.reads());
    reconciled_again(&sidecar).await;
    assert_eq!((server.writes(), server.reads()), before);
}

#[tokio::test]
async fn constant_writes_of_a_client_are_not_constant_writes_of_the_status() {
    let (server, sidecar, _operator) = settled().await;
    let before = server.writes().len();
    for _ in 0..5 {
        sidecar.seq.fetch_add(1, Ordering::SeqCst);
        reconciled_again(&sidecar).await;
    }
    assert!(
        server.writes().len() <= before + 1,
        "{:?}",
        &server.writes()[before..]
    );
}

#[tokio::test]
async fn what_others_change_of_the_operators_fields_is_changed_back() {
    let (server, sidecar, _operator) = settled().await;
    let right = server.normalized();
    server.edit(DEPLOYMENTS, "g-replica", |object| {
        object["spec"]["replicas"] = 7.into()
    });
    server.edit(CONFIG_MAPS, "g-config", |object| {
        object["data"]["config.yaml"] = "evil".into()
    });
    server.edit(STATEFUL_SETS, "g-writer", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = "evil".into();
    });
    server.delete(SERVICES, "g-read");
    until("all is as before", || {
        (server.normalized() == right).then_some(())
    })
    .await;

    server.edit(SERVICES, "g-read", |object| {
        object["metadata"]["labels"]["theirs"] = "yes".into()
    });
    reconciled_again(&sidecar).await;
    assert_eq!(
        server.get(SERVICES, "g-read").unwrap()["metadata"]["labels"]["theirs"],
        "yes"
    );
}

#[tokio::test]
async fn an_object_that_lost_its_labels_is_still_the_graphs() {
    let (server, _sidecar, _operator) = settled().await;
    server.edit(SERVICES, "g-read", |object| {
        object["metadata"]["labels"] = json!({});
        object["spec"]["selector"] = json!({"app": "evil"});
    });
    until("it is as before", || {
        let service = server.get(SERVICES, "g-read")?;
        let labelled = service["metadata"]["labels"]["slipstream.dev/graph"] == "g";
        (labelled && service["spec"]["selector"]["slipstream.dev/graph"] == "g").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_no_longer_wanted_goes() {
    let (server, _sidecar, _operator) = settled().await;
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["networkPolicy"] = json!({"enabled": true})
    });
    until("the policy is there", || {
        (!server.names(POLICIES).is_empty()).then_some(())
    })
    .await;
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["networkPolicy"] = json!({"enabled": false})
    });
    until("the policy is gone", || {
        server.names(POLICIES).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_changed_cadence_changes_the_config_and_no_pod() {
    let (server, _sidecar, _operator) = settled().await;
    let templates = || {
        [(DEPLOYMENTS, "g-replica"), (STATEFUL_SETS, "g-writer")]
            .map(|(kind, name)| server.get(kind, name).unwrap()["spec"]["template"].clone())
    };
    let before = templates();
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["optimizer"] = json!({"interval": "37m"})
    });
    until("the config has it", || {
        let config = server.get(CONFIG_MAPS, "g-config")?;
        config["data"]["config.yaml"]
            .as_str()?
            .contains("37m")
            .then_some(())
    })
    .await;
    assert_eq!(templates(), before);
}

#[tokio::test]
async fn what_the_pods_report_is_in_the_status_and_written_once() {
    let (server, sidecar, _operator) = settled().await;
    *sidecar.also.lock().unwrap() = json!({
        "store": {"ok": true, "error": null},
        "snapshots": {"last": {"seq": 4, "tx_id": "x", "timestamp": "2026-01-01T00:00:00.123456789Z", "bytes": 77,
            "duration_ms": 9}, "next_due": "2026-01-01T00:15:00Z", "error": null},
        "optimizer": {"last": {"seq": 3, "tx_id": "y", "timestamp": "2026-01-01T00:00:00.5Z", "what": "merged",
            "why": "cadence", "duration_ms": 4}, "freed_bytes": 10, "error": "no room"},
        "settings": {"generation": 1, "error": "unknown field"},
    });
    until("it is in the status", || {
        let status = server.get(GRAPHS, "g")?["status"].clone();
        let is_there = status["lastSnapshot"]["bytes"] == 77
            && status["lastOptimize"]["what"] == "merged"
            && status["store"]["connected"] == true
            && status["nextSnapshot"] == "2026-01-01T00:15:00Z";
        is_there.then_some(())
    })
    .await;
    assert!(is(&server, "g", "Degraded", "True", "ConfigRejected"));
    let message = condition(&server, "g", "Degraded").unwrap()["message"].to_string();
    assert!(
        !message.contains("no room"),
        "told once it failed again: {message}"
    );
    until("the Event is published", || {
        (server.names(EVENTS).len() == 2).then_some(())
    })
    .await;
    let before = server.writes();
    reconciled_again(&sidecar).await;
    assert_eq!(server.writes(), before, "equal status is not written again");
}

#[tokio::test]
async fn a_suspended_graph_is_left_alone_and_says_so_once() {
    let (server, sidecar, _operator) = settled().await;
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["suspend"] = true.into();
        graph["spec"]["replicas"] = 5.into();
    });
    until("it says so", || {
        is(&server, "g", "Progressing", "False", "Suspended").then_some(())
    })
    .await;
    let before = server.writes().len();
    reconciled_again(&sidecar).await;
    assert_eq!(server.writes().len(), before, "{:?}", &server.writes()[before..]);
    assert_eq!(
        server.get(DEPLOYMENTS, "g-replica").unwrap()["spec"]["replicas"],
        0
    );
    server.edit(GRAPHS, "g", |graph| graph["spec"]["suspend"] = false.into());
    until("it goes on", || {
        (server.get(DEPLOYMENTS, "g-replica")?["spec"]["replicas"] == 5).then_some(())
    })
    .await;
}
