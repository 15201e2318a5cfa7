//! What a newer schema may change: tables and optional properties come, nothing goes or becomes something else. Each refusal with the
//! field it names.

use crds::{GraphSchema, Property, PropertyType};

use crate::{base, schema};

/// Applies `edit` to a good schema and expects exactly one refusal of the change, at `field`.
fn change_refused(edit: impl FnOnce(&mut GraphSchema), field: &str, says: &str) {
    let mut newer = base();
    edit(&mut newer);
    let errors = base().check_change(&newer).unwrap_err().0;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].field, field, "{}", errors[0].problem);
    assert!(errors[0].problem.contains(says), "{}", errors[0].problem);
}

#[test]
fn the_same_schema_in_another_order_changes_nothing() {
    let mut newer = base();
    newer.nodes.reverse();
    newer.edges.reverse();
    newer.nodes[1].properties.reverse();
    assert!(base().check_change(&newer).unwrap().is_empty());
}

#[test]
fn added_tables_and_optional_properties_are_listed() {
    let mut newer = base();
    newer.nodes.insert(
        0,
        schema("nodes: [{name: City, primaryKey: c, properties: [{name: c, type: string, required: true}]}]")
            .nodes
            .remove(0),
    );
    newer.edges.push(
        schema("edges: [{name: LIVES, from: Person, to: City}]")
            .edges
            .remove(0),
    );
    newer.edges[0]
        .properties
        .push(Property::new("optional", PropertyType::Bool));
    newer.nodes[1]
        .properties
        .push(Property::new("summary", PropertyType::String));
    let change = base().check_change(&newer).unwrap();
    assert!(!change.is_empty());
    assert_eq!(change.new_nodes, ["City"]);
    assert_eq!(change.new_edges, ["LIVES"]);
    assert_eq!(
        change.new_properties,
        [
            (
                "Package".to_owned(),
                Property::new("summary", PropertyType::String)
            ),
            (
                "DEPENDS".to_owned(),
                Property::new("optional", PropertyType::Bool)
            ),
        ]
    );
}

#[test]
fn tables_and_properties_cannot_be_dropped_or_renamed() {
    change_refused(
        |s| drop(s.edges.remove(0)),
        "spec.schema.edges",
        "edge table `DEPENDS` is missing",
    );
    change_refused(
        |s| drop(s.nodes[0].properties.remove(1)),
        "spec.schema.nodes[0].properties",
        "property `size` is missing",
    );
    change_refused(
        |s| s.edges[0].name = "NEEDS".into(),
        "spec.schema.edges",
        "`DEPENDS` is missing",
    );
    let only_edges_between_packages = {
        let mut s = base();
        s.nodes.remove(1);
        s.edges.remove(1);
        s
    };
    let errors = base().check_change(&only_edges_between_packages).unwrap_err().0;
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["spec.schema.nodes", "spec.schema.edges"]);
}

#[test]
fn keys_ends_types_and_nullness_are_immutable() {
    change_refused(
        |s| {
            s.nodes[0].properties[1].property_type = PropertyType::Double;
        },
        "spec.schema.nodes[0].properties[1].type",
        "from `int64` to `double`",
    );
    change_refused(
        |s| s.nodes[0].properties[2].dimension = Some(5),
        "spec.schema.nodes[0].properties[2].dimension",
        "from `4` to `5`",
    );
    change_refused(
        |s| s.nodes[0].properties[3].items = Some(crds::ScalarType::Int64),
        "spec.schema.nodes[0].properties[3].items",
        "from `string` to `int64`",
    );
    change_refused(
        |s| s.nodes[0].properties[1].required = true,
        "spec.schema.nodes[0].properties[1].required",
        "from `false` to `true`",
    );
    change_refused(
        |s| s.edges[0].from = "Person".into(),
        "spec.schema.edges[0].from",
        "from `Package` to `Person`",
    );
    change_refused(
        |s| s.edges[0].to = "Person".into(),
        "spec.schema.edges[0].to",
        "from `Package` to `Person`",
    );
    let errors = {
        let mut newer = base();
        newer.nodes[0].primary_key = "size".into();
        newer.edges[1].key = None;
        base().check_change(&newer).unwrap_err().to_string()
    };
    assert!(
        errors.contains("spec.schema.nodes[0].primaryKey: changed from `name` to `size`"),
        "{errors}"
    );
    assert!(
        errors.contains("spec.schema.edges[1].key: changed from `since` to `(none)`"),
        "{errors}"
    );
}

#[test]
fn a_property_added_to_an_existing_table_cannot_be_required() {
    change_refused(
        |s| {
            s.nodes[0].properties.push(Property {
                required: true,
                ..Property::new("license", PropertyType::String)
            })
        },
        "spec.schema.nodes[0].properties[4].required",
        "`license` is new in table `Package`",
    );
}

#[test]
fn a_key_is_required_whether_written_or_not() {
    let mut newer = base();
    newer.nodes[0].properties[0].required = true;
    assert!(base().check_change(&newer).unwrap().is_empty());
}

#[test]
fn a_change_to_a_schema_that_is_wrong_by_itself_is_refused_for_that() {
    change_refused(
        |s| s.edges[0].from = "Nobody".into(),
        "spec.schema.edges[0].from",
        "not a node table",
    );
}

#[test]
fn an_index_comes_and_goes_without_a_change_of_the_tables() {
    let with = schema(
        "nodes: [{name: A, primaryKey: a, properties: [{name: a, type: string, index: fullText}, {name: b, type: int64}]}]",
    );
    let mut other = with.clone();
    other.nodes[0].properties[0].index = None;
    other.nodes[0].properties[1].index = Some(crds::IndexKind::Scalar);
    assert!(with.check_change(&other).unwrap().is_empty());
    assert!(other.check_change(&with).unwrap().is_empty());
    let text = serde_yaml::to_string(&other).unwrap();
    assert_eq!(
        text.matches("index").count(),
        1,
        "where there is none, nothing is written: {text}"
    );
}
