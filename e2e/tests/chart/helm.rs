//! The helm program that `./justw tools` builds, and the chart as it renders it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_yaml::Value;
use tempfile::TempDir;

/// Release and namespace of every rendering.
const RELEASE: [&str; 3] = ["slipstream", "--namespace", "graphs"];
/// What templates see as the cluster's version, whatever helm was built against.
const KUBERNETES: &str = "--kube-version=1.34.0";

/// Root of the chart.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/slipstream")
}

/// A file beside this one.
pub(crate) fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/chart")
        .join(path)
}

/// The arguments that choose the values file of a case.
pub(crate) fn values(case: &str) -> Vec<String> {
    let file = beside(&format!("values/{case}.yaml"));
    vec![format!("--values={}", file.display())]
}

/// Helm, with no configuration but its own defaults.
pub(crate) struct Helm {
    program: PathBuf,
    home: TempDir,
}

impl Helm {
    pub(crate) fn new() -> Self {
        let cache = env::var_os("SLIPSTREAM_CACHE").map_or_else(
            || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/slipstream"),
            PathBuf::from,
        );
        let program = cache.join("tools/bin/helm");
        assert!(
            program.exists(),
            "there is no {}: build it with `./justw tools helm`",
            program.display()
        );
        let home = tempfile::tempdir().unwrap();
        Self { program, home }
    }

    /// What helm printed, or else what it complained about.
    pub(crate) fn run(&self, arguments: &[String]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("HOME", self.home.path())
            .env("HELM_CACHE_HOME", self.home.path().join("cache"))
            .env("HELM_CONFIG_HOME", self.home.path().join("config"))
            .env("HELM_DATA_HOME", self.home.path().join("data"))
            .env("KUBECONFIG", "/dev/null")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    pub(crate) fn lint(&self, values: &[String]) -> Result<String, String> {
        let chart = chart().display().to_string();
        let mut arguments = vec!["lint".to_owned(), "--strict".to_owned(), chart];
        arguments.extend_from_slice(values);
        self.run(&arguments)
    }

    /// All manifests, the test hook's too.
    pub(crate) fn template(&self, values: &[String]) -> Result<String, String> {
        self.render("template", values)
    }

    /// What a person reads after an installation.
    pub(crate) fn notes(&self, values: &[String]) -> String {
        let mut arguments = vec!["--dry-run=client".to_owned()];
        arguments.extend_from_slice(values);
        let printed = self.render("install", &arguments).unwrap();
        let (_, notes) = printed.split_once("NOTES:\n").unwrap();
        notes.to_owned()
    }

    fn render(&self, command: &str, further: &[String]) -> Result<String, String> {
        let [release, flag, namespace] = RELEASE.map(str::to_owned);
        let chart = chart().display().to_string();
        let mut arguments = vec![command.to_owned(), release, chart, flag, namespace];
        if command == "template" {
            arguments.push(KUBERNETES.to_owned());
        }
        arguments.extend_from_slice(further);
        self.run(&arguments)
    }
}

/// The objects of a rendering.
pub(crate) fn objects(manifests: &str) -> Vec<Value> {
    manifests
        .split("\n---\n")
        .map(|text| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")))
        .filter(|object: &Value| !object.is_null())
        .collect()
}

/// A file of the chart.
pub(crate) fn chart_file(path: &str) -> String {
    let path = chart().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
