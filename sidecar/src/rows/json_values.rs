//! What a JSON value must look like to be one of the scalar types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _};
use serde_json::Value;

use super::error::Mismatch;
use super::limits::{check_length, check_timestamp};

/// Days from 0001-01-01, which chrono counts as 1, to 1970-01-01.
const UNIX_EPOCH_FROM_CE: i32 = 719_163;

pub(super) fn string(value: &Value) -> Result<&str, Mismatch> {
    let text = value
        .as_str()
        .ok_or_else(|| Mismatch::new("a string", describe(value)))?;
    check_length("a string", text.len())?;
    Ok(text)
}

/// An integer, or its decimal text: beyond 2^53 many clients can only send text.
pub(super) fn int64(value: &Value) -> Result<i64, Mismatch> {
    let parsed = match value {
        Value::Number(number) => number.as_i64(),
        // Only the one way an integer is usually written: no sign of plus, no leading zeros.
        Value::String(text) => text
            .parse()
            .ok()
            .filter(|number: &i64| number.to_string() == *text),
        _ => None,
    };
    parsed.ok_or_else(|| Mismatch::new("an int64 (an integer or its decimal text)", describe(value)))
}

pub(super) fn boolean(value: &Value) -> Result<bool, Mismatch> {
    value
        .as_bool()
        .ok_or_else(|| Mismatch::new("a bool", describe(value)))
}

pub(super) fn number(value: &Value) -> Result<f64, Mismatch> {
    value
        .as_f64()
        .ok_or_else(|| Mismatch::new("a number", describe(value)))
}

pub(super) fn date(value: &Value) -> Result<i32, Mismatch> {
    let parse = |text: &str| {
        // chrono alone would also accept a sign, spaces and short months.
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| {
                if at == 4 || at == 7 {
                    byte == b'-'
                } else {
                    byte.is_ascii_digit()
                }
            });
        if !shaped {
            return None;
        }
        let (year, month, day) = (
            text[..4].parse().ok()?,
            text[5..7].parse().ok()?,
            text[8..].parse().ok()?,
        );
        NaiveDate::from_ymd_opt(year, month, day).map(|date| date.num_days_from_ce() - UNIX_EPOCH_FROM_CE)
    };
    value
        .as_str()
        .and_then(parse)
        .ok_or_else(|| Mismatch::new("a date (YYYY-MM-DD)", describe(value)))
}

pub(super) fn timestamp(value: &Value) -> Result<i64, Mismatch> {
    let text = value
        .as_str()
        .and_then(|text| Some((text, DateTime::parse_from_rfc3339(text).ok()?)));
    let Some((text, instant)) = text else {
        return Err(Mismatch::new(
            "a timestamp (RFC 3339 with offset)",
            describe(value),
        ));
    };
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let finer_than_micros = fraction
        .bytes()
        .take_while(u8::is_ascii_digit)
        .skip(6)
        .any(|digit| digit != b'0');
    // chrono tells a leap second by a subsecond beyond one second; it has no place in microseconds since 1970.
    if finer_than_micros || instant.nanosecond() >= 1_000_000_000 {
        return Err(Mismatch::new(
            "a timestamp in whole microseconds, without leap second",
            describe(value),
        ));
    }
    let micros = instant.timestamp_micros();
    check_timestamp(micros)?;
    Ok(micros)
}

pub(super) fn bytes(value: &Value) -> Result<Vec<u8>, Mismatch> {
    let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
    let decoded =
        decoded.ok_or_else(|| Mismatch::new("bytes (base64, standard alphabet, padded)", describe(value)))?;
    check_length("bytes", decoded.len())?;
    Ok(decoded)
}

/// A JSON value as the found half of an error; long text is cut.
pub(super) fn describe(value: &Value) -> String {
    const SHOWN_CHARS: usize = 40;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => match text.char_indices().nth(SHOWN_CHARS) {
            None => format!("the string {text:?}"),
            Some((cut, _)) => format!("the string {:?}… ({} bytes)", &text[..cut], text.len()),
        },
        Value::Array(items) if items.len() == 1 => "an array of 1 item".to_owned(),
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
