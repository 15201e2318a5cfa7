//! Which objects of which bucket on which server are a graph's: the checked form of [`StoreOptions`] for S3.

use super::{Key, StoreError, StoreOptions};

/// A root on an S3 server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct S3Address {
    pub(super) bucket: String,
    /// Empty, or what every name begins with, `/` at its end.
    prefix: String,
    /// None for AWS.
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
}

impl S3Address {
    /// Checks `s3://bucket` or `s3://bucket/prefix`, and the endpoint.
    ///
    /// # Errors
    /// [`StoreError::BadUri`], [`StoreError::BadEndpoint`].
    pub(super) fn new(options: &StoreOptions) -> Result<Self, StoreError> {
        let bad = |reason| StoreError::BadUri {
            uri: options.uri.clone(),
            reason,
        };
        let rest = options
            .uri
            .strip_prefix("s3://")
            .ok_or_else(|| bad("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let fits_bucket = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if bucket.is_empty() {
            return Err(bad("the bucket is missing"));
        }
        if !bucket.bytes().all(fits_bucket) {
            return Err(bad("a bucket's name has letters, digits, `-`, `.` and `_` only"));
        }
        // Lance decodes these, and would then look elsewhere.
        if prefix.contains(['%', '?', '#']) {
            return Err(bad("the prefix must not contain %, ? or #"));
        }
        if !prefix.is_empty() && Key::new(prefix).is_err() {
            return Err(bad(
                "the prefix must be names joined by single slashes, none beginning with `.`",
            ));
        }
        if let Some(endpoint) = &options.endpoint {
            let url = url::Url::parse(endpoint).ok();
            if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
                return Err(StoreError::BadEndpoint {
                    endpoint: endpoint.clone(),
                });
            }
        }
        let prefix = match prefix {
            "" => String::new(),
            _ => format!("{prefix}/"),
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix,
            endpoint: options.endpoint.clone(),
            region: options.region.clone(),
        })
    }

    /// The name in the bucket of what is called `key` below the root.
    pub(super) fn object(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of an object; none for what is not below the root, or cannot be a key.
    pub(super) fn key(&self, object: &str) -> Option<Key> {
        Key::new(object.strip_prefix(&self.prefix)?).ok()
    }

    /// `key` with everything that says where it is, for messages.
    pub(super) fn place(&self, key: &str) -> String {
        let server = self.endpoint.as_deref().unwrap_or("AWS");
        format!("s3://{}/{}{key} at {server}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_a_bucket_and_a_prefix() {
        for (uri, bucket, object) in [
            ("s3://graphs/debian", "graphs", "debian/writer.json"),
            ("s3://graphs/a/b/", "graphs", "a/b/writer.json"),
            ("s3://graphs", "graphs", "writer.json"),
            ("s3://graphs/", "graphs", "writer.json"),
        ] {
            let address = S3Address::new(&uri.into()).unwrap();
            assert_eq!(
                (address.bucket.as_str(), address.object("writer.json").as_str()),
                (bucket, object)
            );
            assert_eq!(address.key(object).unwrap().as_str(), "writer.json");
        }
        let address = S3Address::new(&"s3://graphs/debian".into()).unwrap();
        assert_eq!(address.key("debian2/x"), None);
        assert_eq!(address.key("debian/"), None);
        assert_eq!(address.place("x"), "s3://graphs/debian/x at AWS");
    }

    #[test]
    fn a_root_that_two_readers_could_read_differently_is_refused() {
        for uri in [
            "s3://",
            "s3:///x",
            "s3://a b/x",
            "s3://b/a//b",
            "s3://b/../a",
            "s3://b/a%20b",
            "s3://b/a?x=1",
        ] {
            let error = S3Address::new(&uri.into()).unwrap_err();
            assert!(matches!(error, StoreError::BadUri { .. }), "{error}");
        }
        for endpoint in ["minio:9000", "ftp://minio", "http://", ""] {
            let options = StoreOptions {
                endpoint: Some(endpoint.to_owned()),
                ..StoreOptions::from("s3://b/x")
            };
            let error = S3Address::new(&options).unwrap_err().to_string();
            assert!(error.contains(&format!("{endpoint:?}")), "{error}");
        }
    }
}
