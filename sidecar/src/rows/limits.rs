//! What a single value may be, for every way it arrives, and how a refusal names it.

use crds::ScalarType;

use super::error::Mismatch;
use crate::schema::{ColumnType, scalar_name};

/// Longest string or bytes value that is accepted.
pub const MAX_STRING_BYTES: usize = 8 * 1024 * 1024;
/// Longest line of NDJSON; leaves room for one value of the longest kind with its JSON escapes, or several ordinary ones.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// Largest record batch of an Arrow stream: the sender decides its size, and it is held in memory whole.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0000-01-01 and 9999-12-31 in days since 1970: the years that RFC 3339 can write, so that answers can carry them.
pub(super) const FIRST_DAY: i32 = -719_528;
pub(super) const LAST_DAY: i32 = 2_932_896;

/// Refuses what is longer than [`MAX_STRING_BYTES`]. `noun` begins with its article, if it has one.
pub(super) fn check_length(noun: &str, bytes: usize) -> Result<(), Mismatch> {
    if bytes > MAX_STRING_BYTES {
        return Err(Mismatch::new(
            format!("{noun} of at most {MAX_STRING_BYTES} bytes"),
            format!("{bytes} bytes"),
        ));
    }
    Ok(())
}

/// Refuses a date, in days since 1970, whose year has no four digits.
pub(super) fn check_date(days: i32) -> Result<(), Mismatch> {
    if !(FIRST_DAY..=LAST_DAY).contains(&days) {
        return Err(Mismatch::new(
            "a date in the years 0000 to 9999",
            format!("{days} days since 1970-01-01"),
        ));
    }
    Ok(())
}

/// Refuses a timestamp, in microseconds since 1970 UTC, whose year has no four digits.
pub(super) fn check_timestamp(micros: i64) -> Result<(), Mismatch> {
    let days = micros.div_euclid(MICROS_PER_DAY);
    if !(i64::from(FIRST_DAY)..=i64::from(LAST_DAY)).contains(&days) {
        return Err(Mismatch::new(
            "a timestamp in the years 0000 to 9999",
            format!("{micros} µs since 1970-01-01"),
        ));
    }
    Ok(())
}

/// A vector's number as the nearest float32; what is not finite there is refused.
pub(super) fn vector_item(number: f64) -> Result<f32, Mismatch> {
    let nearest = number as f32;
    if !nearest.is_finite() {
        return Err(Mismatch::new("a finite float32", number.to_string()));
    }
    Ok(nearest)
}

/// Refuses a vector of another dimension.
pub(super) fn check_dimension(dimension: usize, numbers: usize) -> Result<(), Mismatch> {
    if dimension != numbers {
        let plural = if numbers == 1 { "" } else { "s" };
        return Err(Mismatch::new(
            format!("a vector of dimension {dimension}"),
            format!("{numbers} number{plural}"),
        ));
    }
    Ok(())
}

/// `a list of string`, `an int64`: a type as the expected half of an error.
pub(super) fn a_type(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Scalar(ScalarType::Bytes) => "bytes".to_owned(),
        ColumnType::Scalar(ScalarType::Int64) => "an int64".to_owned(),
        ColumnType::Scalar(scalar) => format!("a {}", scalar_name(scalar)),
        other => format!("a {}", other.describe()),
    }
}
