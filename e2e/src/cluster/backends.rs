//! A real S3 server (versitygw) and a real NATS server as pods, and the Secrets by which graphs reach them.

use super::error::{ClusterError, failed};
use super::{Cluster, images};

const MANIFEST: &str = include_str!("../../cluster/manifests/backends.yaml");
/// The namespace of those that all graphs share.
pub(super) const SHARED: &str = "backends";
const BUCKET: &str = "graphs";
const ACCESS_KEY: &str = "slipstream";
const SECRET_KEY: &str = "only-for-tests";

/// Where the backends are, for pods. Processes inside the cluster's network find the same services by
/// [`Cluster::service_address`].
#[derive(Debug, Clone)]
pub struct Backends {
    /// `http://s3.<namespace>.svc:7070`; path style.
    pub s3_endpoint: String,
    /// A bucket that exists: `graphs`.
    pub bucket: String,
    pub s3_access_key: String,
    pub s3_secret_key: String,
    /// `nats://nats.<namespace>.svc:4222`, with JetStream; asks for no credentials.
    pub nats_url: String,
}

impl Backends {
    /// Makes the Secrets `s3` (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and `nats` (empty: the server asks for nothing)
    /// that graphs in `namespace` name as `credentialsSecretRef`.
    ///
    /// # Errors
    /// When the namespace does not exist.
    pub async fn add_secrets(&self, cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
        let manifest = format!(
            r#"apiVersion: v1
kind: Secret
metadata: {{name: s3, namespace: "{namespace}"}}
stringData: {{AWS_ACCESS_KEY_ID: "{}", AWS_SECRET_ACCESS_KEY: "{}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: nats, namespace: "{namespace}"}}
"#,
            self.s3_access_key, self.s3_secret_key
        );
        cluster.apply(&manifest).await.map(drop)
    }
}

/// Starts both in `namespace`, which is made, unless they run. Those of two namespaces share nothing.
pub(super) async fn install(cluster: &Cluster, namespace: &str) -> Result<Backends, ClusterError> {
    let place = &cluster.place;
    let data = place.state.join("s3").join(namespace);
    let bucket = data.join(BUCKET);
    std::fs::create_dir_all(&bucket).map_err(failed(format!("make {}", bucket.display())))?;
    images::import_tool(place, "docker.io/local/versitygw:e2e", "versitygw").await?;
    images::import_system_program(place, "docker.io/local/nats-server:e2e", "nats-server").await?;
    let manifest = MANIFEST
        .replace("@NAMESPACE@", namespace)
        .replace("@S3@", &data.display().to_string())
        .replace("@ACCESS_KEY@", ACCESS_KEY)
        .replace("@SECRET_KEY@", SECRET_KEY);
    cluster.apply(&manifest).await?;
    cluster.rolled_out(namespace, "deployment/s3").await?;
    cluster.rolled_out(namespace, "deployment/nats").await?;
    Ok(Backends {
        s3_endpoint: format!("http://s3.{namespace}.svc:7070"),
        bucket: BUCKET.to_owned(),
        s3_access_key: ACCESS_KEY.to_owned(),
        s3_secret_key: SECRET_KEY.to_owned(),
        nats_url: format!("nats://nats.{namespace}.svc:4222"),
    })
}
