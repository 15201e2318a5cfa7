//! A deleted graph: what is waited for before it goes, and what does not keep it.

use std::time::Duration;

use serde_json::json;

use crate::scene::{
    ACCOUNTS, DEPLOYMENTS, EVENTS, GRAPHS, JOBS, PODS, STATEFUL_SETS, graph, reconciled_again, settled,
    start_with,
};
use crate::support::api_server::{ApiServer, Kill};
use crate::support::pods;
use crate::support::waiting::until;

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
