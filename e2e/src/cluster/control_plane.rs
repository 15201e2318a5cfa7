//! etcd, the API server, the controller manager and the scheduler.

use std::path::Path;

use super::Cluster;
use super::component::Components;
use super::error::ClusterError;
use super::place::{NODE, Place, SERVICES};
use crate::wait::Look;

/// Starts them; the API server answers afterwards.
pub(super) async fn start(cluster: &Cluster, components: &Components<'_>) -> Result<(), ClusterError> {
    let place = &cluster.place;
    components.start("etcd", Path::new("etcd"), &etcd(place))?;
    let api_server = components.start(
        "kube-apiserver",
        &place.tool("kube-apiserver"),
        &api_server(place),
    )?;
    // Both wait for the API server themselves, but at growing intervals.
    api_server.ready(async || answers(cluster).await).await?;
    components.start(
        "kube-controller-manager",
        &place.tool("kube-controller-manager"),
        &controller_manager(place),
    )?;
    components.start("kube-scheduler", &place.tool("kube-scheduler"), &scheduler(place))?;
    Ok(())
}

async fn answers(cluster: &Cluster) -> Look<()> {
    match cluster.kubectl(["get", "--raw=/readyz"]).await {
        Ok(_) => Look::Found(()),
        Err(error) => Look::NotYet(error.to_string()),
    }
}

fn etcd(place: &Place) -> Vec<String> {
    vec![
        format!("--data-dir={}", place.text("etcd")),
        "--log-level=warn".into(),
        "--logger=zap".into(),
    ]
}

fn api_server(place: &Place) -> Vec<String> {
    let key = |name: &str| place.text(&format!("keys/{name}"));
    vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--secure-port=6443".into(),
        "--bind-address=0.0.0.0".into(),
        format!("--advertise-address={NODE}"),
        format!("--tls-cert-file={}", key("api.crt")),
        format!("--tls-private-key-file={}", key("api.key")),
        format!("--client-ca-file={}", key("ca.crt")),
        format!("--token-auth-file={}", key("tokens.csv")),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged=true".into(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", key("accounts.pub")),
        format!("--service-account-signing-key-file={}", key("accounts.key")),
        // Without these, `kubectl exec` and `logs` fail.
        format!("--kubelet-client-certificate={}", key("api-client.crt")),
        format!("--kubelet-client-key={}", key("api-client.key")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        // For API services of others, such as the metrics API.
        format!("--requestheader-client-ca-file={}", key("ca.crt")),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={}", key("api-client.crt")),
        format!("--proxy-client-key-file={}", key("api-client.key")),
    ]
}

fn controller_manager(place: &Place) -> Vec<String> {
    let key = |name: &str| place.text(&format!("keys/{name}"));
    vec![
        format!("--kubeconfig={}", place.kubeconfig().display()),
        "--use-service-account-credentials".into(),
        "--leader-elect=false".into(),
        format!("--service-account-private-key-file={}", key("accounts.key")),
        format!("--root-ca-file={}", key("ca.crt")),
        format!("--cluster-signing-cert-file={}", key("ca.crt")),
        format!("--cluster-signing-key-file={}", key("ca.key")),
        // An autoscaler that acts within a test's patience.
        "--horizontal-pod-autoscaler-sync-period=2s".into(),
        "--horizontal-pod-autoscaler-downscale-stabilization=10s".into(),
        "--horizontal-pod-autoscaler-initial-readiness-delay=1s".into(),
        "--horizontal-pod-autoscaler-cpu-initialization-period=5s".into(),
    ]
}

fn scheduler(place: &Place) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", place.kubeconfig().display()),
        "--leader-elect=false".into(),
    ]
}
