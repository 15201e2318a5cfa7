//! How a table looks in Kuzu: quoted names, type names and the DDL. Text only; nothing here talks to the engine.

use crds::ScalarType;

use super::{Column, ColumnType, ROW_ID, TableKind, TableSchema};

/// The one place that quotes an identifier for Cypher. Schema names are checked to be plain words; the backticks keep
/// them from being read as keywords.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string literal for Cypher, for the few statements that take no parameter there: the file path of `COPY` and `LOAD FROM`.
pub fn string_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The Kuzu type of a column; `None` for vectors, which only Lance holds.
pub fn type_name(column_type: ColumnType) -> Option<String> {
    match column_type {
        ColumnType::Scalar(scalar) => Some(scalar_type_name(scalar).to_owned()),
        ColumnType::List(scalar) => Some(format!("{}[]", scalar_type_name(scalar))),
        ColumnType::Vector(_) => None,
    }
}

fn scalar_type_name(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::String => "STRING",
        ScalarType::Bool => "BOOL",
        ScalarType::Int64 => "INT64",
        ScalarType::Double => "DOUBLE",
        ScalarType::Date => "DATE",
        ScalarType::Timestamp => "TIMESTAMP",
        ScalarType::Bytes => "BLOB",
    }
}

/// `CREATE … TABLE` for one table, with the hidden row id as last column.
pub fn create_table(table: &TableSchema) -> String {
    let properties: Vec<String> = table
        .graph_columns()
        .filter_map(
            |Column {
                 name, column_type, ..
             }| Some(format!("{} {}", quote(name), type_name(*column_type)?)),
        )
        .chain([format!("{} INT64", quote(ROW_ID))])
        .collect();
    let properties = properties.join(", ");
    match &table.kind {
        TableKind::Node { primary_key } => format!(
            "CREATE NODE TABLE {} ({properties}, PRIMARY KEY ({}))",
            quote(&table.name),
            quote(&table.columns[*primary_key].name)
        ),
        TableKind::Edge { from, to, .. } => format!(
            "CREATE REL TABLE {} (FROM {} TO {}, {properties})",
            quote(&table.name),
            quote(&from.table),
            quote(&to.table)
        ),
    }
}
