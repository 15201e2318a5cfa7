//! Made-up rows of small schemas, as many as wanted: nodes 0, 1, 2, … and one edge per node.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

/// The node table: `id`, `name`, `score`.
pub(super) const ITEM: &str = "Item";
/// The edge table: `weight`.
pub(super) const LINK: &str = "LINK";

/// Both tables as `spec.schema`.
pub(super) const SCHEMA: &str = "  schema:
    nodes:
      - name: Item
        primaryKey: id
        properties: [{name: id, type: int64}, {name: name, type: string}, {name: score, type: double}]
    edges:
      - {name: LINK, from: Item, to: Item, properties: [{name: weight, type: double}]}
";

/// A node table with rows as wide as the packages of `examples/debian`: `id`, `text`.
pub(super) const PAGE: &str = "Page";
/// Its edge table: `weight`.
pub(super) const PAGE_LINK: &str = "REFERS";

/// Both tables as `spec.schema`.
pub(super) const PAGE_SCHEMA: &str = "  schema:
    nodes:
      - name: Page
        primaryKey: id
        properties: [{name: id, type: int64}, {name: text, type: string}]
    edges:
      - {name: REFERS, from: Page, to: Page, properties: [{name: weight, type: double}]}
";

/// Of 16 hexadecimal digits each: 224 bytes a text.
const WORDS_PER_TEXT: u64 = 14;

const BATCH_ROWS: i64 = 64 * 1024;
/// Edges end far from where they start: a prime, so that targets differ.
const STRIDE: i64 = 7_919;

/// The items `ids` as a Parquet file; `round` makes a later version of the same item differ.
pub(super) fn items(ids: Range<i64>, round: u32) -> anyhow::Result<Vec<u8>> {
    parquet(ids, |ids| {
        let names = ids.clone().map(|id| item_name(id, round));
        vec![
            (
                "id",
                Arc::new(Int64Array::from_iter_values(ids.clone())) as ArrayRef,
            ),
            ("name", Arc::new(StringArray::from_iter_values(names))),
            (
                "score",
                Arc::new(Float64Array::from_iter_values(ids.map(|id| id as f64 / 7.0))),
            ),
        ]
    })
}

/// The pages `ids` as a Parquet file; every text is another, and none can be compressed to much less than half.
pub(super) fn pages(ids: Range<i64>) -> anyhow::Result<Vec<u8>> {
    parquet(ids, |ids| {
        let texts = ids.clone().map(|id| {
            let first = id.unsigned_abs() * WORDS_PER_TEXT;
            (first..first + WORDS_PER_TEXT)
                .map(|word| format!("{:016x}", scattered(word)))
                .collect::<String>()
        });
        vec![
            (
                "id",
                Arc::new(Int64Array::from_iter_values(ids.clone())) as ArrayRef,
            ),
            ("text", Arc::new(StringArray::from_iter_values(texts))),
        ]
    })
}

/// SplitMix64: neighbours become numbers without a pattern.
fn scattered(number: u64) -> u64 {
    let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One link from each of the items `from`, the item numbers wrapping at `items`.
pub(super) fn links(from: Range<i64>, items: i64, round: u32) -> anyhow::Result<Vec<u8>> {
    parquet(from, |from| {
        let to = from.clone().map(|id| (id + STRIDE) % items);
        vec![
            (
                "from",
                Arc::new(Int64Array::from_iter_values(from.clone())) as ArrayRef,
            ),
            ("to", Arc::new(Int64Array::from_iter_values(to))),
            (
                "weight",
                Arc::new(Float64Array::from_iter_values(
                    from.map(|id| id as f64 + f64::from(round)),
                )),
            ),
        ]
    })
}

/// One item as a transaction has it.
pub(super) fn item(id: i64, round: u32) -> Value {
    json!({"id": id, "name": item_name(id, round), "score": f64::from(round)})
}

fn item_name(id: i64, round: u32) -> String {
    format!("item {id} of round {round}")
}

fn parquet(
    ids: Range<i64>,
    columns: impl Fn(Range<i64>) -> Vec<(&'static str, ArrayRef)>,
) -> anyhow::Result<Vec<u8>> {
    let batch = |ids| {
        RecordBatch::try_from_iter_with_nullable(
            columns(ids).into_iter().map(|(name, array)| (name, array, true)),
        )
    };
    let mut writer = ArrowWriter::try_new(Vec::new(), batch(0..0)?.schema(), None)?;
    let mut next = ids.start;
    while next < ids.end {
        let end = (next + BATCH_ROWS).min(ids.end);
        writer.write(&batch(next..end)?)?;
        next = end;
    }
    Ok(writer.into_inner()?)
}
