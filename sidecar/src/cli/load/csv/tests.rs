use arrow::util::display::array_value_to_string;
use crds::{GraphSchema, NodeTable, Property, PropertyType};

use super::*;
use crate::schema::Schema;

fn table() -> std::sync::Arc<TableSchema> {
    let mut properties: Vec<Property> = [
        ("name", PropertyType::String),
        ("size", PropertyType::Int64),
        ("score", PropertyType::Double),
        ("is_new", PropertyType::Bool),
        ("day", PropertyType::Date),
        ("tags", PropertyType::List),
    ]
    .map(|(name, kind)| Property::new(name, kind))
    .to_vec();
    properties[5].items = Some(ScalarType::String);
    let node = NodeTable {
        name: "Package".to_owned(),
        primary_key: "name".to_owned(),
        properties,
    };
    let schema = Schema::new(&GraphSchema {
        nodes: vec![node],
        edges: Vec::new(),
    })
    .unwrap();
    schema.table("Package").unwrap().clone()
}

/// Every row as Arrow prints its cells; null as nothing.
fn decoded(text: &str) -> Result<Vec<Vec<String>>, CliError> {
    let mut rows = Vec::new();
    decode(Path::new("p.csv"), text.as_bytes(), &table(), |batch| {
        let cells = |row| {
            batch
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row).unwrap())
                .collect()
        };
        rows.extend((0..batch.num_rows()).map(cells));
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn cells_become_values_of_their_columns_type() {
    let text = "size,name,score,is_new,day,tags\n9007199254740993,curl,0.5,TRUE,2026-02-03,\"[\"\"net\"\",\"\"web\"\"]\"\n,\"\",,,,\n";
    let rows = decoded(text).unwrap();
    assert_eq!(
        rows[0],
        [
            "curl",
            "9007199254740993",
            "0.5",
            "true",
            "2026-02-03",
            "[net, web]"
        ]
    );
    assert_eq!(rows[1], ["", "", "", "", "", ""]);
}

#[test]
fn nothing_is_null_and_two_quotes_are_an_empty_string() {
    let string = ColumnType::Scalar(ScalarType::String);
    let cell = |quoted| Cell {
        text: String::new(),
        quoted,
    };
    assert_eq!(value(string, &cell(false)), Value::Null);
    assert_eq!(value(string, &cell(true)), Value::from(""));
    assert_eq!(
        value(ColumnType::Scalar(ScalarType::Int64), &cell(true)),
        Value::Null
    );
}

#[test]
fn what_is_wrong_is_named_by_line_and_column() {
    for (text, place, part) in [
        (
            "name,size\na,1\nb,many\n",
            "p.csv, line 3, column \"size\": expected ",
            "many",
        ),
        (
            "name,size\n\"a\nb\",1\nc,1.5\n",
            "p.csv, line 4, column \"size\": expected ",
            "1.5",
        ),
        (
            "name,is_new\na,yes\n",
            "p.csv, line 2, column \"is_new\": expected ",
            "yes",
        ),
        (
            "name,tags\na,\"[1]\"\n",
            "p.csv, line 2, column \"tags\": expected ",
            "1",
        ),
        (
            "name,size\n,1\n",
            "p.csv, line 2, column \"name\": expected ",
            "null",
        ),
        ("name,size\na\n", "p.csv, line 2: ", "expected 2 cells"),
        (
            "name,weight\na,1\n",
            "p.csv, line 1, column \"weight\": ",
            "which has name, size, score",
        ),
        (
            "name,name\na,b\n",
            "p.csv, line 1, column \"name\": ",
            "named twice",
        ),
        ("", "p.csv: ", "empty"),
    ] {
        let error = decoded(text).unwrap_err().to_string();
        assert!(
            error.starts_with(place) && error.contains(part),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn a_wrong_cell_in_a_later_batch_has_its_own_line() {
    let mut text = "name,size\n".to_owned();
    for row in 0..BATCH_ROWS + 10 {
        text += &format!("p{row},{row}\n");
    }
    text += "last,x\n";
    let error = decoded(&text).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("p.csv, line {}, ", BATCH_ROWS + 12)),
        "{error}"
    );
}
