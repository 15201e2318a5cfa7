//! `slipstream validate`: what a resource file means, or everything that is wrong with it.

use std::path::PathBuf;

use clap::Args;
use crds::{EdgeTable, Property, ReplicatedGraphDB, ResourceError, SidecarConfig};
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Output, pretty, print, table};

/// Arguments of `slipstream validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// The resource
    #[arg(short, long, value_name = "YAML")]
    pub file: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints what the file says.
///
/// # Errors
/// Every field that is wrong, one a line.
pub fn run(args: ValidateArgs) -> Result<(), CliError> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| CliError::read(&args.file, error))?;
    let validated = validate(&text);
    match (args.output, &validated) {
        (Output::Json, Ok((resource, config))) => print(&pretty(&as_json(resource, config))),
        (Output::Json, Err(wrong)) => print(&pretty(&wrong_as_json(wrong))),
        (Output::Table, Ok((resource, config))) => print(&understood(resource, config)),
        (Output::Table, Err(_)) => {}
    }
    validated.map(drop).map_err(|wrong| CliError::Resource {
        path: args.file,
        detail: listed(&wrong),
    })
}

fn validate(text: &str) -> Result<(ReplicatedGraphDB, SidecarConfig), ResourceError> {
    let resource = ReplicatedGraphDB::from_yaml(text)?;
    let config = SidecarConfig::from_resource(&resource)?;
    Ok((resource, config))
}

/// What was understood, defaults filled in, with the resource's own names.
fn as_json(resource: &ReplicatedGraphDB, config: &SidecarConfig) -> Value {
    json!({
        "valid": true,
        "graph": config.graph,
        "replicas": resource.spec.replicas,
        "suspend": resource.spec.suspend,
        "storage": config.storage,
        "events": config.events,
        "schema": config.schema,
    })
}

/// Each error with its field, where it is one of a field that could be read.
fn wrong_as_json(wrong: &ResourceError) -> Value {
    let error = |field: Option<&str>, message: &str| json!({"field": field, "message": message});
    let errors: Vec<Value> = match wrong {
        ResourceError::Invalid(errors) => {
            let fields = errors.0.iter();
            fields
                .map(|wrong| error(Some(&wrong.field), &wrong.problem))
                .collect()
        }
        ResourceError::UnknownFields(fields) => fields
            .iter()
            .map(|field| error(Some(field), "unknown field"))
            .collect(),
        ResourceError::OtherKind {
            field,
            found,
            expected,
        } => vec![error(
            Some(field),
            &format!("found `{found}`, expected `{expected}`"),
        )],
        ResourceError::Parse(cause) => vec![error(None, &cause.to_string())],
    };
    json!({"valid": false, "errors": errors})
}

/// One error as it is, several each on a line of its own.
fn listed(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    match text.lines().count() {
        0 | 1 => text,
        count => format!("{count} fields are wrong\n  {}", text.replace('\n', "\n  ")),
    }
}

fn understood(resource: &ReplicatedGraphDB, config: &SidecarConfig) -> String {
    let schema = &config.schema;
    let mut tables = table(&["table", "kind", "identified by", "properties"]);
    for node in &schema.nodes {
        let properties = properties(&node.properties, |property| node.requires(property));
        tables.add_row([
            node.name.clone(),
            "node".to_owned(),
            node.primary_key.clone(),
            properties,
        ]);
    }
    for edge in &schema.edges {
        let properties = properties(&edge.properties, |property| edge.requires(property));
        let kind = format!("edge {} -> {}", edge.from, edge.to);
        tables.add_row([edge.name.clone(), kind, identity(edge), properties]);
    }
    let nats = config
        .events
        .nats
        .as_ref()
        .map(|nats| format!("NATS at {}, ", nats.url))
        .unwrap_or_default();
    let replicas = if resource.spec.suspend {
        "suspended".to_owned()
    } else {
        format!("replicas {}", resource.spec.replicas)
    };
    format!(
        "graph {}/{}: {replicas}, storage {}, {nats}polling every {}\n{tables}\nvalid: node tables {}, edge tables {}",
        config.graph.namespace,
        config.graph.name,
        config.storage.uri,
        config.events.poll_interval,
        schema.nodes.len(),
        schema.edges.len(),
    )
}

fn identity(edge: &EdgeTable) -> String {
    edge.key
        .as_ref()
        .map_or_else(|| "from, to".to_owned(), |key| format!("from, to, {key}"))
}

/// `name string!, size int64, tags list of string, embedding vector of 384`; `!` stands for required.
fn properties(properties: &[Property], requires: impl Fn(&Property) -> bool) -> String {
    let one = |property: &Property| {
        let items = property.items.map(|items| format!(" of {items}"));
        let dimension = property.dimension.map(|dimension| format!(" of {dimension}"));
        let of = items.or(dimension).unwrap_or_default();
        format!(
            "{} {}{of}{}",
            property.name,
            property.property_type,
            if requires(property) { "!" } else { "" }
        )
    };
    properties.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const GOOD: &str = include_str!("../../../crds/tests/design.yaml");

    fn run_on(text: &str) -> Result<(), CliError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        run(ValidateArgs {
            file: file.path().to_owned(),
            output: Output::Table,
        })
    }

    #[test]
    fn as_json_a_good_file_says_what_was_understood_and_a_bad_one_every_field() {
        let (resource, config) = validate(GOOD).unwrap();
        let good = as_json(&resource, &config);
        assert_eq!(
            (
                &good["valid"],
                &good["graph"]["name"],
                &good["replicas"],
                &good["storage"]["uri"]
            ),
            (
                &json!(true),
                &json!("debian"),
                &json!(2),
                &json!("s3://graphs/debian")
            )
        );
        assert_eq!(
            good["schema"]["nodes"].as_array().map(Vec::len),
            Some(2),
            "{good}"
        );

        for (bad, fields) in [
            (
                GOOD.replace("to: Package, properties", "to: Nobody, properties")
                    .replace("s3://graphs", "http://graphs"),
                vec![json!("spec.storage.uri"), json!("spec.schema.edges[0].to")],
            ),
            (
                GOOD.replace("ReplicatedGraphDB", "Deployment"),
                vec![json!("kind")],
            ),
            (GOOD.replace("replicas: 2", "replicas: many"), vec![json!(null)]),
        ] {
            let wrong = wrong_as_json(&validate(&bad).unwrap_err());
            let errors = wrong["errors"].as_array().unwrap();
            let found: Vec<Value> = errors.iter().map(|error| error["field"].clone()).collect();
            assert_eq!((&wrong["valid"], found), (&json!(false), fields), "{wrong}");
            assert!(
                errors
                    .iter()
                    .all(|error| error["message"].as_str().is_some_and(|text| !text.is_empty())),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_was_understood_names_every_table_and_property() {
        let resource = ReplicatedGraphDB::from_yaml(GOOD).unwrap();
        let text = understood(&resource, &SidecarConfig::from_resource(&resource).unwrap());
        for part in [
            "graph graphs/debian: replicas 2, storage s3://graphs/debian, NATS at nats://nats:4222, polling every 500ms",
            "name string!, size int64, tags list of string, embedding vector of 384",
            "edge Maintainer -> Package",
            "from, to, since",
            "valid: node tables 2, edge tables 2",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn every_wrong_field_is_on_a_line_of_its_own() {
        run_on(GOOD).unwrap();
        let bad = GOOD
            .replace("to: Package, properties", "to: Nobody, properties")
            .replace("s3://graphs", "http://graphs");
        let text = run_on(&bad).unwrap_err().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("2 fields are wrong"), "{text}");
        assert!(lines[1].starts_with("  spec.storage.uri: "), "{text}");
        assert!(lines[2].starts_with("  spec.schema.edges[0].to: "), "{text}");
        let one = run_on(&GOOD.replace("replicas: 2", "replicsa: 2"))
            .unwrap_err()
            .to_string();
        assert!(one.lines().count() == 1 && one.contains("replicsa"), "{one}");
    }
}
