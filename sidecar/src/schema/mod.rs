//! The checked schema that the rest of the sidecar works with, and its mapping onto Lance (Arrow) and Kuzu.
//!
//! Owns: column order, the two identity columns of edges, which columns each engine holds.
//! Does not own: whether a resource's schema is valid; `crds::GraphSchema::check` decided that before.

pub mod kuzu_types;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use crds::{GraphSchema, Property, PropertyType, ScalarType};

/// Name of the tombstones table; reserved, so no user table can collide.
pub const TOMBSTONES: &str = "_tombstones";
/// Column of every Kuzu table that holds the row's stable Lance row id; hidden from users.
pub const ROW_ID: &str = "_rowid";
/// Identity columns of an edge table.
pub const FROM: &str = "from";
/// See [`FROM`].
pub const TO: &str = "to";

/// All tables of a graph, nodes before edges, in the resource's order.
#[derive(Debug, Clone)]
pub struct Schema {
    tables: Vec<Arc<TableSchema>>,
    by_name: HashMap<String, usize>,
    source: GraphSchema,
}

/// One node or edge table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSchema {
    pub name: String,
    pub kind: TableKind,
    /// In Lance order. An edge table begins with `from` and `to`.
    pub columns: Vec<Column>,
    arrow: SchemaRef,
}

/// What identifies a row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    Node {
        /// Index into `columns` of the primary key.
        primary_key: usize,
    },
    Edge {
        from: Endpoint,
        to: Endpoint,
        /// Index into `columns` of the property that tells parallel edges apart.
        key: Option<usize>,
    },
}

/// One end of an edge table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The node table.
    pub table: String,
    /// Its primary key's name.
    pub primary_key: String,
}

/// One column of a table as it stands in Lance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub column_type: ColumnType,
    pub required: bool,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Scalar(ScalarType),
    List(ScalarType),
    /// float32, fixed dimension; in Lance only, never in Kuzu.
    Vector(u32),
}

impl Schema {
    /// Maps a schema that passed `GraphSchema::check`.
    ///
    /// # Errors
    /// The check's own errors, when it has not passed.
    pub fn new(source: &GraphSchema) -> Result<Self, crds::SchemaErrors> {
        source.check()?;
        let mut tables = Vec::new();
        let mut key_types = HashMap::new();
        let mut key_names = HashMap::new();
        for node in &source.nodes {
            let columns: Vec<Column> = node
                .properties
                .iter()
                .map(|property| Column::new(property, property.name == node.primary_key))
                .collect();
            let primary_key = position(&columns, &node.primary_key);
            key_types.insert(node.name.as_str(), columns[primary_key].column_type);
            key_names.insert(node.name.as_str(), node.primary_key.as_str());
            tables.push(Arc::new(TableSchema::new(
                &node.name,
                TableKind::Node { primary_key },
                columns,
            )));
        }
        for edge in &source.edges {
            let endpoint = |name: &str, table: &str| Column {
                name: name.to_owned(),
                column_type: key_types[table],
                required: true,
            };
            let mut columns = vec![endpoint(FROM, &edge.from), endpoint(TO, &edge.to)];
            columns.extend(
                edge.properties
                    .iter()
                    .map(|property| Column::new(property, edge.key.as_ref() == Some(&property.name))),
            );
            let key = edge.key.as_ref().map(|key| position(&columns, key));
            let end = |table: &str| Endpoint {
                table: table.to_owned(),
                primary_key: key_names[table].to_owned(),
            };
            let kind = TableKind::Edge {
                from: end(&edge.from),
                to: end(&edge.to),
                key,
            };
            tables.push(Arc::new(TableSchema::new(&edge.name, kind, columns)));
        }
        let by_name = tables
            .iter()
            .enumerate()
            .map(|(index, table)| (table.name.clone(), index))
            .collect();
        Ok(Self {
            tables,
            by_name,
            source: source.clone(),
        })
    }

    /// A graph without tables.
    pub fn empty() -> Self {
        let source = GraphSchema {
            nodes: Vec::new(),
            edges: Vec::new(),
        };
        Self {
            tables: Vec::new(),
            by_name: HashMap::new(),
            source,
        }
    }

    /// The resource's form of this schema.
    pub fn source(&self) -> &GraphSchema {
        &self.source
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&Arc<TableSchema>> {
        self.by_name.get(name).map(|index| &self.tables[*index])
    }

    /// Nodes before edges.
    pub fn tables(&self) -> &[Arc<TableSchema>] {
        &self.tables
    }

    /// Node tables in order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<TableSchema>> {
        self.tables.iter().filter(|table| table.is_node())
    }

    /// Edge tables in order.
    pub fn edges(&self) -> impl Iterator<Item = &Arc<TableSchema>> {
        self.tables.iter().filter(|table| !table.is_node())
    }

    /// Edge tables that touch a node table, each with whether it starts there and whether it ends there.
    pub fn edges_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a Arc<TableSchema>, bool, bool)> {
        self.edges().filter_map(move |table| match &table.kind {
            TableKind::Edge { from, to, .. } => {
                let (starts, ends) = (from.table == node, to.table == node);
                (starts || ends).then_some((table, starts, ends))
            }
            TableKind::Node { .. } => None,
        })
    }
}

/// `GraphSchema::check` guarantees that the column is there.
fn position(columns: &[Column], name: &str) -> usize {
    columns
        .iter()
        .position(|column| column.name == name)
        .unwrap_or_default()
}

impl TableSchema {
    fn new(name: &str, kind: TableKind, columns: Vec<Column>) -> Self {
        let fields: Vec<Field> = columns.iter().map(Column::arrow_field).collect();
        Self {
            name: name.to_owned(),
            kind,
            columns,
            arrow: Arc::new(ArrowSchema::new(fields)),
        }
    }

    /// Whether this is a node table.
    pub fn is_node(&self) -> bool {
        matches!(self.kind, TableKind::Node { .. })
    }

    /// The table's rows as Lance stores them.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Indices into `columns` that identify a row: `[primary key]`, `[from, to]` or `[from, to, key]`.
    pub fn key_columns(&self) -> Vec<usize> {
        match &self.kind {
            TableKind::Node { primary_key } => vec![*primary_key],
            TableKind::Edge { key, .. } => [0, 1].into_iter().chain(*key).collect(),
        }
    }

    /// Columns that Kuzu holds as properties: all but vectors and an edge's endpoints.
    pub fn graph_columns(&self) -> impl Iterator<Item = &Column> {
        let skip = if self.is_node() { 0 } else { 2 };
        self.columns
            .iter()
            .skip(skip)
            .filter(|column| !matches!(column.column_type, ColumnType::Vector(_)))
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    fn new(property: &Property, is_key: bool) -> Self {
        let column_type = match property.property_type {
            PropertyType::String => ColumnType::Scalar(ScalarType::String),
            PropertyType::Bool => ColumnType::Scalar(ScalarType::Bool),
            PropertyType::Int64 => ColumnType::Scalar(ScalarType::Int64),
            PropertyType::Double => ColumnType::Scalar(ScalarType::Double),
            PropertyType::Date => ColumnType::Scalar(ScalarType::Date),
            PropertyType::Timestamp => ColumnType::Scalar(ScalarType::Timestamp),
            PropertyType::Bytes => ColumnType::Scalar(ScalarType::Bytes),
            // `GraphSchema::check` guarantees items and dimension.
            PropertyType::List => ColumnType::List(property.items.unwrap_or(ScalarType::String)),
            PropertyType::Vector => ColumnType::Vector(property.dimension.unwrap_or(1)),
        };
        Self {
            name: property.name.clone(),
            column_type,
            required: property.required || is_key,
        }
    }

    /// The column as a field of the Lance table.
    pub fn arrow_field(&self) -> Field {
        Field::new(&self.name, self.column_type.arrow(), !self.required)
    }
}

impl ColumnType {
    /// The Arrow type of this column in Lance.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::Scalar(scalar) => scalar_arrow(scalar),
            ColumnType::List(scalar) => {
                DataType::List(Arc::new(Field::new("item", scalar_arrow(scalar), true)))
            }
            ColumnType::Vector(dimension) => DataType::FixedSizeList(
                Arc::new(Field::new("item", DataType::Float32, true)),
                i32::try_from(dimension).unwrap_or(i32::MAX),
            ),
        }
    }

    /// How a person reads this type, in error messages.
    pub fn describe(self) -> String {
        match self {
            ColumnType::Scalar(scalar) => scalar_name(scalar).to_owned(),
            ColumnType::List(scalar) => format!("list of {}", scalar_name(scalar)),
            ColumnType::Vector(dimension) => format!("vector of dimension {dimension}"),
        }
    }
}

/// The Arrow type of a scalar in Lance.
pub fn scalar_arrow(scalar: ScalarType) -> DataType {
    match scalar {
        ScalarType::String => DataType::Utf8,
        ScalarType::Bool => DataType::Boolean,
        ScalarType::Int64 => DataType::Int64,
        ScalarType::Double => DataType::Float64,
        ScalarType::Date => DataType::Date32,
        ScalarType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ScalarType::Bytes => DataType::Binary,
    }
}

/// The name of a scalar type in the resource.
pub fn scalar_name(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::String => "string",
        ScalarType::Bool => "bool",
        ScalarType::Int64 => "int64",
        ScalarType::Double => "double",
        ScalarType::Date => "date",
        ScalarType::Timestamp => "timestamp",
        ScalarType::Bytes => "bytes",
    }
}
