//! Users' Cypher in read-only transactions, each answer tied to the commit it was computed at.
//!
//! The statement was allowed by `query_guard` before; the engine's own opinion (`is_read_only`) and the read-only transaction
//! are the second and third wall.
//!
//! The engine computes an answer to its end before it gives the first row. Only so long is the query inside the [`gate`]; what
//! is sent then is the engine's own copy, which no checkpoint touches, and a client may take its time.
//!
//! [`gate`]: super::gate

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, TimeUnit};
use kuzu::{Connection, LogicalType, QueryResult};
use tokio::sync::mpsc;

use super::{Graph, GraphError, Watermark, value, watermark};
use crate::schema::ROW_ID;

/// Rows per message to the consumer.
const BATCH_ROWS: usize = 256;
/// Of the thread that may have to interrupt a query, and does nothing else.
const WATCHER_STACK: usize = 128 << 10;

/// One value of an answer, in its JSON form.
pub type Cell = serde_json::Value;

/// A query that passed the guard.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    pub text: String,
    pub parameters: serde_json::Map<String, serde_json::Value>,
    pub timeout: Duration,
    /// Rows after which the answer is cut off and marked as truncated.
    pub limit: u64,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueryColumn {
    pub name: String,
    /// The engine's name of the type, such as `INT64` or `STRING[]`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What the column is in an Arrow answer; nested graph values are JSON text there.
    #[serde(skip)]
    pub arrow: DataType,
}

/// What an answer begins with.
#[derive(Debug, Clone)]
pub struct QueryHead {
    pub columns: Vec<QueryColumn>,
    /// The commit that the answer is computed at.
    pub watermark: Watermark,
}

/// A piece of an answer, in order: one head, rows, one end.
#[derive(Debug)]
pub enum QueryEvent {
    Head(Box<QueryHead>),
    Rows(Vec<Vec<Cell>>),
    End { truncated: bool },
}

impl Graph {
    /// Runs a query and sends its answer in pieces; a consumer that goes away ends it. Blocks.
    ///
    /// # Errors
    /// [`GraphError::Query`] for the user's mistakes, [`GraphError::Timeout`], [`GraphError::GaveWay`]; the graph itself is
    /// never in doubt after a read.
    pub fn query(&self, request: &QueryRequest, events: &mpsc::Sender<QueryEvent>) -> Result<(), GraphError> {
        let (watermark, result) = self.compute(request)?;
        send(watermark, result, request.limit, events);
        Ok(())
    }

    /// The whole answer and the commit that it is computed at.
    fn compute(&self, request: &QueryRequest) -> Result<(Watermark, QueryResult<'_>), GraphError> {
        // Declared first, left last: dropping the connection may end the transaction.
        let reading = self.gate.enter();
        let connection = self.connect()?;
        connection.set_query_timeout(
            u64::try_from(request.timeout.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
        );
        let (gate, number, watched) = (&self.gate, reading.number(), &connection);
        let computed = std::thread::scope(|scope| {
            // Ends the watcher, without which the scope does not end, also when the engine's glue panics.
            let _watched = reading.watched();
            // All that the interrupt can say is that the database is closed.
            let watch = move || gate.watch(number, || drop(watched.interrupt()));
            std::thread::Builder::new()
                .name("query-watch".to_owned())
                .stack_size(WATCHER_STACK)
                .spawn_scoped(scope, watch)
                .map_err(|error| GraphError::Engine {
                    doing: "watch a query".to_owned(),
                    detail: error.to_string(),
                })?;
            compute_on(&connection, request)
        });
        match computed {
            // Whichever statement the interrupt met.
            Err(_) if reading.is_to_end() => Err(GraphError::GaveWay),
            computed => computed,
        }
    }
}

/// Runs the query in a transaction of its own.
fn compute_on<'db>(
    connection: &Connection<'db>,
    request: &QueryRequest,
) -> Result<(Watermark, QueryResult<'db>), GraphError> {
    connection
        .query("BEGIN TRANSACTION READ ONLY")
        .map_err(GraphError::engine("begin a read"))?;
    let computed = compute_in_transaction(connection, request);
    // Ends the transaction also after an error; where the engine has ended it already, its complaint changes nothing.
    let _ = connection.query("ROLLBACK");
    computed
}

fn compute_in_transaction<'db>(
    connection: &Connection<'db>,
    request: &QueryRequest,
) -> Result<(Watermark, QueryResult<'db>), GraphError> {
    let watermark = watermark::read(connection)?.ok_or_else(|| GraphError::Engine {
        doing: "query".to_owned(),
        detail: "the graph has no watermark".to_owned(),
    })?;
    let failed = |error: kuzu::Error| query_error(&error, request.timeout);
    let mut statement = connection.prepare(&request.text).map_err(failed)?;
    if !statement.is_read_only() {
        return Err(GraphError::Query(
            "the statement would change the graph".to_owned(),
        ));
    }
    let parameters: Vec<(&str, kuzu::Value)> = request
        .parameters
        .iter()
        .map(|(name, value)| Ok((name.as_str(), value::from_json(name, value)?)))
        .collect::<Result<_, GraphError>>()?;
    let result = connection.execute(&mut statement, parameters).map_err(failed)?;
    Ok((watermark, result))
}

/// Sends an answer in pieces, until it ends or nobody listens any more.
fn send(watermark: Watermark, result: QueryResult<'_>, limit: u64, events: &mpsc::Sender<QueryEvent>) {
    // `RETURN n.*` would bring the hidden row id along.
    let names = result.get_column_names();
    let shown: Vec<usize> = (0..names.len())
        .filter(|index| !is_hidden(&names[*index]))
        .collect();
    let types = result.get_column_data_types();
    let columns = shown
        .iter()
        .map(|index| QueryColumn {
            name: names[*index].clone(),
            type_name: type_name(&types[*index]),
            arrow: arrow_type(&types[*index]),
        })
        .collect();
    if events
        .blocking_send(QueryEvent::Head(Box::new(QueryHead { columns, watermark })))
        .is_err()
    {
        return;
    }
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut truncated = false;
    for (sent, row) in (0..).zip(result) {
        if sent == limit {
            truncated = true;
            break;
        }
        let cells = row
            .into_iter()
            .enumerate()
            .filter(|(index, _)| shown.contains(index));
        batch.push(cells.map(|(_, cell)| value::to_json(cell)).collect());
        if batch.len() == BATCH_ROWS
            && events
                .blocking_send(QueryEvent::Rows(std::mem::take(&mut batch)))
                .is_err()
        {
            return;
        }
    }
    if !batch.is_empty() && events.blocking_send(QueryEvent::Rows(batch)).is_err() {
        return;
    }
    // When nobody listens any more, nobody misses it.
    let _ = events.blocking_send(QueryEvent::End { truncated });
}

fn is_hidden(column: &str) -> bool {
    column == ROW_ID || column.ends_with(&format!(".{ROW_ID}"))
}

fn query_error(error: &kuzu::Error, timeout: Duration) -> GraphError {
    let text = error.to_string();
    // The engine has no error codes; this is its word for both timeout and interrupt.
    if text.contains("Interrupted") {
        return GraphError::Timeout {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
    }
    GraphError::Query(text.trim_start_matches("Query execution failed: ").to_owned())
}

fn type_name(logical: &LogicalType) -> String {
    match logical {
        LogicalType::List { child_type } => format!("{}[]", type_name(child_type)),
        LogicalType::Array {
            child_type,
            num_elements,
        } => format!("{}[{num_elements}]", type_name(child_type)),
        LogicalType::Struct { fields } => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, field)| format!("{name} {}", type_name(field)))
                .collect();
            format!("STRUCT({})", fields.join(", "))
        }
        LogicalType::Map { key_type, value_type } => {
            format!("MAP({}, {})", type_name(key_type), type_name(value_type))
        }
        LogicalType::Union { .. } => "UNION".to_owned(),
        LogicalType::Decimal { precision, scale } => format!("DECIMAL({precision}, {scale})"),
        LogicalType::TimestampTz => "TIMESTAMP_TZ".to_owned(),
        LogicalType::TimestampNs => "TIMESTAMP_NS".to_owned(),
        LogicalType::TimestampMs => "TIMESTAMP_MS".to_owned(),
        LogicalType::TimestampSec => "TIMESTAMP_SEC".to_owned(),
        LogicalType::InternalID => "INTERNAL_ID".to_owned(),
        LogicalType::RecursiveRel => "RECURSIVE_REL".to_owned(),
        plain => format!("{plain:?}").to_uppercase(),
    }
}

fn arrow_type(logical: &LogicalType) -> DataType {
    match logical {
        LogicalType::Bool => DataType::Boolean,
        LogicalType::Int64
        | LogicalType::Int32
        | LogicalType::Int16
        | LogicalType::Int8
        | LogicalType::Serial
        | LogicalType::UInt32
        | LogicalType::UInt16
        | LogicalType::UInt8 => DataType::Int64,
        LogicalType::UInt64 => DataType::UInt64,
        LogicalType::Double | LogicalType::Float => DataType::Float64,
        LogicalType::Date => DataType::Date32,
        LogicalType::Timestamp
        | LogicalType::TimestampTz
        | LogicalType::TimestampNs
        | LogicalType::TimestampMs
        | LogicalType::TimestampSec => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        LogicalType::Blob => DataType::Binary,
        LogicalType::List { child_type } if is_scalar(child_type) => {
            DataType::List(Arc::new(Field::new("item", arrow_type(child_type), true)))
        }
        _ => DataType::Utf8,
    }
}

fn is_scalar(logical: &LogicalType) -> bool {
    matches!(
        logical,
        LogicalType::Bool
            | LogicalType::Int64
            | LogicalType::Double
            | LogicalType::String
            | LogicalType::Date
            | LogicalType::Timestamp
            | LogicalType::Blob
    )
}

#[cfg(test)]
mod tests;
