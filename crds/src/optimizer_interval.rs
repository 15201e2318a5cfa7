//! `spec.optimizer.interval`: a duration, or the word `auto`.
//!
//! Owns: its form in YAML, the same here and in the CRD's pattern. Does not own: what `auto` decides by (the sidecar).

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use crate::duration::Duration;

/// The form that an interval has in YAML; the API server checks the same pattern.
pub const OPTIMIZER_INTERVAL_PATTERN: &str = "^(auto|([0-9]+(ms|s|m|h|d|w))+)$";

const AUTO: &str = "auto";

/// When the writer optimizes. Written as text in both cases, so a sidecar that does not know `auto` reads durations as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerInterval {
    /// When the statistics of the tables say that it is worth it.
    Auto,
    /// Every so often, if there is something to do.
    Every(Duration),
}

/// A text that is no interval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no interval; expected `auto` or a duration like 30s, 10m or 1h30m")]
pub struct OptimizerIntervalError {
    found: String,
}

impl OptimizerInterval {
    /// Whether it is a duration of zero, which no field allows.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Every(duration) if duration.is_zero())
    }
}

impl From<Duration> for OptimizerInterval {
    fn from(duration: Duration) -> Self {
        Self::Every(duration)
    }
}

impl FromStr for OptimizerInterval {
    type Err = OptimizerIntervalError;

    fn from_str(text: &str) -> Result<Self, OptimizerIntervalError> {
        if text == AUTO {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Every).map_err(|_| OptimizerIntervalError {
            found: text.to_owned(),
        })
    }
}

impl fmt::Display for OptimizerInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::Every(duration) => duration.fmt(f),
        }
    }
}

impl Serialize for OptimizerInterval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OptimizerInterval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A visitor, because a YAML error names the field only when it comes out of one.
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = OptimizerInterval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto` or a duration like 30s, 10m or 1h30m")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OptimizerInterval, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl JsonSchema for OptimizerInterval {
    fn schema_name() -> Cow<'static, str> {
        "OptimizerInterval".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": OPTIMIZER_INTERVAL_PATTERN, "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_the_word_auto_or_a_duration_and_stays_the_text_it_was() {
        for text in ["auto", "10m", "1h30m", "500ms"] {
            let interval: OptimizerInterval = serde_yaml::from_str(text).unwrap();
            assert_eq!(interval == OptimizerInterval::Auto, text == "auto");
            assert_eq!(serde_yaml::to_string(&interval).unwrap().trim(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_both_forms_named() {
        for text in ["Auto", "automatic", "10", "10 m", "\"\"", "auto10m"] {
            let error = serde_yaml::from_str::<OptimizerInterval>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains("`auto` or a duration"), "{text}: {error}");
        }
    }
}
