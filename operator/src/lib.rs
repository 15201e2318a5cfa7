//! The operator: from one `ReplicatedGraphDB` to the objects of a graph, and to a status a person can trust.
//!
//! Flow, one stage a file: `observe` → [`validate`] → [`desired`] → `apply` → `status`; [`controller`] ties them together, `act`
//! and `retry` decide whether there is an apply at all.
//! Reads come from `watched`, writes go through `writes`; `members` asks the pods, `waiting` reads why one does not run; `finalize` ends
//! a graph.

mod act;
mod apply;
mod basis;
pub mod controller;
pub mod desired;
mod drift;
pub mod error;
mod events;
pub mod finalize;
mod finish;
mod followed;
pub mod health;
pub mod leader;
pub mod members;
pub mod metrics;
mod observe;
mod patience;
pub mod probe;
mod report;
pub mod reports;
mod retry;
pub mod settings;
mod snapshot_watch;
mod status;
pub mod validate;
mod waiting;
pub mod watched;
pub mod writes;
