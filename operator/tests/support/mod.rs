//! A cluster small enough for a test: an API server in memory, and pods that answer.

pub(crate) mod api_server;
pub(crate) mod merge;
pub(crate) mod pods;
pub(crate) mod waiting;
