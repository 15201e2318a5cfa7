//! The digest of every table of the graph at one commit: what a scrub compares with Lance.
//!
//! Flow: one read-only transaction -> the watermark in it -> per table, pages of rows -> hash. Edges are read twice, once from
//! each end, because the engine keeps them twice.
//!
//! Pages, because the engine collects an answer before it gives the first row: nodes by ranges of the row id, where the
//! engine's statistics leave out what lies outside; edges by ranges of their first node's place in its table, which also makes
//! the engine start at that end. Each page is counted first, so that its size is bounded whatever the distribution; an edge
//! table's page that is one node is cut by row id. A page holds about [`PAGE_BYTES`].
//!
//! The transaction makes all of it one commit, however many come meanwhile. It keeps checkpoints waiting (`gate`), so it gives
//! way to one that will not be put off any longer: then nothing was found out, and the caller begins again.

use kuzu::{Connection, Value};

use super::{Graph, GraphError, Watermark, watermark};
use crate::schema::kuzu_types::quote;
use crate::schema::{ROW_ID, TableKind, TableSchema};
use crate::scrub::{RowHasher, TableDigest};

/// Bytes of rows per page, about.
const PAGE_BYTES: u64 = 16 << 20;
/// Rows per page, at least and at most; the first page, whose rows' size is not known yet, is small.
const PAGE_ROWS: (u64, u64) = (512, 1 << 16);

/// One table of the graph, read from either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphTableDigest {
    pub table: String,
    /// A node table's rows, or an edge table's as seen from where its edges begin.
    pub forward: TableDigest,
    /// An edge table's as seen from where its edges end.
    pub backward: Option<TableDigest>,
}

/// All tables at one commit.
#[derive(Debug, Clone)]
pub struct GraphDigest {
    pub watermark: Watermark,
    pub tables: Vec<GraphTableDigest>,
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// Begin again: a checkpoint could not wait.
    #[error("the comparison gave way to a checkpoint")]
    GaveWay,
    /// The caller asked for it.
    #[error("the comparison was stopped")]
    Stopped,
    /// Try again later: this says nothing about the graph.
    #[error("the graph engine had no memory left for the comparison: {0}")]
    NoMemory(String),
    /// The graph cannot be read: it is in doubt.
    #[error("table {table} of the local graph cannot be read: {detail}")]
    Unreadable { table: String, detail: String },
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl Graph {
    /// Hashes every row of every table at the commit that the graph holds when this begins. `stop` is asked between pages;
    /// with `patient`, only a checkpoint that cannot wait ends it. Blocks.
    pub fn digest(&self, patient: bool, stop: &dyn Fn() -> bool) -> Result<GraphDigest, DigestError> {
        let reading = self.gate.enter();
        let mut connection = self.connect()?;
        connection.set_max_num_threads_for_exec(1);
        begin(&connection)?;
        let gives_way = || reading.is_to_end() || (!patient && self.gate.is_claim_waiting());
        let result = self.digest_in_transaction(&connection, &gives_way, stop);
        // Ends the transaction also after an error; where the engine has ended it already, its complaint changes nothing.
        let _ = connection.query("ROLLBACK");
        result
    }

    fn digest_in_transaction(
        &self,
        connection: &Connection<'_>,
        gives_way: &dyn Fn() -> bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<GraphDigest, DigestError> {
        let watermark = watermark::read(connection)?.ok_or_else(|| DigestError::Unreadable {
            table: "Watermark".to_owned(),
            detail: "it is empty".to_owned(),
        })?;
        let pause = || {
            if stop() {
                Err(DigestError::Stopped)
            } else if gives_way() {
                Err(DigestError::GaveWay)
            } else {
                Ok(())
            }
        };
        let mut tables = Vec::new();
        for table in self.schema().tables() {
            let digest = |end: End| {
                let mut reader = Reader {
                    connection,
                    table,
                    source: Source::new(table, end),
                    pause: &pause,
                    page_rows: PAGE_ROWS.0,
                    hasher: RowHasher::default(),
                };
                reader.read()
            };
            let forward = digest(End::From)?;
            let backward = if table.is_node() {
                None
            } else {
                Some(digest(End::To)?)
            };
            tables.push(GraphTableDigest {
                table: table.name.clone(),
                forward,
                backward,
            });
        }
        Ok(GraphDigest { watermark, tables })
    }
}

fn begin(connection: &Connection<'_>) -> Result<(), GraphError> {
    connection
        .query("BEGIN TRANSACTION READ ONLY")
        .map(drop)
        .map_err(GraphError::engine("begin a comparison"))
}

/// From which end edges are read; nodes have only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    From,
    To,
}

/// The statements that read one table.
struct Source {
    pattern: String,
    /// The row id, the ends of an edge, the properties: in the order in which rows are hashed.
    columns: String,
    /// What pages are ranges of, coarse to fine, each with the statement for its smallest and largest value.
    ranges: Vec<(String, Option<String>)>,
}

impl Source {
    fn new(table: &TableSchema, end: End) -> Self {
        let row_id = format!("x.{}", quote(ROW_ID));
        let mut columns = vec![row_id.clone()];
        let mut ranges = Vec::new();
        let pattern = match &table.kind {
            TableKind::Node { .. } => format!("(x:{})", quote(&table.name)),
            TableKind::Edge { from, to, .. } => {
                columns.extend(
                    [("a", from), ("b", to)].map(|(node, end)| format!("{node}.{}", quote(&end.primary_key))),
                );
                let (node, nodes) = match end {
                    End::From => ("a", &from.table),
                    End::To => ("b", &to.table),
                };
                let place = format!("offset(id({node}))");
                let bounds = format!(
                    "MATCH ({node}:{}) RETURN min({place}), max({place})",
                    quote(nodes)
                );
                ranges.push((place, Some(bounds)));
                format!(
                    "(a:{})-[x:{}]->(b:{})",
                    quote(&from.table),
                    quote(&table.name),
                    quote(&to.table)
                )
            }
        };
        ranges.push((row_id, None));
        columns.extend(
            table
                .graph_columns()
                .map(|column| format!("x.{}", quote(&column.name))),
        );
        Self {
            pattern,
            columns: columns.join(", "),
            ranges,
        }
    }
}

/// Reads one table from one end.
struct Reader<'a, 'c, 'db> {
    connection: &'c Connection<'db>,
    table: &'a TableSchema,
    source: Source,
    pause: &'a dyn Fn() -> Result<(), DigestError>,
    /// Rows that the next page may have.
    page_rows: u64,
    hasher: RowHasher,
}

impl Reader<'_, '_, '_> {
    fn read(&mut self) -> Result<TableDigest, DigestError> {
        let total = self.count("")?;
        if total > 0 {
            self.read_range("", 0)?;
        }
        if self.hasher.digest().rows < total {
            // No range holds a row without a row id; there must be none.
            self.read_page(&format!("x.{} IS NULL", quote(ROW_ID)))?;
        }
        Ok(self.hasher.digest())
    }

    /// Reads the rows that hold `outer`, in pages that are ranges of the value at `level`.
    fn read_range(&mut self, outer: &str, level: usize) -> Result<(), DigestError> {
        let Some((value, bounds)) = self.source.ranges.get(level).cloned() else {
            return self.read_page(outer);
        };
        let bounds = bounds.unwrap_or_else(|| {
            let condition = condition(outer);
            format!(
                "MATCH {}{condition} RETURN min({value}), max({value})",
                self.source.pattern
            )
        });
        let [first, last] = match self.row(&bounds)?.as_slice() {
            [Value::Int64(first), Value::Int64(last)] => [i128::from(*first), i128::from(*last)],
            // Nothing there.
            _ => return Ok(()),
        };
        let (mut from, mut step) = (first, last - first + 1);
        while from <= last {
            (self.pause)()?;
            let to = (from + step - 1).min(last);
            let and = if outer.is_empty() { "" } else { " AND " };
            let page = format!("{outer}{and}{value} >= {from} AND {value} <= {to}");
            let rows = self.count(&page)?;
            if rows > self.page_rows && step > 1 {
                step = (step * i128::from(self.page_rows) / i128::from(rows)).max(1);
                continue;
            }
            if rows > self.page_rows {
                self.read_range(&page, level + 1)?;
            } else if rows > 0 {
                self.read_page(&page)?;
            }
            from = to + 1;
            if rows < self.page_rows / 2 {
                step *= 2;
            }
        }
        Ok(())
    }

    fn read_page(&mut self, page: &str) -> Result<(), DigestError> {
        let text = format!(
            "MATCH {}{} RETURN {}",
            self.source.pattern,
            condition(page),
            self.source.columns
        );
        let result = self
            .connection
            .query(&text)
            .map_err(|error| self.failed(&error))?;
        for row in result {
            for cell in &row {
                add_value(&mut self.hasher, cell);
            }
            self.hasher.end_row();
        }
        let row_bytes = self.hasher.bytes_hashed() / self.hasher.digest().rows.max(1);
        self.page_rows = (PAGE_BYTES / row_bytes.max(1)).clamp(PAGE_ROWS.0, PAGE_ROWS.1);
        Ok(())
    }

    fn count(&self, page: &str) -> Result<u64, DigestError> {
        let text = format!("MATCH {}{} RETURN count(*)", self.source.pattern, condition(page));
        match self.row(&text)?.as_slice() {
            [Value::Int64(count)] => Ok(u64::try_from(*count).unwrap_or_default()),
            other => Err(self.unreadable(format!("{text} gave {other:?}"))),
        }
    }

    fn row(&self, text: &str) -> Result<Vec<Value>, DigestError> {
        let result = self.connection.query(text).map_err(|error| self.failed(&error))?;
        Ok(result.into_iter().next().unwrap_or_default())
    }

    fn failed(&self, error: &kuzu::Error) -> DigestError {
        let text = error.to_string();
        // The engine has no error codes; these are its words for a full buffer pool.
        if text.contains("Buffer manager exception") || text.contains("bad_alloc") {
            return DigestError::NoMemory(text);
        }
        self.unreadable(text)
    }

    fn unreadable(&self, detail: String) -> DigestError {
        DigestError::Unreadable {
            table: self.table.name.clone(),
            detail,
        }
    }
}

fn condition(page: &str) -> String {
    if page.is_empty() {
        String::new()
    } else {
        format!(" WHERE {page}")
    }
}

/// Every value says what it is: one that is not of its column's type differs from what Lance holds.
fn add_value(hasher: &mut RowHasher, value: &Value) {
    match value {
        Value::Null(_) => hasher.null(),
        Value::Bool(value) => hasher.bool(*value),
        Value::Int64(value) => hasher.int(*value),
        Value::Double(value) => hasher.double(*value),
        Value::String(text) => hasher.bytes(text.as_bytes()),
        Value::Blob(bytes) => hasher.bytes(bytes),
        Value::Date(date) => hasher.int((*date - time::OffsetDateTime::UNIX_EPOCH.date()).whole_days()),
        Value::Timestamp(time) => {
            let micros = time.unix_timestamp_nanos().div_euclid(1000);
            hasher.int(i64::try_from(micros).unwrap_or(i64::MAX));
        }
        Value::List(_, items) => {
            hasher.list(items.len());
            for item in items {
                add_value(hasher, item);
            }
        }
        other => hasher.foreign(other),
    }
}
