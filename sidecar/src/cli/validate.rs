//! `slipstream validate`: what a resource file means, or everything that is wrong with it.

use std::path::PathBuf;

use clap::Args;
use crds::{EdgeTable, Property, ReplicatedGraphDB, SidecarConfig};

use super::error::CliError;
use super::output::{print, table};

/// Arguments of `slipstream validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// The resource
    #[arg(short, long, value_name = "YAML")]
    pub file: PathBuf,
}

/// Prints what the file says.
///
/// # Errors
/// Every field that is wrong, one a line.
pub fn run(args: ValidateArgs) -> Result<(), CliError> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| CliError::read(&args.file, error))?;
    let wrong = |error: &dyn std::fmt::Display| CliError::Resource {
        path: args.file.clone(),
        detail: listed(error),
    };
    let resource = ReplicatedGraphDB::from_yaml(&text).map_err(|error| wrong(&error))?;
    let config = SidecarConfig::from_resource(&resource).map_err(|error| wrong(&error))?;
    print(&understood(&resource, &config));
    Ok(())
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

    fn validate(text: &str) -> Result<(), CliError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        run(ValidateArgs {
            file: file.path().to_owned(),
        })
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
        validate(GOOD).unwrap();
        let bad = GOOD
            .replace("to: Package, properties", "to: Nobody, properties")
            .replace("s3://graphs", "http://graphs");
        let text = validate(&bad).unwrap_err().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("2 fields are wrong"), "{text}");
        assert!(lines[1].starts_with("  spec.storage.uri: "), "{text}");
        assert!(lines[2].starts_with("  spec.schema.edges[0].to: "), "{text}");
        let one = validate(&GOOD.replace("replicas: 2", "replicsa: 2"))
            .unwrap_err()
            .to_string();
        assert!(one.lines().count() == 1 && one.contains("replicsa"), "{one}");
    }
}
