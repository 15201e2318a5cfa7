//! Whether a running cluster does what scenarios rely on; each step says what it saw. Needs images and backends, which it
//! installs, and must run inside the cluster's network.

use std::time::Duration;

use super::error::ClusterError;
use super::{Cluster, images};
use crate::report::{Passed, Report, StepFailed};
use crate::wait::{Look, TimedOut, until_every};

const MANIFEST: &str = include_str!("../../cluster/manifests/check.yaml");
const NAMESPACE: &str = "check";
const WITHIN: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(200);

/// What a look at the cluster met instead of what it should.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error("{what}: expected {expected:?}, found {found:?}")]
    Unexpected {
        what: &'static str,
        expected: &'static str,
        found: String,
    },
    #[error("failed to ask {url}: {source}")]
    Ask { url: String, source: reqwest::Error },
}

/// All steps; what they made is removed again.
///
/// # Errors
/// The first step that did not pass.
pub async fn run(cluster: &Cluster) -> Result<(), StepFailed<CheckError>> {
    let mut report = Report::default();
    report.step("images", install(cluster)).await?;
    report.step("backends", backends(cluster)).await?;
    report.step("pod", pod(cluster)).await?;
    report.step("service", service(cluster)).await?;
    report.step("exec", exec(cluster)).await?;
    report.step("grow", grow(cluster)).await?;
    report.step("remove", remove(cluster)).await
}

async fn install(cluster: &Cluster) -> Result<Passed, CheckError> {
    cluster.install_images().await?;
    Ok(format!(
        "{} and {} imported",
        images::OPERATOR_IMAGE,
        images::SIDECAR_IMAGE
    )
    .into())
}

async fn backends(cluster: &Cluster) -> Result<Passed, CheckError> {
    let backends = cluster.install_backends().await?;
    Ok(format!("{} and {} are ready", backends.s3_endpoint, backends.nats_url).into())
}

/// The pod itself writes to its volume and asks both backends by name.
async fn pod(cluster: &Cluster) -> Result<Passed, CheckError> {
    cluster.apply(MANIFEST).await?;
    cluster.rolled_out(NAMESPACE, "deployment/check").await?;
    let log = until_every(INTERVAL, "the pod to look around", WITHIN, async || match cluster
        .kubectl(["logs", "--namespace", NAMESPACE, "deployment/check"])
        .await
    {
        Ok(log) if log.contains("looked") => Look::Found(log),
        Ok(log) => Look::NotYet(log),
        Err(error) => Look::NotYet(error.to_string()),
    });
    let log = log.await?;
    for expected in ["s3: HTTP/1.0 200 OK", "nats: INFO {"] {
        if !log.contains(expected) && !log.contains(&expected.replace("1.0", "1.1")) {
            return Err(CheckError::Unexpected {
                what: "the pod's log",
                expected,
                found: log,
            });
        }
    }
    Ok(
        "runs without rights on a volume of its own; names resolve, services answer"
            .to_owned()
            .into(),
    )
}

/// From the node, by the Service's address.
async fn service(cluster: &Cluster) -> Result<Passed, CheckError> {
    let address = cluster.service_address("backends", "s3").await?;
    let url = format!("http://{address}:7070/health");
    let asked = reqwest::get(&url)
        .await
        .and_then(reqwest::Response::error_for_status);
    asked.map_err(|source| CheckError::Ask {
        url: url.clone(),
        source,
    })?;
    let client = cluster.client().await?;
    let version = client
        .apiserver_version()
        .await
        .map_err(|error| ClusterError::Client(error.to_string()))?;
    Ok(format!(
        "{url} answers this process; so does the API server, {}",
        version.git_version
    )
    .into())
}

async fn exec(cluster: &Cluster) -> Result<Passed, CheckError> {
    let args = [
        "exec",
        "--namespace",
        NAMESPACE,
        "deployment/check",
        "--",
        "cat",
        "/data/file",
    ];
    let found = cluster.kubectl(args).await?;
    let expected = "written by 65532";
    if found.trim() != expected {
        return Err(CheckError::Unexpected {
            what: "the file on the volume",
            expected,
            found,
        });
    }
    Ok("a command in the pod reads what the pod wrote".to_owned().into())
}

async fn grow(cluster: &Cluster) -> Result<Passed, CheckError> {
    let patch = r#"{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}"#;
    cluster
        .kubectl(["patch", "pvc", "data", "--namespace", NAMESPACE, "--patch", patch])
        .await?;
    let capacity = [
        "get",
        "pvc",
        "data",
        "--namespace",
        NAMESPACE,
        "-o",
        "jsonpath={.status.capacity.storage}",
    ];
    let grown = until_every(INTERVAL, "the claim to grow", WITHIN, async || {
        match cluster.kubectl(capacity).await {
            Ok(size) if size == "2Gi" => Look::Found(()),
            Ok(size) => Look::NotYet(size),
            Err(error) => Look::NotYet(error.to_string()),
        }
    });
    grown.await?;
    Ok("a claim of 1Gi became one of 2Gi".to_owned().into())
}

async fn remove(cluster: &Cluster) -> Result<Passed, CheckError> {
    cluster
        .kubectl(["delete", "namespace", NAMESPACE, "--timeout=60s"])
        .await?;
    let volumes = ["get", "persistentvolumes", "-o", "name"];
    let gone = until_every(INTERVAL, "the volume to go", WITHIN, async || {
        match cluster.kubectl(volumes).await {
            Ok(left) if left.is_empty() => Look::Found(()),
            Ok(left) => Look::NotYet(left),
            Err(error) => Look::NotYet(error.to_string()),
        }
    });
    gone.await?;
    Ok("the namespace is gone, and its volume with it".to_owned().into())
}
