//! What the operator may do: the same for graphs in both scopes, and nothing beyond its namespace where it has one.

use std::collections::BTreeSet;

use serde_yaml::Value;

use crate::helm::{Helm, objects};

/// Rights as (group, resource, verb).
type Rights = BTreeSet<(String, String, String)>;

fn rights(all: &[Value], kind: &str) -> Rights {
    let mut found = Rights::new();
    let of_operator = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        object["kind"] == kind && !name.ends_with("-graphs-view") && !name.ends_with("-graphs-edit")
    };
    for rule in all
        .iter()
        .filter(of_operator)
        .flat_map(|role| role["rules"].as_sequence().unwrap())
    {
        let texts = |field: &str| -> Vec<String> { serde_yaml::from_value(rule[field].clone()).unwrap() };
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for verb in texts("verbs") {
                    found.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    found
}

fn rendered(scope: &str) -> Vec<Value> {
    objects(&Helm::new().template(&[format!("--set=scope={scope}")]).unwrap())
}

fn right(group: &str, resource: &str, verb: &str) -> (String, String, String) {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

#[test]
fn the_operator_has_the_same_rights_over_one_namespace_as_over_all() {
    let (cluster, namespace) = (rendered("Cluster"), rendered("Namespace"));
    let leader = rights(&cluster, "Role");
    let everywhere = rights(&cluster, "ClusterRole");
    let mut here = rights(&namespace, "Role");
    here.extend(rights(&namespace, "ClusterRole"));
    assert_eq!(here, &everywhere | &leader);
    assert!(everywhere.contains(&right("slipstream.dev", "replicatedgraphdbs/status", "patch")));
    assert!(leader.contains(&right("coordination.k8s.io", "leases", "create")));
}

#[test]
fn an_operator_of_one_namespace_may_only_look_at_storage_classes_outside_of_it() {
    let outside = rights(&rendered("Namespace"), "ClusterRole");
    assert_eq!(
        outside,
        Rights::from([right("storage.k8s.io", "storageclasses", "get")])
    );
}

#[test]
fn the_operator_never_reads_secrets_and_holds_no_wildcard() {
    let all = rendered("Cluster");
    for (group, resource, verb) in &rights(&all, "ClusterRole") | &rights(&all, "Role") {
        let right = format!("{group}/{resource} {verb}");
        assert!(!right.contains('*') && resource != "secrets", "{right}");
    }
}

#[test]
fn people_who_may_edit_a_namespace_may_scale_its_graphs() {
    let all = rendered("Cluster");
    let edit = all.iter().find(|object| {
        let name = object["metadata"]["name"].as_str().unwrap();
        object["kind"] == "ClusterRole" && name.ends_with("-graphs-edit")
    });
    let edit = edit.unwrap();
    assert_eq!(
        edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"],
        "true"
    );
    let scales = edit["rules"].as_sequence().unwrap().iter().any(|rule| {
        let resources: Vec<String> = serde_yaml::from_value(rule["resources"].clone()).unwrap();
        resources.contains(&"replicatedgraphdbs/scale".to_owned())
    });
    assert!(scales, "{edit:?}");
}
