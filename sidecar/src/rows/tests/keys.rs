use serde_json::{Value, json};

use super::{everything, keyed_edge, plain_edge, table};
use crate::rows::{Key, RowKey, decode_json_keys, decode_json_rows, keys_batch, row_keys};
use crate::schema::TableSchema;

fn text(text: &str) -> Key {
    Key::String(text.into())
}

fn refusal(table: &TableSchema, key: Value) -> String {
    decode_json_keys(table, &[key]).unwrap_err().to_string()
}

#[test]
fn delete_keys_are_read_by_the_kind_of_table() {
    let keys = decode_json_keys(&everything(), &[json!(5), json!("-5")]).unwrap();
    assert_eq!(keys, [RowKey::Node(Key::Int(5)), RowKey::Node(Key::Int(-5))]);
    let keys = decode_json_keys(&table("Named"), &[json!("5"), json!("")]).unwrap();
    assert_eq!(keys, [RowKey::Node(text("5")), RowKey::Node(text(""))]);
    let keys = decode_json_keys(&plain_edge(), &[json!({"to": "b", "from": "a"})]).unwrap();
    assert_eq!(
        keys,
        [RowKey::Edge {
            from: text("a"),
            to: text("b"),
            key: None
        }]
    );
    let keys = decode_json_keys(&keyed_edge(), &[json!({"from": 1, "to": "b", "kind": "k"})]).unwrap();
    assert_eq!(
        keys,
        [RowKey::Edge {
            from: Key::Int(1),
            to: text("b"),
            key: Some(text("k"))
        }]
    );
}

#[test]
fn a_wrong_delete_key_is_refused_with_its_place() {
    let edge = plain_edge();
    let keyed = keyed_edge();
    let shape = "an edge's key with exactly from, to";
    for (table, key, message) in [
        (
            &everything(),
            json!("x"),
            r#"row 0, column "id": expected an int64 (an integer or its decimal text), found the string "x""#
                .to_owned(),
        ),
        (
            &everything(),
            json!(null),
            r#"row 0, column "id": expected an int64 (an integer or its decimal text), found null"#
                .to_owned(),
        ),
        (
            &table("Named"),
            json!({"name": "a"}),
            r#"row 0, column "name": expected a string, found an object"#.to_owned(),
        ),
        (
            &edge,
            json!("a"),
            format!(r#"row 0: expected {shape}, found the string "a""#),
        ),
        (
            &edge,
            json!({"from": "a"}),
            r#"row 0, column "to": expected a value (it is part of the key), found nothing"#.to_owned(),
        ),
        (
            &edge,
            json!({"from": "a", "to": 1}),
            r#"row 0, column "to": expected a string, found 1"#.to_owned(),
        ),
        (
            &edge,
            json!({"from": "a", "to": "b", "kind": "k"}),
            format!(r#"row 0, column "kind": expected {shape}, found an unknown field"#),
        ),
        (
            &keyed,
            json!({"from": 1, "to": "b"}),
            r#"row 0, column "kind": expected a value (it is part of the key), found nothing"#.to_owned(),
        ),
        (
            &keyed,
            json!({"from": 1, "to": "b", "weight": 1}),
            format!(r#"row 0, column "weight": expected {shape}, kind, found an unknown field"#),
        ),
    ] {
        assert_eq!(refusal(table, key), message);
    }
    let error = decode_json_keys(&everything(), &[json!(1), json!(1.5)]).unwrap_err();
    assert_eq!(error.row, Some(1));
}

#[test]
fn keys_of_rows_survive_a_batch_of_keys() {
    let cases = [
        (
            everything(),
            vec![json!({"id": 3, "text": "x"}), json!({"id": -3})],
        ),
        (table("Named"), vec![json!({"name": "a", "size": 1})]),
        (
            plain_edge(),
            vec![json!({"from": "a", "to": "b"}), json!({"from": "b", "to": "a"})],
        ),
        (
            keyed_edge(),
            vec![
                json!({"from": 1, "to": "b", "kind": "k", "weight": 1}),
                json!({"from": 1, "to": "b", "kind": "l"}),
            ],
        ),
    ];
    for (table, rows) in cases {
        let whole = decode_json_rows(&table, &rows, 0).unwrap();
        let keys = row_keys(&table, &whole);
        assert_eq!(keys.len(), rows.len());
        let batch = keys_batch(&table, &keys).unwrap();
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let expected: Vec<_> = table
            .key_columns()
            .into_iter()
            .map(|index| table.columns[index].name.clone())
            .collect();
        assert_eq!(names, expected);
        assert_eq!(batch, whole.project(&table.key_columns()).unwrap());
    }
}

#[test]
fn a_key_of_another_table_makes_no_batch() {
    let node = RowKey::Node(text("a"));
    let edge = |key| RowKey::Edge {
        from: text("a"),
        to: text("b"),
        key,
    };
    for (table, key) in [
        (everything(), node.clone()),
        (plain_edge(), node),
        (table("Named"), edge(None)),
        (plain_edge(), edge(Some(text("k")))),
        (keyed_edge(), edge(None)),
    ] {
        assert!(
            keys_batch(&table, std::slice::from_ref(&key)).is_err(),
            "{key} in {}",
            table.name
        );
    }
}
