//! The schema of a graph: its node tables, edge tables and their properties (design section 8).
//!
//! Owns: the types, their defaults and the rules the API server enforces (CEL, sizes, patterns).
//! Does not own: the whole-schema check with all messages (`schema_check`), what may change (`schema_change`), and
//! how a type is stored in Lance or Kuzu.
//!
//! `nodes`, `edges` and `properties` are list-maps keyed by `name`: the API server then pairs old and new entries by
//! name, which keeps the rules on immutable fields linear and within its CEL cost limits.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its visibility, inside a function"
)]

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// The three bounds below go together: at all of them at once, the API server's run-time cost of an update is about
// three quarters of its budget. At 128 each it is exceeded, and such a resource could be created but never changed again.

/// Most node tables of a graph.
pub const MAX_NODE_TABLES: usize = 100;
/// Most edge tables of a graph.
pub const MAX_EDGE_TABLES: usize = 100;
/// Most properties of a table.
pub const MAX_PROPERTIES: usize = 100;
/// Most characters of a table's or property's name.
pub const MAX_NAME_LENGTH: usize = 63;
/// Most dimensions of a vector.
pub const MAX_DIMENSION: u32 = 65_536;
/// The form of a table's or property's name. A leading `_` is reserved for Slipstream's own columns.
pub const NAME_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_]{0,62}$";
/// Names of Slipstream's own tables in Kuzu; no user table may have them, in any case.
pub const RESERVED_TABLE_NAMES: [&str; 2] = ["SystemMetadata", "Watermark"];
/// Names of an edge's ends; no property of an edge may have them, in any case.
pub const RESERVED_EDGE_PROPERTY_NAMES: [&str; 2] = ["from", "to"];

/// The tables of a graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("sets.contains(self.nodes.map(t, t.name), oldSelf.nodes.map(t, t.name))")
        .message("nodes: a node table cannot be dropped or renamed").field_path(".nodes"),
    validation = Rule::new("sets.contains(self.edges.map(t, t.name), oldSelf.edges.map(t, t.name))")
        .message("edges: an edge table cannot be dropped or renamed").field_path(".edges"),
    validation = Rule::new("self.edges.all(e, self.nodes.exists(n, n.name == e.from))")
        .message("edges[].from: must be the name of a node table").field_path(".edges"),
    validation = Rule::new("self.edges.all(e, self.nodes.exists(n, n.name == e.to))")
        .message("edges[].to: must be the name of a node table").field_path(".edges"),
    validation = Rule::new("self.nodes.all(n, self.nodes.exists_one(o, o.name.lowerAscii() == n.name.lowerAscii()))")
        .message("nodes[].name: must be unique, also without regard to case").field_path(".nodes"),
    validation = Rule::new("self.edges.all(e, self.edges.exists_one(o, o.name.lowerAscii() == e.name.lowerAscii()))")
        .message("edges[].name: must be unique, also without regard to case").field_path(".edges"),
    validation = Rule::new("self.edges.all(e, !self.nodes.exists(n, n.name.lowerAscii() == e.name.lowerAscii()))")
        .message("edges[].name: a node table has this name; table names are unique without regard to case")
        .field_path(".edges"),
)]
pub struct GraphSchema {
    /// Node tables. Tables and properties can be added later, never dropped or changed.
    #[serde(default)]
    #[schemars(length(max = MAX_NODE_TABLES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nodes: Vec<NodeTable>,
    /// Edge tables, each from one node table to one node table.
    #[serde(default)]
    #[schemars(length(max = MAX_EDGE_TABLES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub edges: Vec<EdgeTable>,
}

/// A table of nodes, identified by one property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(self.name.lowerAscii() in ['systemmetadata', 'watermark'])")
        .message("name: this table name is reserved").field_path(".name"),
    validation = Rule::new("self.properties.exists(p, p.name == self.primaryKey && p.type in ['string', 'int64'])")
        .message("primaryKey: must name a property of type string or int64").field_path(".primaryKey"),
    validation = Rule::new("self.primaryKey == oldSelf.primaryKey")
        .message("primaryKey: is immutable").field_path(".primaryKey"),
    validation = Rule::new("sets.contains(self.properties.map(p, p.name), oldSelf.properties.map(p, p.name))")
        .message("properties: a property cannot be dropped or renamed").field_path(".properties"),
    validation = Rule::new("sets.contains(oldSelf.properties.map(p, p.name), self.properties.filter(p, p.required).map(p, p.name))")
        .message("properties[].required: a property added to an existing table cannot be required")
        .field_path(".properties"),
)]
pub struct NodeTable {
    /// Unique among node and edge tables, without regard to case.
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub name: String,
    /// Name of the property that identifies a node: a `string` or an `int64`, always required. Immutable.
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub primary_key: String,
    /// The primary key and all other properties.
    #[serde(default)]
    #[schemars(length(max = MAX_PROPERTIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub properties: Vec<Property>,
}

/// A table of edges, identified by (`from`, `to`), or by (`from`, `to`, `key`) where `key` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(self.name.lowerAscii() in ['systemmetadata', 'watermark'])")
        .message("name: this table name is reserved").field_path(".name"),
    validation = Rule::new("self.from == oldSelf.from").message("from: is immutable").field_path(".from"),
    validation = Rule::new("self.to == oldSelf.to").message("to: is immutable").field_path(".to"),
    validation = Rule::new("has(self.key) == has(oldSelf.key) && (!has(self.key) || self.key == oldSelf.key)")
        .message("key: is immutable").field_path(".key"),
    validation = Rule::new("!has(self.key) || self.properties.exists(p, p.name == self.key && p.type in ['string', 'int64'])")
        .message("key: must name a property of type string or int64").field_path(".key"),
    validation = Rule::new("!self.properties.exists(p, p.name.lowerAscii() in ['from', 'to'])")
        .message("properties[].name: `from` and `to` are reserved for the ends of an edge").field_path(".properties"),
    validation = Rule::new("sets.contains(self.properties.map(p, p.name), oldSelf.properties.map(p, p.name))")
        .message("properties: a property cannot be dropped or renamed").field_path(".properties"),
    validation = Rule::new("sets.contains(oldSelf.properties.map(p, p.name), self.properties.filter(p, p.required).map(p, p.name))")
        .message("properties[].required: a property added to an existing table cannot be required")
        .field_path(".properties"),
)]
pub struct EdgeTable {
    /// Unique among node and edge tables, without regard to case.
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub name: String,
    /// Name of the node table where these edges start. Immutable.
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub from: String,
    /// Name of the node table where these edges end. Immutable.
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub to: String,
    /// Name of the property that tells apart several edges between the same two nodes: a `string` or an `int64`,
    /// then always required. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub key: Option<String>,
    /// Properties of an edge.
    #[serde(default)]
    #[schemars(length(max = MAX_PROPERTIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub properties: Vec<Property>,
}

/// A typed property of a node or an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type == oldSelf.type").message("type: is immutable").field_path(".type"),
    validation = Rule::new("self.required == oldSelf.required").message("required: is immutable").field_path(".required"),
    validation = Rule::new("!has(self.dimension) || !has(oldSelf.dimension) || self.dimension == oldSelf.dimension")
        .message("dimension: is immutable").field_path(".dimension"),
    validation = Rule::new("!has(self.items) || !has(oldSelf.items) || self.items == oldSelf.items")
        .message("items: is immutable").field_path(".items"),
    validation = Rule::new("(self.type == 'vector') == has(self.dimension)")
        .message("dimension: a vector needs it, and only a vector has it").field_path(".dimension"),
    validation = Rule::new("(self.type == 'list') == has(self.items)")
        .message("items: a list needs it, and only a list has it").field_path(".items"),
    validation = Rule::new("!has(self.index) || (self.index == 'vector' ? self.type == 'vector' : self.index == 'fullText' ? self.type == 'string' : !(self.type in ['vector', 'list', 'bytes']))")
        .message("index: `vector` is for a vector, `fullText` for a string, `scalar` for every other type but list and bytes")
        .field_path(".index"),
)]
pub struct Property {
    /// Unique in its table, without regard to case.
    #[schemars(regex(pattern = NAME_PATTERN), length(max = MAX_NAME_LENGTH))]
    pub name: String,
    /// Type of the values. Immutable.
    #[serde(rename = "type")]
    pub property_type: PropertyType,
    /// Whether null is refused. Primary and edge keys are required in any case. Immutable.
    #[serde(default)]
    pub required: bool,
    /// Number of float32 values in a `vector`; only there. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_DIMENSION))]
    pub dimension: Option<u32>,
    /// Type of the items of a `list`; only there. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ScalarType>,
    /// Index that the optimizer keeps on the property in Lance: `scalar` (B-tree), `fullText` (of a string) or `vector` (IVF,
    /// once there are enough rows). May be added, changed and removed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexKind>,
}

/// Kinds of indexes on a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum IndexKind {
    /// A B-tree over values that have an order.
    Scalar,
    /// An inverted index over the words of a string.
    FullText,
    /// IVF over a vector's neighbourhood, below some thousands of rows none: a scan is as fast there.
    Vector,
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::FullText => "fullText",
            Self::Vector => "vector",
        })
    }
}

/// Types of properties. `timestamp` is UTC in microseconds; a `vector` is kept in Lance only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are the type names of design section 8")]
pub enum PropertyType {
    String,
    Bool,
    Int64,
    Double,
    Date,
    Timestamp,
    Bytes,
    List,
    Vector,
}

/// Types of the items of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are the type names of design section 8")]
pub enum ScalarType {
    String,
    Bool,
    Int64,
    Double,
    Date,
    Timestamp,
    Bytes,
}

impl From<ScalarType> for PropertyType {
    fn from(scalar: ScalarType) -> Self {
        match scalar {
            ScalarType::String => Self::String,
            ScalarType::Bool => Self::Bool,
            ScalarType::Int64 => Self::Int64,
            ScalarType::Double => Self::Double,
            ScalarType::Date => Self::Date,
            ScalarType::Timestamp => Self::Timestamp,
            ScalarType::Bytes => Self::Bytes,
        }
    }
}

impl fmt::Display for PropertyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Int64 => "int64",
            Self::Double => "double",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Vector => "vector",
        })
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PropertyType::from(*self).fmt(f)
    }
}

impl GraphSchema {
    /// The node table of that exact name.
    pub fn node(&self, name: &str) -> Option<&NodeTable> {
        self.nodes.iter().find(|table| table.name == name)
    }

    /// The edge table of that exact name.
    pub fn edge(&self, name: &str) -> Option<&EdgeTable> {
        self.edges.iter().find(|table| table.name == name)
    }
}

impl NodeTable {
    /// The property of that exact name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// Whether null is refused for `property`: declared required, or the primary key.
    pub fn requires(&self, property: &Property) -> bool {
        property.required || property.name == self.primary_key
    }
}

impl EdgeTable {
    /// The property of that exact name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// Whether null is refused for `property`: declared required, or the edge key.
    pub fn requires(&self, property: &Property) -> bool {
        property.required || self.key.as_deref() == Some(property.name.as_str())
    }
}

impl Property {
    /// An optional property without dimension or items.
    pub fn new(name: impl Into<String>, property_type: PropertyType) -> Self {
        Self {
            name: name.into(),
            property_type,
            required: false,
            dimension: None,
            items: None,
            index: None,
        }
    }
}
