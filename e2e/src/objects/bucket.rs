//! What a graph has in the store, seen with another S3 client than the product's own.

use std::collections::HashMap;
use std::sync::Arc;

use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor};

use crate::cluster::Backends;
use crate::scenarios::ScenarioError;

/// A directory of the bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// `s3://bucket/prefix`
    uri: String,
    params: ObjectStoreParams,
}

impl Bucket {
    /// The root of a graph; `endpoint` is where the S3 server answers from here.
    pub fn new(backends: &Backends, endpoint: &str, uri: &str) -> Self {
        let options: HashMap<String, String> = [
            ("aws_endpoint", endpoint),
            ("aws_access_key_id", &backends.s3_access_key),
            ("aws_secret_access_key", &backends.s3_secret_key),
            ("aws_region", "us-east-1"),
            ("aws_virtual_hosted_style_request", "false"),
            ("allow_http", "true"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        let params = ObjectStoreParams {
            storage_options_accessor: Some(Arc::new(StorageOptionsAccessor::with_static_options(options))),
            ..ObjectStoreParams::default()
        };
        Self {
            uri: uri.to_owned(),
            params,
        }
    }

    /// Names directly below `directory`, sorted.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, directory: &str) -> Result<Vec<String>, ScenarioError> {
        let uri = format!("{}/{directory}", self.uri);
        let listed = async {
            let registry = Arc::new(ObjectStoreRegistry::default());
            let (store, path) = ObjectStore::from_uri_and_params(registry, &uri, &self.params).await?;
            store.read_dir(path).await
        };
        let mut names = listed.await.map_err(|source| ScenarioError::Bucket {
            uri: uri.clone(),
            source,
        })?;
        names.sort();
        Ok(names)
    }

    /// Ids of the replicas that hold a lease, sorted.
    ///
    /// # Errors
    /// As [`Bucket::list`].
    pub async fn leases(&self) -> Result<Vec<String>, ScenarioError> {
        let names = self.list("replicas").await?;
        let id = |name: String| name.strip_suffix(".json").map(str::to_owned);
        Ok(names.into_iter().filter_map(id).collect())
    }
}
