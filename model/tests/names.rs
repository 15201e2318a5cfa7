//! The model speaks of the sidecar: every function that an action names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use slipstream_model::Action;

/// One action of each kind; the match says which are missing here.
fn one_of_each() -> Vec<Action> {
    use slipstream_model::Put;
    let put = Put::Answered;
    let all = vec![
        Action::Claim(0),
        Action::ReadHead(0),
        Action::PutBarrier(0),
        Action::ConfirmBarrier(0),
        Action::Settle(0),
        Action::RollForward(0),
        Action::Submit(0, 0),
        Action::WriteLance(0, 0),
        Action::PrepareGraph {
            writer: 0,
            fails: false,
        },
        Action::PutRecord(0, put),
        Action::ReadBack(0),
        Action::Confirm(0),
        Action::FinishGraph(0),
        Action::Publish {
            writer: 0,
            lost: false,
        },
        Action::Answer(0),
        Action::Undo {
            writer: 0,
            redo: false,
        },
        Action::Restore {
            writer: 0,
            table: 0,
            redo: false,
        },
        Action::Beat(0),
        Action::Optimize(0),
        Action::PlanCleaning(0),
        Action::Clean(0),
        Action::Trim(0),
        Action::RunOnce(0),
        Action::Apply(0),
        Action::Build(0),
        Action::Renew(0),
        Action::RestoreSnapshot(0),
        Action::TakeSnapshot(0),
        Action::UploadParts(0),
        Action::PutMeta(0),
        Action::Retain(0),
    ];
    let kinds: BTreeSet<String> = all.iter().map(kind).collect();
    assert_eq!(kinds.len(), all.len());
    all
}

fn kind(action: &Action) -> String {
    let text = format!("{action:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn sources(below: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(below).expect("the sidecar's sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            found.push((path, text));
        }
    }
}

/// Whether some file is of the module (or has an `impl` of the type) and has the function.
fn is_there(sources: &[(PathBuf, String)], named: &str) -> bool {
    let (owner, function) = named.split_once("::").expect("owner::function");
    let is_type = owner.starts_with(char::is_uppercase);
    sources.iter().any(|(path, text)| {
        let owned = if is_type {
            text.contains(&format!("impl {owner} {{")) || text.contains(&format!("impl {owner}<"))
        } else {
            path.iter()
                .any(|part| part == owner || part.to_str() == Some(&format!("{owner}.rs")))
        };
        owned && text.contains(&format!("fn {function}("))
    })
}

#[test]
fn every_action_of_a_process_names_a_function_of_the_sidecar() {
    let mut found = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../sidecar/src"),
        &mut found,
    );
    assert!(found.len() > 100, "the sidecar's sources: {}", found.len());
    let named = one_of_each()
        .into_iter()
        .filter_map(|action| action.implemented_by());
    let missing: BTreeSet<&str> = named.filter(|named| !is_there(&found, named)).collect();
    assert!(
        missing.is_empty(),
        "not in sidecar/src (renamed there? then look at what changed, and at the model): {missing:?}"
    );
}

#[test]
fn a_function_that_is_not_there_is_found_out() {
    let sources = [(
        PathBuf::from("src/writer/takeover.rs"),
        "pub(super) async fn claim(\nimpl Session {".to_owned(),
    )];
    assert!(is_there(&sources, "takeover::claim") && is_there(&sources, "Session::claim"));
    assert!(!is_there(&sources, "takeover::clai") && !is_there(&sources, "barrier::claim"));
    assert!(!is_there(&sources, "takeover::barrier") && !is_there(&sources, "Writer::claim"));
}
