//! The node: containerd with its pod network, kubelet, kube-proxy.

use std::path::Path;

use super::Cluster;
use super::command::{command, output};
use super::component::Components;
use super::error::{ClusterError, failed};
use super::image_archive::OneLayerImage;
use super::images;
use super::place::{DNS_SERVICE, NODE, NODE_NAME, PODS, Place};
use crate::wait::Look;

const PAUSE_IMAGE: &str = "docker.io/local/pause:e2e";
const PAUSE_SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/images/pause.c");

/// Starts containerd and gives it the image that every pod needs.
pub(super) async fn start_runtime(
    cluster: &Cluster,
    components: &Components<'_>,
) -> Result<(), ClusterError> {
    let place = &cluster.place;
    write(&place.state.join("containerd.toml"), &containerd(place))?;
    write(&place.state.join("cni/10-pods.conflist"), &pod_network(place))?;
    let runtime = components.start(
        "containerd",
        Path::new("containerd"),
        &["--config".into(), place.text("containerd.toml")],
    )?;
    runtime
        .ready(async || match output(images::ctr(place).arg("version")).await {
            Ok(_) => Look::Found(()),
            Err(error) => Look::NotYet(error.to_string()),
        })
        .await?;
    images::import(place, &pause_image(place).await?).await
}

/// Starts kubelet and kube-proxy; the node is ready afterwards.
pub(super) async fn join(cluster: &Cluster, components: &Components<'_>) -> Result<(), ClusterError> {
    let place = &cluster.place;
    // Pods inherit nothing of the machine's own name servers.
    write(&place.state.join("resolv.conf"), "")?;
    write(&place.state.join("kubelet.yaml"), &kubelet(place))?;
    let kubeconfig = format!("--kubeconfig={}", place.kubeconfig().display());
    let hostname = format!("--hostname-override={NODE_NAME}");
    let kubelet = components.start(
        "kubelet",
        &place.tool("kubelet"),
        &[
            format!("--config={}", place.text("kubelet.yaml")),
            kubeconfig.clone(),
            format!("--root-dir={}", place.text("kubelet")),
            format!("--node-ip={NODE}"),
            hostname.clone(),
        ],
    )?;
    components.start(
        "kube-proxy",
        &place.tool("kube-proxy"),
        &[
            kubeconfig,
            hostname,
            "--proxy-mode=iptables".into(),
            format!("--cluster-cidr={PODS}"),
            // The limit belongs to the whole machine.
            "--conntrack-max-per-core=0".into(),
        ],
    )?;
    kubelet.ready(async || is_ready(cluster).await).await
}

async fn is_ready(cluster: &Cluster) -> Look<()> {
    let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
    let seen = match cluster.kubectl(["get", "node", NODE_NAME, "-o", condition]).await {
        Ok(ready) if ready.contains(r#""status":"True""#) => return Look::Found(()),
        Ok(condition) => condition,
        Err(error) => error.to_string(),
    };
    Look::NotYet(seen)
}

/// Compiled statically, once per machine.
async fn pause_image(place: &Place) -> Result<std::path::PathBuf, ClusterError> {
    let program = place.images().join("pause");
    if !program.exists() {
        let mut compiler = command("cc");
        compiler
            .args(["-static", "-O1", "-o"])
            .arg(&program)
            .arg(PAUSE_SOURCE);
        output(&mut compiler).await?;
    }
    OneLayerImage::of_program(PAUSE_IMAGE, &program)
        .archive(place)
        .await
}

fn containerd(place: &Place) -> String {
    let text = |name: &str| place.text(name);
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Mounts of pods' networks are found, and removed, with everything else in the state directory.
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE, runc could not lower the score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"#,
        root = text("containerd"),
        state = text("containerd-state"),
        socket = place.containerd_socket().display(),
        opt = text("containerd-opt"),
        cni = text("cni"),
    )
}

fn pod_network(place: &Place) -> String {
    let addresses = place.text("cni-addresses");
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{PODS}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}], "dataDir": "{addresses}"}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"#
    )
}

fn kubelet(place: &Place) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: "{authority}"}}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
# Another kubelet on this machine must not take our pods for orphans.
cgroupRoot: /{name}
containerRuntimeEndpoint: "unix://{socket}"
clusterDNS: [{DNS_SERVICE}]
clusterDomain: cluster.local
podLogsDir: "{pod_logs}"
volumePluginDir: "{plugins}"
resolvConf: "{resolv}"
failSwapOn: false
# Changed ConfigMaps reach pods in seconds, not in a minute.
syncFrequency: 2s
evictionHard: {{memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
"#,
        authority = place.text("keys/ca.crt"),
        name = place.name(),
        socket = place.containerd_socket().display(),
        pod_logs = place.text("pod-logs"),
        plugins = place.text("volume-plugins"),
        resolv = place.text("resolv.conf"),
    )
}

fn write(path: &Path, text: &str) -> Result<(), ClusterError> {
    std::fs::write(path, text).map_err(failed(format!("write {}", path.display())))
}
