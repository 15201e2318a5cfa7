//! The whole-schema check and the rules of change, each refusal with the field it names.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions, not what they share"
)]

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
