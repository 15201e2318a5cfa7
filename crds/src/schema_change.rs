//! What may change from one schema to the next: tables and optional properties may be added, nothing else.
//!
//! Owns: the decision "additive or refused", and the list of what is new. Does not own: carrying it out in Lance and Kuzu.
//! Tables and properties are paired by their exact name, so a rename is a drop, and refused. Order does not matter. An
//! `index` may come, go and change: it is no part of what rows are, so such a change adds nothing here, needs no schema
//! commit, and no graph is built anew for it; the optimizer takes it from the resource.

use crate::{
    field_error::SchemaErrors,
    schema::{EdgeTable, GraphSchema, NodeTable, Property},
    schema_check::SCHEMA_PATH,
};

/// What an additive change adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaChange {
    /// Names of new node tables.
    pub new_nodes: Vec<String>,
    /// Names of new edge tables.
    pub new_edges: Vec<String>,
    /// New properties of tables that exist already, with the table's name.
    pub new_properties: Vec<(String, Property)>,
}

impl SchemaChange {
    /// Whether nothing is added: both schemas mean the same.
    pub fn is_empty(&self) -> bool {
        self.new_nodes.is_empty() && self.new_edges.is_empty() && self.new_properties.is_empty()
    }
}

impl GraphSchema {
    /// What `newer` adds to this schema.
    ///
    /// # Errors
    /// Every problem of `newer` by itself; or else every change that is not an addition. Paths are those of `newer`.
    pub fn check_change(&self, newer: &GraphSchema) -> Result<SchemaChange, SchemaErrors> {
        newer.check()?;
        let mut change = SchemaChange::default();
        let mut errors = SchemaErrors::default();

        for table in self
            .nodes
            .iter()
            .filter(|table| newer.node(&table.name).is_none())
        {
            refuse_drop(
                &mut errors,
                &format!("{SCHEMA_PATH}.nodes"),
                "node table",
                &table.name,
            );
        }
        for (index, after) in newer.nodes.iter().enumerate() {
            let path = format!("{SCHEMA_PATH}.nodes[{index}]");
            match self.node(&after.name) {
                None => change.new_nodes.push(after.name.clone()),
                Some(before) => change_node_table(&mut errors, &mut change, &path, before, after),
            }
        }
        for table in self
            .edges
            .iter()
            .filter(|table| newer.edge(&table.name).is_none())
        {
            refuse_drop(
                &mut errors,
                &format!("{SCHEMA_PATH}.edges"),
                "edge table",
                &table.name,
            );
        }
        for (index, after) in newer.edges.iter().enumerate() {
            let path = format!("{SCHEMA_PATH}.edges[{index}]");
            match self.edge(&after.name) {
                None => change.new_edges.push(after.name.clone()),
                Some(before) => change_edge_table(&mut errors, &mut change, &path, before, after),
            }
        }
        errors.into_result().map(|()| change)
    }
}

fn change_node_table(
    errors: &mut SchemaErrors,
    change: &mut SchemaChange,
    path: &str,
    before: &NodeTable,
    after: &NodeTable,
) {
    refuse_alteration(
        errors,
        format!("{path}.primaryKey"),
        &before.primary_key,
        &after.primary_key,
    );
    change_properties(
        errors,
        change,
        path,
        (&before.name, &before.properties, &after.properties),
        (&|property| before.requires(property), &|property| {
            after.requires(property)
        }),
    );
}

fn change_edge_table(
    errors: &mut SchemaErrors,
    change: &mut SchemaChange,
    path: &str,
    before: &EdgeTable,
    after: &EdgeTable,
) {
    let key = |table: &EdgeTable| table.key.clone().unwrap_or_else(|| "(none)".to_owned());
    refuse_alteration(errors, format!("{path}.from"), &before.from, &after.from);
    refuse_alteration(errors, format!("{path}.to"), &before.to, &after.to);
    refuse_alteration(errors, format!("{path}.key"), key(before), key(after));
    change_properties(
        errors,
        change,
        path,
        (&before.name, &before.properties, &after.properties),
        (&|property| before.requires(property), &|property| {
            after.requires(property)
        }),
    );
}

type Requires<'a> = &'a dyn Fn(&Property) -> bool;

fn change_properties(
    errors: &mut SchemaErrors,
    change: &mut SchemaChange,
    table_path: &str,
    (table, before, after): (&str, &[Property], &[Property]),
    (was_required, is_required): (Requires<'_>, Requires<'_>),
) {
    let named = |properties: &[Property], name: &str| properties.iter().any(|property| property.name == name);
    for property in before.iter().filter(|property| !named(after, &property.name)) {
        refuse_drop(
            errors,
            &format!("{table_path}.properties"),
            "property",
            &property.name,
        );
    }
    for (index, new) in after.iter().enumerate() {
        let path = format!("{table_path}.properties[{index}]");
        match before.iter().find(|property| property.name == new.name) {
            None if is_required(new) => errors.push(
                format!("{path}.required"),
                format!(
                    "`{}` is new in table `{table}` and cannot be required: rows that exist have no value for it",
                    new.name
                ),
            ),
            None => change.new_properties.push((table.to_owned(), new.clone())),
            Some(old) => {
                let or_none = |value: Option<String>| value.unwrap_or_else(|| "(none)".to_owned());
                refuse_alteration(errors, format!("{path}.type"), old.property_type, new.property_type);
                refuse_alteration(errors, format!("{path}.required"), was_required(old), is_required(new));
                if old.property_type == new.property_type {
                    refuse_alteration(
                        errors,
                        format!("{path}.dimension"),
                        or_none(old.dimension.map(|dimension| dimension.to_string())),
                        or_none(new.dimension.map(|dimension| dimension.to_string())),
                    );
                    refuse_alteration(
                        errors,
                        format!("{path}.items"),
                        or_none(old.items.map(|items| items.to_string())),
                        or_none(new.items.map(|items| items.to_string())),
                    );
                }
            }
        }
    }
}

fn refuse_drop(errors: &mut SchemaErrors, field: &str, kind: &str, name: &str) {
    errors.push(
        field,
        format!("{kind} `{name}` is missing; what exists cannot be dropped or renamed"),
    );
}

fn refuse_alteration<T: PartialEq + std::fmt::Display>(
    errors: &mut SchemaErrors,
    field: String,
    before: T,
    after: T,
) {
    if before != after {
        errors.push(
            field,
            format!("changed from `{before}` to `{after}`; it is immutable"),
        );
    }
}
