//! What an edit of the resource file means for what runs.
//!
//! Owns: the decision, which is pure. Does not own: carrying it out (`supervisor`).

use super::resource::LocalGraph;

/// A judged edit.
#[derive(Debug, PartialEq)]
pub(super) enum Edit {
    /// Goes into effect.
    Accepted {
        graph: Box<LocalGraph>,
        /// The writer takes over a new schema only when it starts.
        restart_writer: bool,
        /// What changes, for people; empty when nothing does.
        changes: Vec<String>,
    },
    /// What runs goes on as it is; why, one line per field.
    Refused(Vec<String>),
}

/// Judges the new `text` of the resource against what was accepted before.
///
/// Refused: what cannot be read, any immutable field, and more replicas than there are ports after `port`.
pub(super) fn judge(before: &LocalGraph, text: &str, store_uri: Option<&str>, port: u16) -> Edit {
    let after = match LocalGraph::read(text, store_uri) {
        Ok(after) => after,
        Err(error) => return Edit::Refused(error.to_string().lines().map(str::to_owned).collect()),
    };
    let mut refused = Vec::new();
    if before.config.graph != after.config.graph {
        let name =
            |graph: &LocalGraph| format!("{}/{}", graph.config.graph.namespace, graph.config.graph.name);
        refused.push(format!(
            "metadata: changed from `{}` to `{}`; it is immutable",
            name(before),
            name(&after)
        ));
    }
    refused.extend(check_ports(&after, port));
    let added = match before.resource.check_change(&after.resource) {
        Ok(added) => added,
        Err(errors) => {
            refused.extend(errors.0.iter().map(ToString::to_string));
            return Edit::Refused(refused);
        }
    };
    if !refused.is_empty() {
        return Edit::Refused(refused);
    }

    let mut changes = Vec::new();
    let (old, new) = (&before.resource.spec, &after.resource.spec);
    if old.replicas != new.replicas {
        changes.push(format!("replicas {} -> {}", old.replicas, new.replicas));
    }
    changes.extend(
        added
            .new_nodes
            .iter()
            .map(|table| format!("new node table {table}")),
    );
    changes.extend(
        added
            .new_edges
            .iter()
            .map(|table| format!("new edge table {table}")),
    );
    changes.extend(
        added
            .new_properties
            .iter()
            .map(|(table, property)| format!("new property {table}.{}", property.name)),
    );
    match (old.suspend, new.suspend) {
        (false, true) => changes.push("suspended: all processes stop, the store stays as it is".to_owned()),
        (true, false) => changes.push("no longer suspended".to_owned()),
        (true, true) => changes.push("still suspended: takes effect when `suspend` is false".to_owned()),
        (false, false) => {}
    }
    if before.has_other_servers(&after) {
        changes.push(
            "another address of S3 or NATS: takes effect when `slipstream local` is started again".to_owned(),
        );
    }
    let mut read_again = after.config.clone();
    read_again.schema = before.config.schema.clone();
    read_again.storage = before.config.storage.clone();
    read_again.events.nats = before.config.events.nats.clone();
    if read_again != before.config {
        changes.push("new settings, which the processes read by themselves".to_owned());
    }
    Edit::Accepted {
        restart_writer: !added.is_empty(),
        graph: Box::new(after),
        changes,
    }
}

/// Every replica needs a port.
pub(super) fn check_ports(graph: &LocalGraph, port: u16) -> Option<String> {
    let replicas = graph.resource.spec.replicas;
    let room = u32::from(u16::MAX - port);
    (replicas > room)
        .then(|| format!("spec.replicas: found {replicas}, expected at most {room}, the ports after {port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = "
apiVersion: slipstream.dev/v1alpha1
kind: ReplicatedGraphDB
metadata: {name: debian}
spec:
  replicas: 2
  storage: {uri: s3://graphs/debian}
  readiness: {maxLagCommits: 10}
  suspend: false
  schema:
    nodes:
      - {name: Package, primaryKey: name, properties: [{name: name, type: string}]}
";
    const STORE: &str = "file:///data/store";

    fn judged(edits: &[(&str, &str)], port: u16) -> Edit {
        judged_with(Some(STORE), edits, port)
    }

    fn judged_with(store_uri: Option<&str>, edits: &[(&str, &str)], port: u16) -> Edit {
        let before = LocalGraph::read(RESOURCE, store_uri).unwrap();
        let after = edits.iter().fold(RESOURCE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        judge(&before, &after, store_uri, port)
    }

    #[test]
    fn another_server_matters_only_where_servers_are_used() {
        let edits = [(
            "{uri: s3://graphs/debian}",
            "{uri: s3://graphs/debian, endpoint: 'http://s3:9000'}",
        )];
        for (store_uri, expected) in [
            (Some(STORE), &[][..]),
            (
                None,
                &["another address of S3 or NATS: takes effect when `slipstream local` is started again"],
            ),
        ] {
            let Edit::Accepted { changes, .. } = judged_with(store_uri, &edits, 7700) else {
                panic!("{store_uri:?}")
            };
            assert_eq!(changes, expected);
        }
    }

    #[test]
    fn what_may_change_is_accepted_and_only_a_new_schema_restarts_the_writer() {
        for (edits, expected_restart, expected_changes) in [
            (&[][..], false, &[][..]),
            (
                &[("replicas: 2", "replicas: 3 # more")],
                false,
                &["replicas 2 -> 3"],
            ),
            (
                &[("maxLagCommits: 10", "maxLagCommits: 5")],
                false,
                &["new settings, which the processes read by themselves"],
            ),
            (
                &[("type: string}]", "type: string}, {name: size, type: int64}]")],
                true,
                &["new property Package.size"],
            ),
            (
                &[(
                    "    nodes:\n",
                    "    edges: [{name: DEPENDS, from: Package, to: Package}]\n    nodes:\n",
                )],
                true,
                &["new edge table DEPENDS"],
            ),
            (
                &[("suspend: false", "suspend: true")],
                false,
                &["suspended: all processes stop, the store stays as it is"],
            ),
        ] {
            let Edit::Accepted {
                restart_writer,
                changes,
                ..
            } = judged(edits, 7700)
            else {
                panic!("{edits:?}")
            };
            assert_eq!(
                (restart_writer, changes.iter().map(String::as_str).collect()),
                (expected_restart, expected_changes.to_vec())
            );
        }
    }

    #[test]
    fn what_is_wrong_or_immutable_is_refused_with_its_field() {
        for (edits, port, field) in [
            (
                &[("replicas: 2", "replicas: two")][..],
                7700,
                "failed to read the resource: spec.replicas",
            ),
            (
                &[("name: debian", "name: ubuntu")],
                7700,
                "metadata: changed from `default/debian` to `default/ubuntu`",
            ),
            (
                &[("s3://graphs/debian", "s3://graphs/other")],
                7700,
                "spec.storage.uri: changed",
            ),
            (
                &[("type: string", "type: int64")],
                7700,
                "spec.schema.nodes[0].properties[0].type: changed",
            ),
            (&[("name: Package", "name: Pkg")], 7700, "spec.schema.nodes: "),
            (
                &[("replicas: 2", "replicas: 3")],
                65533,
                "spec.replicas: found 3, expected at most 2",
            ),
        ] {
            let Edit::Refused(problems) = judged(edits, port) else {
                panic!("{edits:?}")
            };
            assert!(
                problems[0].starts_with(field),
                "{field:?} does not begin {problems:?}"
            );
        }
    }
}
