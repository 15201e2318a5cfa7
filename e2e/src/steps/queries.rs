//! Step 8: the example's four queries, asked of a replica, and of the writer for comparison.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::checks::sorted_rows;
use super::{Scene, StepError, expect, expect_equal};
use crate::client::{Answer, Query};
use crate::report::{Passed, cut, millis, small_table};

const QUERIES: usize = 4;
const SHOWN_ROWS: usize = 5;
const SHOWN_CHARACTERS: usize = 72;
/// Of several shortest chains any may be answered: only its length is fixed.
const ANY_OF_EQUAL: &str = "chain";

/// Runs every query on the newest replica and on the writer.
///
/// # Errors
/// When an answer is empty, or replica and writer differ.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let (replica, writer) = (scene.local.replica(scene.replicas), scene.local.writer());
    let queries = read_queries(&scene.example.join("queries"))?;
    expect_equal("queries of the example", &queries.len(), &QUERIES)?;
    let mut below = Vec::new();
    for (question, text) in &queries {
        let query = Query::new(text).min_tx(&scene.newest_tx);
        let started = Instant::now();
        let answer = replica.query(&query).await?;
        let took = millis(started.elapsed());
        let same = writer.query(&query).await?;
        expect(
            !answer.rows.is_empty(),
            format!("answer to `{question}`"),
            "rows",
            &answer.rows,
        )?;
        expect_equal(
            format!("commit of the writer's answer to `{question}`"),
            &same.seq,
            &answer.seq,
        )?;
        let what = format!("the writer's answer to `{question}`");
        expect_equal(what, &comparable(&same), &comparable(&answer))?;
        scene.measurements.add(format!("query: {question}"), took.clone());
        below.push(format!(
            "\n  {question} ({took}, {} rows, at commit {})\n{}",
            answer.rows.len(),
            answer.seq,
            shown(&answer)
        ));
    }
    let line = format!(
        "{QUERIES} queries on {}, the writer gives the same answers at the same commit",
        replica.name
    );
    Ok(Passed { line, below })
}

/// Each query's first line, a comment, and its text; in the order of their files' names.
fn read_queries(directory: &Path) -> Result<Vec<(String, String)>, StepError> {
    let failed = || StepError::system(format!("read {}", directory.display()));
    let mut queries = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == "cypher") {
            let text = std::fs::read_to_string(&path)
                .map_err(StepError::system(format!("read {}", path.display())))?;
            queries.push((path, text));
        }
    }
    queries.sort();
    let question = |text: &str| {
        text.lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("//")
            .trim()
            .to_owned()
    };
    Ok(queries
        .into_iter()
        .map(|(_, text)| (question(&text), text))
        .collect())
}

/// An answer without what may differ between equally good ones.
fn comparable(answer: &Answer) -> Vec<String> {
    let mut answer = answer.clone();
    for (index, column) in answer.columns.iter().enumerate() {
        if column.name == ANY_OF_EQUAL {
            for row in &mut answer.rows {
                row[index] = row[index]
                    .as_array()
                    .map_or(Value::Null, |chain| chain.len().into());
            }
        }
    }
    sorted_rows(&answer)
}

fn shown(answer: &Answer) -> String {
    let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let mut table = small_table(&names);
    for row in answer.rows.iter().take(SHOWN_ROWS) {
        table.add_row(row.iter().map(|value| cut(&cell(value), SHOWN_CHARACTERS)));
    }
    table.to_string()
}

/// A text as it is, a list of texts as a chain, everything else as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" → "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_chain_only_its_length_is_compared() {
        let answer = |rows: Value| {
            let columns = json!([{"name": "package"}, {"name": "chain"}]);
            let answer =
                json!({"columns": columns, "rows": rows, "tx_id": "t", "seq": 1, "truncated": false});
            comparable(&serde_json::from_value(answer).unwrap())
        };
        assert_eq!(
            answer(json!([["a", ["x", "a"]]])),
            answer(json!([["a", ["y", "a"]]]))
        );
        assert_ne!(answer(json!([["a", ["x", "a"]]])), answer(json!([["a", ["a"]]])));
        assert_ne!(
            answer(json!([["a", ["x", "a"]]])),
            answer(json!([["b", ["x", "b"]]]))
        );
    }
}
