//! What is refused, by the operator or by the API server, is told and holds up nothing else.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::scene::{
    CONFIG_MAPS, DEPLOYMENTS, EVENTS, GRAPHS, POD_MONITORS, POLICIES, SERVICES, STATEFUL_SETS, condition,
    graph, is, reconciled_again, settled, start,
};
use crate::support::api_server::{ApiServer, Kill};
use crate::support::waiting::until;

#[tokio::test]
async fn a_wrong_resource_is_told_and_changes_nothing() {
    let (server, sidecar, _operator) = settled().await;
    let objects = || {
        let mut objects = server.normalized();
        objects.retain(|key, _| key.0 != GRAPHS);
        objects
    };
    let before = objects();
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["snapshots"] = json!({"schedule": "now and then"});
        graph["spec"]["replicas"] = 5.into();
    });
    until("it is told", || {
        is(&server, "g", "Degraded", "True", "InvalidSpec").then_some(())
    })
    .await;
    let message = condition(&server, "g", "Degraded").unwrap()["message"].clone();
    assert!(
        message.as_str().unwrap().contains("spec.snapshots.schedule"),
        "{message}"
    );
    reconciled_again(&sidecar).await;
    assert_eq!(objects(), before);
    assert!(is(&server, "g", "Ready", "True", "Serving"), "the pods serve on");

    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["snapshots"] = json!({"schedule": "0 * * * *"})
    });
    until("it is accepted", || {
        (server.get(DEPLOYMENTS, "g-replica")?["spec"]["replicas"] == 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_malformed_resource_does_not_block_the_others() {
    let server = ApiServer::new();
    let mut malformed = graph("bad");
    malformed["spec"]["writer"] = json!({"podTemplate": {"spec": {"containers": "none"}}});
    server.put(GRAPHS, malformed);
    server.put(GRAPHS, graph("good"));
    let _operator = start(&server, Kill::never(), 1);
    until("the good one is made", || {
        server.get(STATEFUL_SETS, "good-writer")
    })
    .await;
    until("the bad one is told", || {
        is(&server, "bad", "Degraded", "True", "InvalidSpec").then_some(())
    })
    .await;
    let message = condition(&server, "bad", "Degraded").unwrap()["message"].clone();
    assert!(message.as_str().unwrap().contains("podTemplate"), "{message}");
    assert!(server.get(STATEFUL_SETS, "bad-writer").is_none());
    // It can still be deleted: nothing was ever made for it.
    server.delete(GRAPHS, "bad");
    until("the bad one is gone", || {
        server.get(GRAPHS, "bad").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_graph_whose_objects_are_refused_is_measured_and_told_of() {
    let (server, sidecar, _operator) = settled().await;
    server.refuse(DEPLOYMENTS, 403, "exceeded quota: small");
    server.edit(GRAPHS, "g", |graph| graph["spec"]["replicas"] = 3.into());
    until("it is told", || {
        is(&server, "g", "Degraded", "True", "ApplyFailed").then_some(())
    })
    .await;
    assert!(is(&server, "g", "Progressing", "False", "ApplyFailed"));
    assert!(is(&server, "g", "WriterReady", "True", "WriterServing"));
    let message = condition(&server, "g", "Degraded").unwrap()["message"].clone();
    let message = message.as_str().unwrap();
    assert!(
        message.contains("Deployment default/g-replica") && message.contains("exceeded quota"),
        "{message}"
    );
    // The next apply waits for seconds by now; what is measured is still told.
    let applies = || {
        let writes = server.writes();
        writes
            .iter()
            .filter(|write| write.contains("/deployments/"))
            .count()
    };
    let before = applies();
    sidecar.seq.store(9, Ordering::SeqCst);
    until("the head moves on", || {
        (server.get(GRAPHS, "g")?["status"]["head"]["seq"] == 9).then_some(())
    })
    .await;
    for _ in 0..5 {
        reconciled_again(&sidecar).await;
    }
    assert!(applies() <= before + 4, "{} applies", applies() - before);
    server.accept();
    // Changing the resource is no less than what a person does about it: it is applied at once.
    server.edit(GRAPHS, "g", |graph| graph["spec"]["replicas"] = 2.into());
    until("it goes on", || {
        (server.get(DEPLOYMENTS, "g-replica")?["spec"]["replicas"] == 2).then_some(())
    })
    .await;
    until("nothing is wrong", || {
        is(&server, "g", "Degraded", "False", "AsExpected").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_object_does_not_keep_the_others_from_being_put_right() {
    let (server, sidecar, _operator) = settled().await;
    server.refuse(SERVICES, 422, "spec.ports: no");
    server.edit(SERVICES, "g-read", |object| {
        object["spec"]["selector"] = json!({"app": "evil"})
    });
    until("it is told", || {
        is(&server, "g", "Degraded", "True", "ApplyFailed").then_some(())
    })
    .await;
    // By now the refused one waits: the others are not refused, and do not.
    for _ in 0..5 {
        reconciled_again(&sidecar).await;
    }
    for round in 0..3 {
        server.edit(DEPLOYMENTS, "g-replica", |object| {
            object["spec"]["replicas"] = 7.into()
        });
        until(&format!("it is put right, round {round}"), || {
            (server.get(DEPLOYMENTS, "g-replica")?["spec"]["replicas"] == 0).then_some(())
        })
        .await;
    }
    server.edit(GRAPHS, "g", |graph| graph["spec"]["replicas"] = 2.into());
    until("a change is carried out", || {
        (server.get(DEPLOYMENTS, "g-replica")?["spec"]["replicas"] == 2).then_some(())
    })
    .await;
    let message = condition(&server, "g", "Degraded").unwrap()["message"].clone();
    assert!(
        message.as_str().unwrap().contains("Service default/g-read"),
        "{message}"
    );
    server.accept();
    server.edit(GRAPHS, "g", |graph| graph["spec"]["replicas"] = 1.into());
    until("nothing is wrong", || {
        is(&server, "g", "Degraded", "False", "AsExpected").then_some(())
    })
    .await;
    assert_eq!(
        server.get(SERVICES, "g-read").unwrap()["spec"]["selector"]["slipstream.dev/graph"],
        "g"
    );
}

#[tokio::test]
async fn pods_wait_for_a_config_that_is_refused() {
    let (server, _sidecar, _operator) = settled().await;
    server.refuse(CONFIG_MAPS, 403, "no");
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["writer"] = json!({"resources": {"limits": {"memory": "1Gi"}}});
        graph["spec"]["networkPolicy"] = json!({"enabled": true});
    });
    until("what does not need it is made", || server.get(POLICIES, "g")).await;
    until("it is told", || {
        is(&server, "g", "Degraded", "True", "ApplyFailed").then_some(())
    })
    .await;
    let memory = |server: &ApiServer| {
        let writer = server.get(STATEFUL_SETS, "g-writer").unwrap();
        let container = &writer["spec"]["template"]["spec"]["containers"][0];
        container["resources"]["limits"]["memory"].clone()
    };
    assert_eq!(memory(&server), Value::Null);
    server.accept();
    server.edit(GRAPHS, "g", |graph| graph["spec"]["replicas"] = 1.into());
    until("the writer has it", || (memory(&server) == "1Gi").then_some(())).await;
}

#[tokio::test]
async fn what_somebody_else_made_is_not_taken_over() {
    let server = ApiServer::new();
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "g-writer", "labels": {"app": "theirs"}},
        "spec": {"selector": {"app": "theirs"}}
    });
    server.put(SERVICES, theirs);
    let before = server.get(SERVICES, "g-writer");
    server.put(GRAPHS, graph("g"));
    let _operator = start(&server, Kill::never(), 1);
    until("it is told", || {
        is(&server, "g", "Degraded", "True", "ApplyFailed").then_some(())
    })
    .await;
    let message = condition(&server, "g", "Degraded").unwrap()["message"].clone();
    assert!(
        message.as_str().unwrap().contains("Service default/g-writer"),
        "{message}"
    );
    assert_eq!(server.get(SERVICES, "g-writer"), before);
    let told = |reason: &str| {
        let names = server.names(EVENTS);
        let events = names.iter().map(|name| server.get(EVENTS, name).unwrap());
        events.filter(|event| event["reason"] == reason).count()
    };
    until("the Event is published", || (told("Degraded") == 1).then_some(())).await;
    assert_eq!(told("Created"), 0, "not all objects were made");
    server.delete(SERVICES, "g-writer");
    until("the rest is made", || server.get(STATEFUL_SETS, "g-writer")).await;
    until("it is being created", || {
        is(&server, "g", "Progressing", "True", "Creating").then_some(())
    })
    .await;
    until("that is told", || (told("Created") == 1).then_some(())).await;
}

#[tokio::test]
async fn a_kind_that_is_not_installed_any_more_holds_up_nothing() {
    let server = ApiServer::new();
    server.install_pod_monitors(true);
    server.put(GRAPHS, graph("g"));
    let _operator = start(&server, Kill::never(), 1);
    until("the monitor is made", || server.get(POD_MONITORS, "g")).await;
    server.install_pod_monitors(false);
    server.put(GRAPHS, graph("other"));
    until("the next graph is told of", || {
        is(&server, "other", "Progressing", "True", "Creating").then_some(())
    })
    .await;
    server.edit(GRAPHS, "g", |graph| graph["spec"]["replicas"] = 2.into());
    until("the first one is changed", || {
        (server.get(GRAPHS, "g")?["status"]["observedGeneration"]
            == server.get(GRAPHS, "g")?["metadata"]["generation"])
            .then_some(())
    })
    .await;
    for name in ["g", "other"] {
        assert!(is(&server, name, "Degraded", "False", "AsExpected"), "{name}");
    }
}
