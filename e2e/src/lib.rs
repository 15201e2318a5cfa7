//! Slipstream seen from outside: real processes, real files, the HTTP API; nothing of its code is linked in.
//!
//! ```text
//! bin/demo ─> steps/* ─┬─> local_process ── starts, kills, stops `slipstream local`
//! tests/* ─────────────┼─> client ───────── asks a node over HTTP
//!                      ├─> wait ─────────── conditions with deadlines
//!                      ├─> debian ───────── what the graph must hold
//!                      └─> report ───────── lines and measurements for people
//! bin/torture ─> torture/* ──────────────── writers and replicas of their own, killed and stopped, and a model
//! bin/e2e ──> scenarios/* ─> objects ─────── what the API server says, clients in a loop
//!                      └──> cluster ──────── a real Kubernetes
//! ```

pub mod answers;
pub mod client;
pub mod cluster;
pub mod debian;
pub mod local_process;
pub mod objects;
pub mod ports;
pub mod problem;
pub mod report;
pub mod scenarios;
pub mod server_process;
pub mod servers;
pub mod steps;
pub mod torture;
pub mod wait;
