//! CoreDNS, so that services have names.

use super::error::ClusterError;
use super::{Cluster, images};

const MANIFEST: &str = include_str!("../../cluster/manifests/coredns.yaml");

/// Starts it; names resolve afterwards.
pub(super) async fn install(cluster: &Cluster) -> Result<(), ClusterError> {
    images::import_tool(&cluster.place, "docker.io/local/coredns:e2e", "coredns").await?;
    cluster.apply(MANIFEST).await?;
    cluster.rolled_out("kube-system", "deployment/coredns").await
}

#[cfg(test)]
mod tests {
    use super::super::place::DNS_SERVICE;

    #[test]
    fn pods_ask_where_the_service_is() {
        assert!(super::MANIFEST.contains(&format!("clusterIP: {DNS_SERVICE}\n")));
    }
}
