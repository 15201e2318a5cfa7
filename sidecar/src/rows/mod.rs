//! Untrusted rows to Arrow batches that match a table's schema exactly.
//!
//! ```text
//! JSON rows of a transaction ── json ───────────────────────────────────────┐
//! body of a bulk load ── stream ─┬─ ndjson ── json ──────────────────────────┼─> RecordBatch == TableSchema::arrow()
//!                                ├─ arrow_stream ─┐                          │
//!                                └─ parquet_file ─┴─ conform (conform_lists) ┘
//! JSON keys of a delete ── keys ─> RowKey
//! ```
//!
//! Strict: a value is taken over without loss or refused with its row, its column, what was expected and what was
//! found. Nothing is padded, truncated or rounded, except that a vector's numbers become the nearest float32 and a
//! JSON number the nearest double.
//!
//! Owns: types, nulls, limits of single values, the identity of rows.
//! Does not own: what needs more than one row or table (keys given twice, edge endpoints that exist): the writer does.

mod arrow_stream;
mod conform;
mod conform_lists;
mod error;
mod json;
mod json_cells;
mod json_row;
mod json_values;
mod key;
mod key_columns;
mod keys;
mod limits;
mod ndjson;
mod parquet_file;
mod stream;
#[cfg(test)]
mod tests;

pub use conform::conform;
pub use error::{BoxError, DecodeError, RowError};
pub use json::{RowRef, decode_json_rows};
pub use json_row::JsonRow;
pub use key::{Key, RowKey};
pub use key_columns::{KeyColumn, KeyColumns, KeyRef, KeySet};
pub use keys::{decode_json_keys, keys_batch, row_keys};
pub use limits::{MAX_LINE_BYTES, MAX_MESSAGE_BYTES, MAX_STRING_BYTES};
pub use stream::{Format, decode_stream};
