//! Object keys. A [`Key`] exists only in valid form, so no backend checks it again.

use std::fmt;

use super::StoreError;

/// S3's limit, in bytes.
const MAX_KEY_BYTES: usize = 1024;
/// What file systems take as one name, in bytes.
const MAX_SEGMENT_BYTES: usize = 255;

/// The name of one object: relative, `/`-separated, for example `commits/00000000000000000042.json`.
///
/// Segments are not empty, do not start with `.` (so there is no `.` or `..`, and backends may keep hidden files of
/// their own), and hold no control characters or `\`. No key may be another key plus `/…`: files cannot be directories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], naming the key and the rule it breaks.
    pub fn new(key: impl Into<String>) -> Result<Self, StoreError> {
        let key = key.into();
        match broken_rule(&key) {
            Some(reason) => Err(StoreError::BadKey { key, reason }),
            None => Ok(Self(key)),
        }
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_rule(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("it is empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if key.contains(|c: char| c.is_control() || c == '\\') {
        return Some("it contains a control character or a backslash");
    }
    key.split('/').find_map(|segment| match segment {
        "" => Some("it starts or ends with '/', or has an empty segment"),
        _ if segment.starts_with('.') => Some("a segment starts with '.'"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Some("a segment is longer than 255 bytes"),
        _ => None,
    })
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_layout_are_valid() {
        for key in [
            "writer.json",
            "commits/00000000000000000042.json",
            "replicas/a-0.json",
            "a b/ü+%/x.y..z",
            "a/_b",
        ] {
            assert_eq!(Key::new(key).expect(key).as_str(), key);
        }
    }

    #[test]
    fn bad_keys_are_refused_and_named() {
        let long_segment = "a".repeat(256);
        let long_key = vec!["a".repeat(200); 6].join("/");
        for key in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/./b",
            "../a",
            ".tmp-1",
            "a/.tmp-1",
            ".locks/00",
            "a\0b",
            "a\nb",
            "a\\b",
            &long_segment,
            &long_key,
        ] {
            let error = Key::new(key).expect_err(key);
            assert!(
                matches!(&error, StoreError::BadKey { key: named, .. } if named == key),
                "{error}"
            );
        }
    }
}
