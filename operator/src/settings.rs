//! What the operator is told on its command line or by its environment.
//!
//! Owns: flags, defaults and the cadence of the controller. Does not own: what a graph asks for (the resource).

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

/// Flags of `slipstream-operator`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Namespace to watch; empty for all.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    pub namespace: String,
    /// Image of the writer, the replicas and the cleanup Job.
    #[arg(long, env = "SLIPSTREAM_SIDECAR_IMAGE")]
    pub sidecar_image: String,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "SLIPSTREAM_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// This pod's name: the holder's name in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "slipstream-operator")]
    pub pod_name: String,
    /// Namespace of the Lease `slipstream-operator`.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub pod_namespace: String,
    /// Graphs reconciled at the same time.
    #[arg(long, env = "SLIPSTREAM_CONCURRENCY", default_value_t = 32)]
    pub concurrency: u16,
}

/// How the controller works; plain values.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace to watch; none for all.
    pub namespace: Option<String>,
    /// Image of every container that the operator makes.
    pub sidecar_image: String,
    /// Graphs reconciled at the same time.
    pub concurrency: u16,
    /// Changes of a graph that come closer together than this are one reconcile.
    pub debounce: Duration,
    /// From one measurement of a graph's members to the next.
    pub measure_every: Duration,
    /// How long a pod has to answer `/v1/status`.
    pub member_timeout: Duration,
    /// Port of `/v1/status`.
    pub member_port: u16,
    /// How long running reconciles may take to end after SIGTERM.
    pub shutdown_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: None,
            sidecar_image: String::new(),
            concurrency: 32,
            debounce: Duration::from_millis(100),
            measure_every: Duration::from_secs(5),
            member_timeout: Duration::from_secs(2),
            member_port: 8080,
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

impl From<&Arguments> for Settings {
    fn from(arguments: &Arguments) -> Self {
        Self {
            namespace: Some(arguments.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            sidecar_image: arguments.sidecar_image.clone(),
            concurrency: arguments.concurrency.max(1),
            ..Self::default()
        }
    }
}
