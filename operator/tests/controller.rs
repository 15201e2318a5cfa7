//! The controller whole, against an API server in memory: what it writes, what it leaves alone, and what it makes of a crash.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without may panic")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use operator::controller::Controller;
use operator::settings::Settings;
use serde_json::{Value, json};
use support::api_server::{ApiServer, Kill};
use support::pods::{self, Sidecar};
use support::waiting::until;
use tokio::task::JoinHandle;

const GRAPHS: &str = "slipstream.dev/v1alpha1/replicatedgraphdbs";
const DEPLOYMENTS: &str = "apps/v1/deployments";
const STATEFUL_SETS: &str = "apps/v1/statefulsets";
const CONFIG_MAPS: &str = "v1/configmaps";
const SERVICES: &str = "v1/services";
const PODS: &str = "v1/pods";
const JOBS: &str = "batch/v1/jobs";
const ACCOUNTS: &str = "v1/serviceaccounts";
const POLICIES: &str = "networking.k8s.io/v1/networkpolicies";
const POD_MONITORS: &str = "monitoring.coreos.com/v1/podmonitors";
const EVENTS: &str = "events.k8s.io/v1/events";

/// A running operator; dropping it ends it at once.
struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn start(server: &ApiServer, kill: Kill, member_port: u16) -> Operator {
    start_with(server, kill, member_port, "docker.io/local/slipstream:1")
}

fn start_with(server: &ApiServer, kill: Kill, member_port: u16, image: &str) -> Operator {
    let settings = Settings {
        sidecar_image: image.to_owned(),
        debounce: Duration::from_millis(1),
        measure_every: Duration::from_millis(20),
        member_timeout: Duration::from_millis(500),
        member_port,
        ..Settings::default()
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let controller = Controller::new(server.client(kill), http, settings, "test".to_owned(), None);
    Operator(tokio::spawn(controller.run(std::future::pending())))
}

fn graph(name: &str) -> Value {
    json!({
        "apiVersion": "slipstream.dev/v1alpha1", "kind": "ReplicatedGraphDB",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "storage": {"uri": format!("s3://graphs/{name}")},
            "schema": {"nodes": [{"name": "Package", "primaryKey": "name", "properties": [{"name": "name", "type": "string"}]}]}
        }
    })
}

/// A graph whose writer's pod answers, reconciled until it is Ready.
async fn settled() -> (ApiServer, Sidecar, Operator) {
    let server = ApiServer::new();
    let sidecar = Sidecar::default();
    sidecar.seq.store(5, Ordering::SeqCst);
    let port = pods::serve(sidecar.clone()).await;
    server.put(GRAPHS, graph("g"));
    server.put(PODS, pods::pod("g", "g-writer-0", "writer"));
    let operator = start(&server, Kill::never(), port);
    until("the graph is ready", || {
        is(&server, "g", "Ready", "True", "Serving").then_some(())
    })
    .await;
    until("the Event is published", || {
        (!server.names(EVENTS).is_empty()).then_some(())
    })
    .await;
    (server, sidecar, operator)
}

fn condition(server: &ApiServer, graph: &str, kind: &str) -> Option<Value> {
    let status = server.get(GRAPHS, graph)?["status"].clone();
    let conditions = status["conditions"].as_array()?.clone();
    conditions.into_iter().find(|condition| condition["type"] == kind)
}

fn is(server: &ApiServer, graph: &str, kind: &str, status: &str, reason: &str) -> bool {
    condition(server, graph, kind).is_some_and(|found| found["status"] == status && found["reason"] == reason)
}

/// Waits until the graph was reconciled a few times more: each asks the sidecar once.
async fn reconciled_again(sidecar: &Sidecar) {
    let before = sidecar.asked();
    until("it is reconciled again", || {
        (sidecar.asked() > before + 5).then_some(())
    })
    .await;
}

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

#[tokio::test]
async fn a_deleted_graph_is_cleaned_up_before_it_goes() {
    let (server, sidecar, operator) = settled().await;
    let port = pods::serve(sidecar.clone()).await;
    server.edit(GRAPHS, "g", |graph| graph["spec"]["suspend"] = true.into());
    // The operator that made it had this image, and the graph kept it.
    until("the image is in the status", || {
        (server.get(GRAPHS, "g")?["status"]["image"] == "docker.io/local/slipstream:1").then_some(())
    })
    .await;
    drop(operator);
    let _operator = start_with(&server, Kill::never(), port, "docker.io/local/slipstream:newer");
    server.delete(GRAPHS, "g");
    until("the workloads go", || {
        (server.names(DEPLOYMENTS).is_empty() && server.names(STATEFUL_SETS).is_empty()).then_some(())
    })
    .await;
    assert!(server.names(JOBS).is_empty(), "a pod is still there");
    server.delete(PODS, "g-writer-0");
    let job = until("the cleaning starts", || server.get(JOBS, "g-cleanup")).await;
    assert_eq!(
        job["spec"]["template"]["spec"]["containers"][0]["image"],
        "docker.io/local/slipstream:1"
    );
    assert!(server.get(GRAPHS, "g").is_some(), "the finalizer holds");
    server.edit(JOBS, "g-cleanup", |job| {
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    });
    until("the graph is gone", || {
        server.get(GRAPHS, "g").is_none().then_some(())
    })
    .await;
    let told = |reason: &str| {
        server
            .names(EVENTS)
            .iter()
            .any(|name| server.get(EVENTS, name).unwrap()["reason"] == reason)
    };
    assert!(told("CleanedUp"));

    // The next graph of this name does not meet the Job of the first.
    server.put(GRAPHS, graph("g"));
    until("the new one is made", || server.get(STATEFUL_SETS, "g-writer")).await;
    assert!(server.names(JOBS).is_empty());
}

/// A deletion with `--cascade=foreground`.
fn delete_in_the_foreground(server: &ApiServer) {
    server.edit(GRAPHS, "g", |graph| {
        let finalizers = graph["metadata"]["finalizers"].as_array_mut().unwrap();
        finalizers.push("foregroundDeletion".into());
    });
    server.delete(GRAPHS, "g");
}

#[tokio::test]
async fn a_deletion_in_the_foreground_leaves_the_job_its_account_until_it_is_done() {
    let (server, sidecar, _operator) = settled().await;
    server.edit(ACCOUNTS, "g-writer", |account| {
        account["metadata"]["annotations"]["cloud.example/role"] = "graphs".into();
    });
    reconciled_again(&sidecar).await;
    delete_in_the_foreground(&server);
    // The garbage collector is not waited for, and comes first or second.
    server.delete(ACCOUNTS, "g-writer");
    let account = |server: &ApiServer| Some(server.get(ACCOUNTS, "g-writer")?["metadata"].clone());
    until("the account stays without an owner", || {
        let account = account(&server)?;
        account["ownerReferences"].is_null().then_some(())
    })
    .await;
    server.delete(PODS, "g-writer-0");
    let job = until("the cleaning starts", || server.get(JOBS, "g-cleanup")).await;
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "g-writer");
    let kept = account(&server).unwrap();
    assert!(kept["ownerReferences"].is_null(), "{kept}");
    assert_eq!(kept["annotations"]["cloud.example/role"], "graphs");

    server.edit(JOBS, "g-cleanup", |job| {
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    });
    until("the finalizer is gone", || {
        (server.get(GRAPHS, "g")?["metadata"]["finalizers"] == json!(["foregroundDeletion"])).then_some(())
    })
    .await;
    let given_back = account(&server).unwrap();
    assert_eq!(
        given_back["ownerReferences"][0]["name"], "g",
        "it goes with the resource"
    );
}

#[tokio::test]
async fn an_account_that_is_refused_does_not_keep_a_graph_from_going() {
    let (server, _sidecar, _operator) = settled().await;
    server.refuse(ACCOUNTS, 422, "no accounts any more");
    delete_in_the_foreground(&server);
    until("the workloads go all the same", || {
        (server.names(DEPLOYMENTS).is_empty() && server.names(STATEFUL_SETS).is_empty()).then_some(())
    })
    .await;
    server.delete(PODS, "g-writer-0");
    until("the finalizer is gone", || {
        (server.get(GRAPHS, "g")?["metadata"]["finalizers"] == json!(["foregroundDeletion"])).then_some(())
    })
    .await;
    let names = server.names(EVENTS);
    let notes: Vec<_> = names
        .iter()
        .map(|name| server.get(EVENTS, name).unwrap()["note"].to_string())
        .collect();
    assert!(
        notes.iter().any(|note| note.contains("no accounts any more")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_deletion_in_the_background_leaves_the_account_to_its_owner() {
    let (server, _sidecar, _operator) = settled().await;
    let before = server.get(ACCOUNTS, "g-writer");
    server.delete(PODS, "g-writer-0");
    server.delete(GRAPHS, "g");
    until("the cleaning starts", || server.get(JOBS, "g-cleanup")).await;
    server.edit(JOBS, "g-cleanup", |job| {
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    });
    until("the graph is gone", || {
        server.get(GRAPHS, "g").is_none().then_some(())
    })
    .await;
    assert_eq!(server.get(ACCOUNTS, "g-writer"), before);
}

#[tokio::test]
async fn a_cleaning_that_fails_is_told_and_holds_nothing() {
    let (server, _sidecar, _operator) = settled().await;
    server.delete(PODS, "g-writer-0");
    server.delete(GRAPHS, "g");
    until("the cleaning starts", || server.get(JOBS, "g-cleanup")).await;
    server.edit(JOBS, "g-cleanup", |job| {
        job["status"] = json!({"conditions": [{"type": "Failed", "status": "True", "message": "no route to the store"}]});
    });
    until("the graph is gone", || {
        server.get(GRAPHS, "g").is_none().then_some(())
    })
    .await;
    let notes: Vec<_> = server
        .names(EVENTS)
        .iter()
        .map(|name| server.get(EVENTS, name).unwrap()["note"].clone())
        .collect();
    assert!(
        notes
            .iter()
            .any(|note| note.as_str().unwrap().contains("no route to the store")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_job_that_deletes_data_is_waited_for_longer_but_not_for_ever() {
    let (server, _sidecar, _operator) = settled().await;
    server.edit(GRAPHS, "g", |graph| {
        graph["spec"]["deletionPolicy"] = "Delete".into()
    });
    server.delete(PODS, "g-writer-0");
    server.delete(GRAPHS, "g");
    until("the cleaning starts", || server.get(JOBS, "g-cleanup")).await;
    server.edit(GRAPHS, "g", |graph| {
        let long_ago = jiff::Timestamp::now() - Duration::from_secs(331);
        graph["metadata"]["deletionTimestamp"] = long_ago.to_string().into();
    });
    until("the graph is gone", || {
        server.get(GRAPHS, "g").is_none().then_some(())
    })
    .await;
    let events = server.names(EVENTS);
    let notes = events
        .iter()
        .map(|name| server.get(EVENTS, name).unwrap()["note"].to_string());
    let notes: Vec<_> = notes.collect();
    assert!(
        notes.iter().any(|note| note.contains("did not end within 330 s")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_namespace_on_its_way_out_is_not_held_up() {
    let (server, _sidecar, _operator) = settled().await;
    server.terminate_namespace();
    server.delete(PODS, "g-writer-0");
    server.delete(GRAPHS, "g");
    until("the graph is gone", || {
        server.get(GRAPHS, "g").is_none().then_some(())
    })
    .await;
    assert!(server.names(JOBS).is_empty());
}
