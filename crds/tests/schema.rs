//! The whole-schema check, each refusal with the field it names. The rules of change are in `schema/change.rs`.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions, not what they share"
)]

#[path = "schema/change.rs"]
mod change;

use crds::{GraphSchema, Property, PropertyType};

fn schema(yaml: &str) -> GraphSchema {
    serde_yaml::from_str(yaml).unwrap()
}

fn base() -> GraphSchema {
    schema(
        "
nodes:
  - name: Package
    primaryKey: name
    properties: [{name: name, type: string}, {name: size, type: int64}, {name: embedding, type: vector, dimension: 4},
                 {name: tags, type: list, items: string}]
  - {name: Person, primaryKey: id, properties: [{name: id, type: int64}]}
edges:
  - {name: DEPENDS, from: Package, to: Package, properties: [{name: constraint, type: string}]}
  - {name: KNOWS, from: Person, to: Person, key: since, properties: [{name: since, type: int64}]}
",
    )
}

/// The only error of a schema.
fn only_error(schema: &GraphSchema) -> (String, String) {
    let errors = schema.check().unwrap_err().0;
    assert_eq!(errors.len(), 1, "{errors:?}");
    (errors[0].field.clone(), errors[0].problem.clone())
}

/// Applies `edit` to a good schema and expects exactly one error, at `field`, whose text contains `says`.
fn refused(edit: impl FnOnce(&mut GraphSchema), field: &str, says: &str) {
    let mut schema = base();
    edit(&mut schema);
    let (found_field, problem) = only_error(&schema);
    assert_eq!(found_field, field, "{problem}");
    assert!(problem.contains(says), "{problem}");
}

#[test]
fn a_good_schema_and_an_empty_schema_are_accepted() {
    assert_eq!(base().check(), Ok(()));
    assert_eq!(schema("{}"), GraphSchema::default());
    assert_eq!(GraphSchema::default().check(), Ok(()));
}

#[test]
fn an_edge_names_known_node_tables() {
    refused(
        |s| s.edges[0].from = "Nobody".into(),
        "spec.schema.edges[0].from",
        "`Package`, `Person`",
    );
    // Table names are exact here: Kuzu and Lance would not find `package`.
    refused(
        |s| s.edges[1].to = "person".into(),
        "spec.schema.edges[1].to",
        "`person` is not a node table",
    );
    refused(
        |s| s.edges[0].to = "KNOWS".into(),
        "spec.schema.edges[0].to",
        "`KNOWS` is not a node table",
    );
}

#[test]
fn table_names_are_unique_over_nodes_and_edges_without_regard_to_case() {
    refused(
        |s| s.nodes.push(s.nodes[0].clone()),
        "spec.schema.nodes[2].name",
        "spec.schema.nodes[0].name",
    );
    refused(
        |s| s.edges[1].name = "PERSON".into(),
        "spec.schema.edges[1].name",
        "as `Person`",
    );
}

#[test]
fn property_names_are_unique_in_their_table_without_regard_to_case() {
    refused(
        |s| s.nodes[0].properties[1].name = "NAME".into(),
        "spec.schema.nodes[0].properties[1].name",
        "`NAME` is already used",
    );
}

#[test]
fn reserved_and_malformed_names_are_refused() {
    refused(
        |s| {
            s.nodes[1]
                .properties
                .push(Property::new("_rowid", PropertyType::Int64))
        },
        "spec.schema.nodes[1].properties[1].name",
        "reserved",
    );
    refused(
        |s| s.edges[0].name = "_tombstones".into(),
        "spec.schema.edges[0].name",
        "reserved",
    );
    refused(
        |s| s.edges[0].name = "systemmetadata".into(),
        "spec.schema.edges[0].name",
        "reserved",
    );
    refused(
        |s| s.edges[0].name = "Watermark".into(),
        "spec.schema.edges[0].name",
        "reserved",
    );
    refused(
        |s| s.edges[0].properties[0].name = "From".into(),
        "spec.schema.edges[0].properties[0].name",
        "end of the edge",
    );
    for name in ["", "1st", "a-b", "a b", "käse", "a`b", &"x".repeat(64)] {
        refused(
            |s| s.edges[0].name = name.into(),
            "spec.schema.edges[0].name",
            "is not a name",
        );
    }
    let mut longest = base();
    longest.edges[0].name = "x".repeat(63);
    // A node may have properties called from and to.
    longest.nodes[0]
        .properties
        .push(Property::new("from", PropertyType::String));
    assert_eq!(longest.check(), Ok(()));
}

#[test]
fn a_key_is_an_existing_string_or_int64() {
    refused(
        |s| s.nodes[0].primary_key = "id".into(),
        "spec.schema.nodes[0].primaryKey",
        "`id` is not a property",
    );
    refused(
        |s| s.nodes[0].primary_key = "embedding".into(),
        "spec.schema.nodes[0].primaryKey",
        "is a vector",
    );
    refused(
        |s| s.edges[1].key = Some("when".into()),
        "spec.schema.edges[1].key",
        "`when` is not a property",
    );
    refused(
        |s| s.edges[1].properties[0].property_type = PropertyType::Double,
        "spec.schema.edges[1].key",
        "is a double",
    );
}

#[test]
fn a_vector_and_only_a_vector_has_a_dimension() {
    let field = "spec.schema.nodes[0].properties[2].dimension";
    refused(
        |s| s.nodes[0].properties[2].dimension = None,
        field,
        "has no dimension",
    );
    refused(
        |s| s.nodes[0].properties[2].dimension = Some(0),
        field,
        "dimension 0; expected 1 to 65536",
    );
    refused(
        |s| s.nodes[0].properties[2].dimension = Some(65_537),
        field,
        "dimension 65537",
    );
    refused(
        |s| s.nodes[0].properties[1].dimension = Some(3),
        "spec.schema.nodes[0].properties[1].dimension",
        "only a vector",
    );
    let mut largest = base();
    largest.nodes[0].properties[2].dimension = Some(65_536);
    assert_eq!(largest.check(), Ok(()));
}

#[test]
fn a_list_and_only_a_list_has_items() {
    refused(
        |s| s.nodes[0].properties[3].items = None,
        "spec.schema.nodes[0].properties[3].items",
        "no type of items",
    );
    refused(
        |s| s.nodes[0].properties[1].items = Some(crds::ScalarType::Bool),
        "spec.schema.nodes[0].properties[1].items",
        "only a list",
    );
    let nested = serde_yaml::from_str::<GraphSchema>(
        "nodes: [{name: A, primaryKey: a, properties: [{name: a, type: list, items: list}]}]",
    );
    assert!(nested.unwrap_err().to_string().contains("unknown variant `list`"));
}

#[test]
fn sizes_are_bounded() {
    let table = base().edges[0].clone();
    let mut schema = base();
    schema.edges = (0..101)
        .map(|i| {
            let mut t = table.clone();
            t.name = format!("E{i}");
            t
        })
        .collect();
    assert_eq!(only_error(&schema).0, "spec.schema.edges");
    refused(
        |s| {
            s.edges[0].properties = (0..101)
                .map(|i| Property::new(format!("p{i}"), PropertyType::Bool))
                .collect()
        },
        "spec.schema.edges[0].properties",
        "found 101 properties",
    );
}

#[test]
fn all_problems_are_reported_at_once_one_line_each() {
    let mut schema = base();
    schema.nodes[1].primary_key = "none".into();
    schema.edges[0].from = "Nobody".into();
    schema.edges[1].key = Some("none".into());
    let text = schema.check().unwrap_err().to_string();
    let fields: Vec<_> = text
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.schema.nodes[1].primaryKey",
            "spec.schema.edges[0].from",
            "spec.schema.edges[1].key"
        ]
    );
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let error = serde_yaml::from_str::<GraphSchema>("nodes: [{name: A, primarykey: a}]")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("nodes[0]") && error.contains("`primarykey`"),
        "{error}"
    );
}

#[test]
fn an_index_fits_the_type_of_its_property() {
    use crds::IndexKind::{FullText, Scalar, Vector};
    // name: string, size: int64, embedding: vector, tags: list
    for (property, index, says) in [
        (0, Vector, "only a vector has a vector index"),
        (1, FullText, "only a string has a full-text index"),
        (1, Vector, "only a vector"),
        (2, Scalar, "a vector has a vector index only"),
        (2, FullText, "only a string"),
        (3, Scalar, "a list and bytes have no index"),
    ] {
        refused(
            |s| s.nodes[0].properties[property].index = Some(index),
            &format!("spec.schema.nodes[0].properties[{property}].index"),
            says,
        );
    }
    for (property, index) in [(0, Scalar), (0, FullText), (1, Scalar), (2, Vector)] {
        let mut schema = base();
        schema.nodes[0].properties[property].index = Some(index);
        assert_eq!(schema.check(), Ok(()));
    }
}
