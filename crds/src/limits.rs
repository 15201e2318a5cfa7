//! Bounds on a sidecar's memory and threads.
//!
//! Owns: how they follow from pod resources. Does not own: what a process does without them; it then measures its own
//! cgroup. Engine defaults are those of a whole machine, so a pod must never run without bounds.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{self, NANOS};

/// Bounds; each one is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Kuzu's buffer pool, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_pool_bytes: Option<u64>,
    /// Threads of one query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_threads: Option<u32>,
    /// Transactions that may wait at the writer before it answers 429: `spec.writer.queueTransactions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_transactions: Option<u32>,
}

impl Limits {
    /// Bounds of one container: half of its memory limit for the buffer pool (the other half is for batches in flight,
    /// Lance's caches and queries), and as many threads as its CPU limit, rounded up.
    pub fn of(resources: &ResourceRequirements) -> Self {
        let limit = |name: &str| resources.limits.as_ref()?.get(name);
        Self {
            buffer_pool_bytes: limit("memory")
                .and_then(|memory| quantity::bytes(memory).ok())
                .map(|memory| memory / 2),
            query_threads: limit("cpu")
                .and_then(|cpu| quantity::nanos(cpu).ok())
                .map(|cpu| u32::try_from(cpu.div_ceil(NANOS)).unwrap_or(u32::MAX).max(1)),
            queue_transactions: None,
        }
    }
}

/// Bounds of each role: both read one config, and each takes its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoleLimits {
    /// Of the writer.
    pub writer: Limits,
    /// Of each replica.
    pub replica: Limits,
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    fn resources(memory: &str, cpu: &str) -> ResourceRequirements {
        let limits = [("memory", memory), ("cpu", cpu)]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| (name.to_owned(), Quantity(text.to_owned())));
        ResourceRequirements {
            limits: Some(limits.collect()),
            ..ResourceRequirements::default()
        }
    }

    #[test]
    fn a_container_gets_half_its_memory_as_buffer_pool_and_its_cpus_as_threads() {
        let limits = Limits::of(&resources("2Gi", "1500m"));
        assert_eq!(limits.buffer_pool_bytes, Some(1 << 30));
        assert_eq!(limits.query_threads, Some(2));
        assert_eq!(Limits::of(&resources("", "10m")).query_threads, Some(1));
        assert_eq!(Limits::of(&ResourceRequirements::default()), Limits::default());
    }
}
