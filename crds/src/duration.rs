//! A length of time as people write it in YAML: `500ms`, `30s`, `10m`, `1h30m`, `7d`.
//!
//! Owns: the accepted form, which is the same here and in the CRD's pattern.
//! Does not own: what a duration means for a field; a field that must not be zero says so in its own check.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// The form a duration has in YAML; the API server checks the same pattern.
pub const DURATION_PATTERN: &str = "^([0-9]+(ms|s|m|h|d|w))+$";

/// Units from large to small, in milliseconds. Weeks are read, but written as days.
const UNITS: [(&str, u128); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A length of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a duration; expected a form like 500ms, 30s, 10m, 1h30m or 7d")]
pub struct DurationError {
    found: String,
}

impl Duration {
    /// A duration of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// A duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The same length as the standard library's type.
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Whether the length is zero.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<std::time::Duration> for Duration {
    /// Cuts off below a millisecond, the smallest unit that can be written.
    fn from(value: std::time::Duration) -> Self {
        let below_a_millisecond = u64::from(value.subsec_nanos() % 1_000_000);
        Self(value.saturating_sub(std::time::Duration::from_nanos(below_a_millisecond)))
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let error = || DurationError {
            found: text.to_owned(),
        };
        // humantime reads more than the pattern allows (months, spaces, fractions): the API server would refuse those.
        if !has_the_written_form(text) {
            return Err(error());
        }
        humantime::parse_duration(text).map(Self).map_err(|_| error())
    }
}

/// Matches [`DURATION_PATTERN`] without a regular expression engine.
fn has_the_written_form(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number_length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after_number = &rest[number_length..];
        let unit_length = after_number.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &after_number[..unit_length];
        if number_length == 0 || !matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w") {
            return false;
        }
        rest = &after_number[unit_length..];
    }
    !text.is_empty()
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A visitor, because a YAML error names the field only when it comes out of one.
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like 30s, 10m or 7d")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": DURATION_PATTERN, "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_it_was_read() {
        for text in ["0s", "500ms", "1s", "30s", "10m", "1h30m", "7d", "1d2h3m4s5ms"] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.to_string(), text);
        }
        assert_eq!("7d".parse::<Duration>().unwrap(), Duration::from_secs(7 * 86_400));
    }

    #[test]
    fn weeks_and_overfull_units_are_read_and_written_in_larger_units() {
        assert_eq!("2w".parse::<Duration>().unwrap().to_string(), "14d");
        assert_eq!("90s".parse::<Duration>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn what_the_pattern_refuses_is_refused_here_too() {
        for text in [
            "",
            "10",
            "s",
            "1.5h",
            "-1s",
            "1M",
            "1y",
            "1 h",
            "1h 30m",
            "5min",
            "99999999999999999999s",
        ] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_standard_duration_is_cut_to_milliseconds() {
        let standard = std::time::Duration::new(1, 2_999_999);
        assert_eq!(Duration::from(standard).to_string(), "1s2ms");
    }
}
