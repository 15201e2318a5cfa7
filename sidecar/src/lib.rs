//! Slipstream's data plane: one writer commits property-graph transactions to Lance tables on object storage, any number of
//! replicas follow and answer Cypher from a local Kuzu graph.
//!
//! Read `docs/architecture.md` first. The modules in the order of the data's way: [`api`] → [`rows`] → [`writer`] →
//! [`lake`] and [`graph`] → [`commit_log`] and [`events`] → [`replica`] → [`node`] → [`api`].

pub mod api;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod commit_log;
pub mod crash_points;
pub mod events;
pub mod graph;
pub mod ids;
pub mod lake;
pub mod local;
pub mod node;
pub mod optimizer;
pub mod query_guard;
pub mod replica;
pub mod role;
pub mod rows;
pub mod schema;
pub mod scrub;
pub mod settings;
pub mod snapshot;
pub mod store;
#[cfg(feature = "failpoints")]
mod test_settings;
pub mod writer;
