//! Where a graph's root is and how it is reached: one value for the store and for Lance's tables.
//!
//! Owns: what the environment adds to it. Does not own: what a URI may look like (each backend), nor credentials: those
//! come from the environment's own chain, never from a config.

/// Region of a server that has an address of its own but no regions.
const DEFAULT_REGION: &str = "us-east-1";
/// The last one is read by Lance alone, which must not look elsewhere than the store does.
const ENDPOINT_VARIABLES: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// A graph's root: `spec.storage` without its Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// `s3://bucket/prefix`, `file:///absolute/path` or `memory://name`.
    pub uri: String,
    /// Address of the S3 server, `http://…` or `https://…`; none for AWS. With it, buckets are part of the path.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
}

impl StoreOptions {
    /// Whether the root is on an S3 server.
    pub fn is_s3(&self) -> bool {
        self.uri.starts_with("s3://")
    }

    /// What is not set is taken from the variables that AWS's own tools read; a server with an address of its own has a
    /// region in any case. So every part of the process sees the same server.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        if self.is_s3() {
            self.complete(|name| std::env::var(name).ok());
        }
        self
    }

    fn complete(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let first = |names: &[&str]| {
            let mut set = names.iter().filter_map(|name| variable(name));
            set.find(|value| !value.is_empty())
        };
        if self.endpoint.is_none() {
            self.endpoint = first(&ENDPOINT_VARIABLES);
        }
        if self.region.is_none() {
            self.region = first(&REGION_VARIABLES);
        }
        if self.region.is_none() && self.endpoint.is_some() {
            self.region = Some(DEFAULT_REGION.to_owned());
        }
    }
}

impl From<&crds::Storage> for StoreOptions {
    fn from(storage: &crds::Storage) -> Self {
        Self {
            uri: storage.uri.clone(),
            endpoint: storage.endpoint.clone(),
            region: storage.region.clone(),
        }
    }
}

impl From<&str> for StoreOptions {
    fn from(uri: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            endpoint: None,
            region: None,
        }
    }
}

impl From<&String> for StoreOptions {
    fn from(uri: &String) -> Self {
        uri.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_resource_names_wins_and_the_environment_fills_the_rest() {
        let variables = |name: &str| match name {
            "AWS_ENDPOINT_URL_S3" => Some(String::new()),
            "AWS_ENDPOINT_URL" => Some("http://env:1".to_owned()),
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            _ => None,
        };
        let completed = |endpoint: Option<&str>, region: Option<&str>, is_set: bool| {
            let mut options = StoreOptions {
                endpoint: endpoint.map(str::to_owned),
                region: region.map(str::to_owned),
                ..StoreOptions::from("s3://graphs/debian")
            };
            options.complete(|name| variables(name).filter(|_| is_set));
            (options.endpoint, options.region)
        };
        let some = |text: &str| Some(text.to_owned());
        for (endpoint, region, is_set, expected) in [
            (
                Some("http://s3:9000"),
                Some("r"),
                true,
                (some("http://s3:9000"), some("r")),
            ),
            (None, None, true, (some("http://env:1"), some("eu-central-1"))),
            (
                Some("http://s3:9000"),
                None,
                false,
                (some("http://s3:9000"), some("us-east-1")),
            ),
            (None, Some("r"), false, (None, some("r"))),
            (None, None, false, (None, None)),
        ] {
            assert_eq!(
                completed(endpoint, region, is_set),
                expected,
                "{endpoint:?} {region:?} {is_set}"
            );
        }
    }
}
