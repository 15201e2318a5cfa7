//! Snapshots: taken when due by one replica, kept and removed by the rules, and restored by nodes without a graph.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]
#![expect(clippy::unwrap_used, reason = "what fails fails the test")]

mod snapshots {
    pub(crate) mod scene;

    mod bootstrap;
    mod crashes;
    mod taking;
}
mod support;
