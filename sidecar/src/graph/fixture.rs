//! A small graph for tests that need any.

use std::path::Path;
use std::sync::Arc;

use super::statement::Statements;
use super::{EngineLimits, Graph, Watermark, watermark};
use crate::commit_log::{Position, VersionMap};
use crate::ids::{Epoch, Seq, TxId};
use crate::schema::Schema;

pub(crate) const LIMITS: EngineLimits = EngineLimits {
    buffer_pool_bytes: 64 << 20,
    threads: 2,
    max_database_bytes: 1 << 32,
    outgrown_from_bytes: 64 << 20,
};

/// A graph of no tables at commit 1, in `directory`, which is made.
pub(crate) fn graph_at_commit_1(directory: &Path) -> Graph {
    let graph = Graph::open_database(directory, Arc::new(Schema::empty()), LIMITS).unwrap();
    let held = Watermark {
        position: Position {
            seq: Seq(1),
            tx_id: TxId::default(),
        },
        epoch: Epoch(1),
        timestamp: chrono::DateTime::UNIX_EPOCH,
        schema_version: Seq(1),
        graph_schema: crds::GraphSchema {
            nodes: Vec::new(),
            edges: Vec::new(),
        },
        tables: VersionMap::default(),
        manifests: Default::default(),
    };
    {
        let connection = graph.connect().unwrap();
        let mut statements = Statements::new(&connection);
        for ddl in watermark::DDL {
            statements.execute(ddl).unwrap();
        }
        watermark::create(&mut statements, &held).unwrap();
    }
    graph
}
