//! Harness of the integration tests: a graph in a temporary directory with its writer and replicas ([`cluster`]), a plain
//! in-memory model of what it must hold ([`model`]), and the full content of either engine to compare with it ([`dump`]).
//!
//! Does not own: HTTP and processes. A "process" here is everything that one node holds, dropped and opened again.

#![allow(dead_code, reason = "every test binary uses another part of the harness")]

pub(crate) mod cluster;
pub(crate) mod dump;
pub(crate) mod generator;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod requests;
pub(crate) mod waiting;
