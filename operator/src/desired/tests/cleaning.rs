//! The account of the cleanup Job.

use k8s_openapi::api::core::v1::{LocalObjectReference, ServiceAccount};

use super::{FULL, MINIMAL, graph, with_spec};
use crate::desired::{cleanup_account, writer_account};

#[test]
fn the_cleaning_runs_as_the_writers_account_without_an_owner() {
    for yaml in [MINIMAL, FULL] {
        let graph = graph(yaml);
        let owned = writer_account(&graph);
        let mut kept = cleanup_account(&graph, None).expect("an account");
        assert_eq!(kept.metadata.owner_references, None);
        kept.metadata
            .owner_references
            .clone_from(&owned.metadata.owner_references);
        assert_eq!(kept, owned, "nothing else is different");
    }
}

#[test]
fn what_others_gave_to_the_account_is_kept() {
    let graph = graph(MINIMAL);
    let mut known = writer_account(&graph);
    known.metadata.annotations = Some(
        [
            ("cloud.example/role", "graphs"),
            ("slipstream.dev/applied", "a hash"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    );
    let secrets = Some(vec![LocalObjectReference {
        name: "registry".to_owned(),
    }]);
    known.image_pull_secrets.clone_from(&secrets);
    let kept = cleanup_account(&graph, Some(&known)).expect("an account");
    let annotations = kept.metadata.annotations.clone().unwrap_or_default();
    assert_eq!(annotations.len(), 1, "{annotations:?}");
    assert_eq!(annotations["cloud.example/role"], "graphs");
    assert_eq!(kept.image_pull_secrets, secrets);
    let again = cleanup_account(&graph, Some(&kept));
    assert_eq!(again, Some(kept), "it is stable");
}

#[test]
fn an_account_that_the_pod_template_names_is_not_the_operators() {
    let named = |name: &str| {
        with_spec(&format!(
            "  writer: {{podTemplate: {{spec: {{serviceAccountName: {name}}}}}}}"
        ))
    };
    assert_eq!(cleanup_account(&named("theirs"), None), None::<ServiceAccount>);
    assert!(cleanup_account(&named("small-writer"), None).is_some());
}
