//! The check of a schema as a whole: every problem at once, each with the field it is in.
//!
//! Owns: the rules a schema obeys by itself. Does not own: what may change from one schema to the next (`schema_change`).
//! The API server enforces most of these rules too (CEL in `schema`); `slipstream local` and `slipstream validate` have
//! only these, and uniqueness of property names without regard to case is checked here alone.

use std::collections::HashMap;

use crate::{
    field_error::SchemaErrors,
    schema::{
        GraphSchema, IndexKind, MAX_DIMENSION, MAX_EDGE_TABLES, MAX_NAME_LENGTH, MAX_NODE_TABLES,
        MAX_PROPERTIES, Property, PropertyType, RESERVED_EDGE_PROPERTY_NAMES, RESERVED_TABLE_NAMES,
    },
};

/// Path of the schema in the resource.
pub(crate) const SCHEMA_PATH: &str = "spec.schema";

impl GraphSchema {
    /// Checks the whole schema.
    ///
    /// # Errors
    /// Every problem, in the order of the document.
    pub fn check(&self) -> Result<(), SchemaErrors> {
        let mut errors = SchemaErrors::default();
        check_count(&mut errors, "nodes", self.nodes.len(), MAX_NODE_TABLES);
        check_count(&mut errors, "edges", self.edges.len(), MAX_EDGE_TABLES);

        let mut tables = UniqueNames::default();
        for (index, table) in self.nodes.iter().enumerate() {
            let path = format!("{SCHEMA_PATH}.nodes[{index}]");
            check_table_name(&mut errors, &mut tables, &path, &table.name);
            check_properties(&mut errors, &path, &table.properties, &[]);
            check_key(
                &mut errors,
                &format!("{path}.primaryKey"),
                &table.primary_key,
                &table.properties,
            );
        }
        for (index, table) in self.edges.iter().enumerate() {
            let path = format!("{SCHEMA_PATH}.edges[{index}]");
            check_table_name(&mut errors, &mut tables, &path, &table.name);
            for (end, name) in [("from", &table.from), ("to", &table.to)] {
                if self.node(name).is_none() {
                    errors.push(format!("{path}.{end}"), self.unknown_node_table(name));
                }
            }
            check_properties(
                &mut errors,
                &path,
                &table.properties,
                &RESERVED_EDGE_PROPERTY_NAMES,
            );
            if let Some(key) = &table.key {
                check_key(&mut errors, &format!("{path}.key"), key, &table.properties);
            }
        }
        errors.into_result()
    }

    fn unknown_node_table(&self, found: &str) -> String {
        let known: Vec<_> = self
            .nodes
            .iter()
            .map(|table| format!("`{}`", table.name))
            .collect();
        let known = if known.is_empty() {
            "none is declared".to_owned()
        } else {
            known.join(", ")
        };
        format!("`{found}` is not a node table; expected one of: {known}")
    }
}

/// Names seen so far, without regard to case, with the field that had them first.
#[derive(Default)]
struct UniqueNames(HashMap<String, (String, String)>);

impl UniqueNames {
    /// Records `name`; reports an earlier field with the same name.
    fn insert(&mut self, errors: &mut SchemaErrors, field: &str, name: &str) {
        match self.0.get(&name.to_ascii_lowercase()) {
            Some((first, first_name)) => errors.push(
                field,
                format!("`{name}` is already used at {first} (as `{first_name}`); names are unique without regard to case"),
            ),
            None => {
                self.0
                    .insert(name.to_ascii_lowercase(), (field.to_owned(), name.to_owned()));
            }
        }
    }
}

fn check_count(errors: &mut SchemaErrors, list: &str, found: usize, most: usize) {
    if found > most {
        errors.push(
            format!("{SCHEMA_PATH}.{list}"),
            format!("found {found} tables, expected at most {most}"),
        );
    }
}

fn check_table_name(errors: &mut SchemaErrors, tables: &mut UniqueNames, path: &str, name: &str) {
    let field = format!("{path}.name");
    if let Some(problem) = name_problem(name) {
        errors.push(&*field, problem);
    }
    if is_one_of(name, &RESERVED_TABLE_NAMES) {
        errors.push(
            &*field,
            format!("`{name}` is reserved for Slipstream's own table"),
        );
    }
    tables.insert(errors, &field, name);
}

fn check_properties(errors: &mut SchemaErrors, table_path: &str, properties: &[Property], reserved: &[&str]) {
    if properties.len() > MAX_PROPERTIES {
        errors.push(
            format!("{table_path}.properties"),
            format!(
                "found {} properties, expected at most {MAX_PROPERTIES}",
                properties.len()
            ),
        );
    }
    let mut names = UniqueNames::default();
    for (index, property) in properties.iter().enumerate() {
        let path = format!("{table_path}.properties[{index}]");
        let field = format!("{path}.name");
        let name = &property.name;
        if let Some(problem) = name_problem(name) {
            errors.push(&*field, problem);
        }
        if is_one_of(name, reserved) {
            errors.push(&*field, format!("`{name}` is reserved for an end of the edge"));
        }
        names.insert(errors, &field, name);
        check_type(errors, &path, property);
        check_index(errors, &path, property);
    }
}

fn check_type(errors: &mut SchemaErrors, path: &str, property: &Property) {
    let name = &property.name;
    let found = property.property_type;
    let field = format!("{path}.dimension");
    match (found, property.dimension) {
        (PropertyType::Vector, None) => errors.push(
            field,
            format!("vector `{name}` has no dimension; expected 1 to {MAX_DIMENSION}"),
        ),
        (PropertyType::Vector, Some(dimension)) if !(1..=MAX_DIMENSION).contains(&dimension) => errors.push(
            field,
            format!("vector `{name}` has dimension {dimension}; expected 1 to {MAX_DIMENSION}"),
        ),
        (PropertyType::Vector, Some(_)) | (_, None) => {}
        (_, Some(_)) => errors.push(
            field,
            format!("`{name}` is a {found}; only a vector has a dimension"),
        ),
    }
    let field = format!("{path}.items");
    match (found, property.items) {
        (PropertyType::List, None) => errors.push(
            field,
            format!("list `{name}` has no type of items; expected a scalar type like string"),
        ),
        (PropertyType::List, Some(_)) | (_, None) => {}
        (_, Some(_)) => errors.push(field, format!("`{name}` is a {found}; only a list has items")),
    }
}

fn check_index(errors: &mut SchemaErrors, path: &str, property: &Property) {
    use PropertyType::{Bytes, List, String, Vector};
    let Some(index) = property.index else { return };
    let found = property.property_type;
    let expected = match (index, found) {
        (IndexKind::Vector, Vector) | (IndexKind::FullText, String) => return,
        (IndexKind::Vector, _) => "only a vector has a vector index",
        (IndexKind::FullText, _) => "only a string has a full-text index",
        (IndexKind::Scalar, Vector) => "a vector has a vector index only",
        (IndexKind::Scalar, List | Bytes) => "a list and bytes have no index",
        (IndexKind::Scalar, _) => return,
    };
    errors.push(
        format!("{path}.index"),
        format!(
            "`{}` is a {found} and cannot have the index `{index}`: {expected}",
            property.name
        ),
    );
}

fn check_key(errors: &mut SchemaErrors, field: &str, key: &str, properties: &[Property]) {
    match properties.iter().find(|property| property.name == key) {
        None => errors.push(field, format!("`{key}` is not a property of this table")),
        Some(property) => match property.property_type {
            PropertyType::String | PropertyType::Int64 => {}
            other => errors.push(
                field,
                format!("`{key}` is a {other}; a key is a string or an int64"),
            ),
        },
    }
}

/// What is wrong with a name's form, if anything: the rule of [`crate::NAME_PATTERN`].
fn name_problem(name: &str) -> Option<String> {
    if name.starts_with('_') {
        return Some(format!(
            "`{name}` is reserved: names starting with `_` belong to Slipstream"
        ));
    }
    let well_formed = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= MAX_NAME_LENGTH
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!well_formed).then(|| {
        format!("`{name}` is not a name; expected a letter, then letters, digits or `_`, {MAX_NAME_LENGTH} at most")
    })
}

fn is_one_of(name: &str, reserved: &[&str]) -> bool {
    reserved.iter().any(|word| word.eq_ignore_ascii_case(name))
}
