//! The commit that a database holds, stored in the same Kuzu transaction as the data.
//!
//! `SystemMetadata(table_name, lance_version)` has one row per table; `Watermark` has one row with the commit itself and the
//! schema, so that a database can be understood without the log.

use chrono::{DateTime, Utc};
use kuzu::{Connection, Value};

use super::GraphError;
use super::statement::Statements;
use crate::commit_log::{CommitRecord, Position, VersionMap};
use crate::ids::{Epoch, LanceVersion, Seq, TxId};
use crate::lake::ManifestDigests;
use crate::schema::Schema;

/// DDL of the two system tables.
pub(super) const DDL: [&str; 2] = [
    "CREATE NODE TABLE SystemMetadata (table_name STRING, lance_version INT64, PRIMARY KEY (table_name))",
    "CREATE NODE TABLE Watermark (id INT64, position STRING, schema STRING, PRIMARY KEY (id))",
];

/// The commit that a local graph holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    pub position: Position,
    pub epoch: Epoch,
    pub timestamp: DateTime<Utc>,
    pub schema_version: Seq,
    /// The resource's schema at `schema_version`.
    pub graph_schema: crds::GraphSchema,
    pub tables: VersionMap,
    /// What the manifests of those versions say, where a commit record told.
    pub manifests: ManifestDigests,
}

/// The JSON in `Watermark.position`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    seq: Seq,
    tx_id: TxId,
    epoch: Epoch,
    timestamp: DateTime<Utc>,
    schema_version: Seq,
}

impl Watermark {
    /// What a node holds once it holds `record`, whose schema is `schema`.
    pub fn of(record: &CommitRecord, schema: &crds::GraphSchema) -> Self {
        Self {
            position: record.position(),
            epoch: record.epoch,
            timestamp: record.timestamp,
            schema_version: record.schema_version,
            graph_schema: schema.clone(),
            tables: record.tables.clone(),
            manifests: record.manifests.clone(),
        }
    }

    /// The schema in the form that the sidecar works with.
    pub fn schema(&self) -> Result<Schema, GraphError> {
        Schema::new(&self.graph_schema).map_err(|error| unreadable(&error))
    }
}

/// Reads the watermark; `None` in a database that was never finished.
pub(super) fn read(connection: &Connection<'_>) -> Result<Option<Watermark>, GraphError> {
    let doing = "read the watermark";
    let query = |text: &str| connection.query(text).map_err(GraphError::engine(doing));
    // In a database whose build was cut off the tables may be missing, which the engine reports as an error.
    let tables: Vec<String> = query("CALL show_tables() RETURN name")?
        .filter_map(|row| match row.into_iter().next() {
            Some(Value::String(name)) => Some(name),
            _ => None,
        })
        .collect();
    if !["Watermark", "SystemMetadata"]
        .iter()
        .all(|name| tables.iter().any(|table| table == name))
    {
        return Ok(None);
    }
    let Some(row) = query("MATCH (w:Watermark {id: 0}) RETURN w.position, w.schema")?.next() else {
        return Ok(None);
    };
    let [Value::String(position), Value::String(schema)] = row.as_slice() else {
        return Err(unreadable(&format!("{row:?}")));
    };
    let stored: Stored = serde_json::from_str(position).map_err(|error| unreadable(&error))?;
    let graph_schema = serde_json::from_str(schema).map_err(|error| unreadable(&error))?;
    let mut versions = VersionMap::default();
    for row in query("MATCH (s:SystemMetadata) RETURN s.table_name, s.lance_version")? {
        let [Value::String(table), Value::Int64(version)] = row.as_slice() else {
            return Err(unreadable(&format!("{row:?}")));
        };
        versions.set(
            table,
            LanceVersion(u64::try_from(*version).map_err(|error| unreadable(&error))?),
        );
    }
    Ok(Some(Watermark {
        position: Position {
            seq: stored.seq,
            tx_id: stored.tx_id,
        },
        epoch: stored.epoch,
        timestamp: stored.timestamp,
        schema_version: stored.schema_version,
        graph_schema,
        tables: versions,
        manifests: ManifestDigests::default(),
    }))
}

/// Writes the first watermark of a database, inside the caller's transaction.
pub(super) fn create(statements: &mut Statements<'_, '_>, watermark: &Watermark) -> Result<(), GraphError> {
    let schema = serde_json::to_string(&watermark.graph_schema)
        .map_err(|error| GraphError::Rows(error.to_string()))?;
    statements.run(
        "CREATE (:Watermark {id: 0, position: $p_position, schema: $p_schema})",
        vec![
            ("p_position", position_of(watermark)?),
            ("p_schema", Value::String(schema)),
        ],
    )?;
    for (table, version) in watermark.tables.iter() {
        statements.run(
            "CREATE (:SystemMetadata {table_name: $p_table, lance_version: $p_version})",
            vec![
                ("p_table", Value::String(table.to_owned())),
                ("p_version", version_of(version)?),
            ],
        )?;
    }
    Ok(())
}

/// Moves the watermark from one commit to a later one of the same schema, inside the caller's transaction.
pub(super) fn advance(
    statements: &mut Statements<'_, '_>,
    from: &Watermark,
    to: &Watermark,
) -> Result<(), GraphError> {
    let moved = statements.count(
        "MATCH (w:Watermark {id: 0}) SET w.position = $p_position RETURN count(*)",
        vec![("p_position", position_of(to)?)],
    )?;
    expect_one(moved, "Watermark", "the watermark")?;
    for (table, version) in to
        .tables
        .iter()
        .filter(|(table, version)| from.tables.get(table) != Some(*version))
    {
        let moved = statements.count(
            "MATCH (s:SystemMetadata {table_name: $p_table}) SET s.lance_version = $p_version RETURN count(*)",
            vec![
                ("p_table", Value::String(table.to_owned())),
                ("p_version", version_of(version)?),
            ],
        )?;
        expect_one(moved, "SystemMetadata", table)?;
    }
    Ok(())
}

fn position_of(watermark: &Watermark) -> Result<Value, GraphError> {
    let stored = Stored {
        seq: watermark.position.seq,
        tx_id: watermark.position.tx_id,
        epoch: watermark.epoch,
        timestamp: watermark.timestamp,
        schema_version: watermark.schema_version,
    };
    serde_json::to_string(&stored)
        .map(Value::String)
        .map_err(|error| GraphError::Rows(error.to_string()))
}

fn version_of(version: LanceVersion) -> Result<Value, GraphError> {
    i64::try_from(version.0)
        .map(Value::Int64)
        .map_err(|error| GraphError::Rows(error.to_string()))
}

fn expect_one(found: u64, table: &str, row: &str) -> Result<(), GraphError> {
    if found == 1 {
        return Ok(());
    }
    Err(GraphError::Diverged {
        table: table.to_owned(),
        detail: format!("found {found} rows for {row}, expected one"),
    })
}

fn unreadable(detail: &dyn std::fmt::Display) -> GraphError {
    GraphError::Engine {
        doing: "read the watermark".to_owned(),
        detail: detail.to_string(),
    }
}
