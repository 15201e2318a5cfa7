//! JetStream's consumers, as the NATS server itself tells them on its monitoring port.

use serde_json::Value;

use super::Space;
use super::pods::PodView;
use crate::scenarios::ScenarioError;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

const MONITOR: u16 = 8222;

/// Names of all consumers that begin with `prefix`, sorted; `backends` is the NATS server's namespace.
///
/// # Errors
/// When the server does not answer.
pub async fn consumers(backends: &Space, prefix: &str) -> Result<Vec<String>, ScenarioError> {
    let selector = ListParams::default().labels("app=nats");
    let pods = backends.api::<Pod>().list(&selector).await?.items;
    let server = pods.iter().map(PodView::of).find(|pod| pod.ready && !pod.leaving);
    let address = server.and_then(|pod| pod.ip).unwrap_or_default();
    let url = format!("http://{address}:{MONITOR}/jsz?consumers=true");
    let asked = async {
        reqwest::get(&url)
            .await?
            .error_for_status()?
            .json::<Value>()
            .await
    };
    let answer = asked.await.map_err(|error| {
        ScenarioError::wrong(url.clone(), "an answer of the NATS server", error.to_string())
    })?;
    let mut names = Vec::new();
    collect(&answer, prefix, &mut names);
    names.sort();
    Ok(names)
}

/// The answer nests accounts, their streams and these's consumers.
fn collect(value: &Value, prefix: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if let (true, Value::Array(consumers)) = (key == "consumer_detail", value) {
                    let found = consumers.iter().filter_map(|consumer| consumer["name"].as_str());
                    names.extend(found.filter(|name| name.starts_with(prefix)).map(str::to_owned));
                } else {
                    collect(value, prefix, names);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, prefix, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn consumers_are_found_wherever_they_are() {
        let streams =
            json!([{"name": "S", "consumer_detail": [{"name": "a_x"}, {"name": "b_y"}]}, {"name": "T"}]);
        let answer = json!({"streams": 1, "account_details": [{"name": "$G", "stream_detail": streams}]});
        let mut names = Vec::new();
        collect(&answer, "a_", &mut names);
        assert_eq!(names, ["a_x"]);
    }
}
