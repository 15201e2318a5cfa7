//! How Lance reaches the tables: the same server, region and addressing as the store; credentials come from the same
//! environment, by AWS's default chain.

use crate::store::StoreOptions;

/// Lance's storage options, for every table that is opened or made.
pub(super) fn storage_options(options: &StoreOptions) -> Vec<(&'static str, String)> {
    // Row ids that survive updates and compaction: the local graphs keep them.
    let mut found = vec![("new_table_enable_stable_row_ids", "true".to_owned())];
    if !options.is_s3() {
        return found;
    }
    if let Some(endpoint) = &options.endpoint {
        // Two names for it, because Lance would take what is not named here from the environment, and prefer the second.
        found.push(("aws_endpoint", endpoint.clone()));
        found.push(("aws_endpoint_url_s3", endpoint.clone()));
        found.push(("allow_http", endpoint.starts_with("http://").to_string()));
        // Bucket names as host names need a DNS that such a server rarely has.
        found.push(("aws_virtual_hosted_style_request", "false".to_owned()));
    }
    if let Some(region) = &options.region {
        found.push(("aws_region", region.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_its_own_is_reached_by_path_and_without_tls_only_if_it_says_so() {
        let options = |endpoint: &str| StoreOptions {
            endpoint: Some(endpoint.to_owned()),
            region: Some("us-east-1".to_owned()),
            ..StoreOptions::from("s3://graphs/debian")
        };
        for (endpoint, allow_http) in [("http://s3:9000", "true"), ("https://s3:9000", "false")] {
            let found = storage_options(&options(endpoint));
            for expected in [
                ("aws_endpoint", endpoint),
                ("aws_endpoint_url_s3", endpoint),
                ("allow_http", allow_http),
                ("aws_virtual_hosted_style_request", "false"),
                ("aws_region", "us-east-1"),
            ] {
                assert!(
                    found
                        .iter()
                        .any(|(name, value)| (*name, value.as_str()) == expected),
                    "{found:?}"
                );
            }
        }
        for elsewhere in ["file:///data", "s3://graphs/debian"] {
            assert_eq!(storage_options(&elsewhere.into()).len(), 1, "{elsewhere}");
        }
    }
}
