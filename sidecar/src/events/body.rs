//! The event: its body, exactly as design section 4 has it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::commit_log::{CommitRecord, VersionMap};
use crate::ids::TxId;

/// `{"tx_id": "<uuid v7>", "timestamp": "<UTC ISO-8601>", "tables": [{"table": "...", "version": 42}], "notes"?: "..."}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionMapEvent {
    pub tx_id: TxId,
    pub timestamp: DateTime<Utc>,
    /// The full version map of the commit.
    pub tables: VersionMap,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl From<&CommitRecord> for VersionMapEvent {
    fn from(record: &CommitRecord) -> Self {
        Self {
            tx_id: record.tx_id,
            timestamp: record.timestamp,
            tables: record.tables.clone(),
            notes: record.notes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LanceVersion;

    #[test]
    fn the_body_is_the_documented_one() {
        let mut tables = VersionMap::default();
        tables.set("Package", LanceVersion(42));
        tables.set("DEPENDS", LanceVersion(7));
        let mut event = VersionMapEvent {
            tx_id: "018f6c6e-6ea8-7fff-bfff-ffffffffffff".parse().unwrap(),
            timestamp: "2026-02-03T04:05:06.078Z".parse().unwrap(),
            tables,
            notes: None,
        };
        let bare = concat!(
            r#"{"tx_id":"018f6c6e-6ea8-7fff-bfff-ffffffffffff","timestamp":"2026-02-03T04:05:06.078Z","#,
            r#""tables":[{"table":"DEPENDS","version":7},{"table":"Package","version":42}]"#
        );
        assert_eq!(serde_json::to_string(&event).unwrap(), format!("{bare}}}"));
        event.notes = Some("nightly".to_owned());
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, format!(r#"{bare},"notes":"nightly"}}"#));
        assert_eq!(serde_json::from_str::<VersionMapEvent>(&text).unwrap(), event);
    }
}
