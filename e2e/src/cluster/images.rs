//! Which images the cluster gets, and how they reach the node.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::command::{command, output};
use super::error::{ClusterError, failed};
use super::image_archive::OneLayerImage;
use super::image_build::{self, Contents};
use super::place::Place;
use crate::local_process::find_binary;

/// The sidecar's image, as pods name it (with `imagePullPolicy: Never` or `IfNotPresent`).
pub const SIDECAR_IMAGE: &str = "docker.io/local/slipstream:e2e";
/// The operator's.
pub const OPERATOR_IMAGE: &str = "docker.io/local/slipstream-operator:e2e";
/// Where .cargo/config.toml finds the engine's library as well.
const ENGINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.engine");

/// Builds what is not built and imports both.
pub(super) async fn install(place: &Place) -> Result<(), ClusterError> {
    for contents in [operator()?, sidecar()?] {
        let archive = image_build::archive(place, &contents).await?;
        import(place, &archive).await?;
    }
    Ok(())
}

/// Imports one archive; again: changes nothing.
pub(super) async fn import(place: &Place, archive: &Path) -> Result<(), ClusterError> {
    let imported = place.imported(archive);
    if imported.exists() {
        return Ok(());
    }
    output(ctr(place).args(["images", "import"]).arg(archive)).await?;
    std::fs::write(&imported, "").map_err(failed(format!("write {}", imported.display())))
}

/// Imports the image of one program that `tools.sh` built.
pub(super) async fn import_tool(place: &Place, image: &str, tool: &str) -> Result<(), ClusterError> {
    let archive = OneLayerImage::of_program(image, &place.tool(tool))
        .archive(place)
        .await?;
    import(place, &archive).await
}

/// Imports the image of one program of this system.
pub(super) async fn import_system_program(
    place: &Place,
    image: &str,
    name: &str,
) -> Result<(), ClusterError> {
    let found = output(command("sh").args(["-c", r#"command -v "$0""#, name])).await?;
    let program = OneLayerImage::of_system_program(image, Path::new(found.trim())).await?;
    import(place, &program.archive(place).await?).await
}

/// Gives an imported image a second name.
pub(super) async fn tag(place: &Place, image: &str, name: &str) -> Result<(), ClusterError> {
    output(ctr(place).args(["images", "tag", "--force", image, name]))
        .await
        .map(drop)
}

/// containerd's own client, in the namespace that kubelet sees.
pub(super) fn ctr(place: &Place) -> Command {
    let mut ctr = command("ctr");
    ctr.arg("--address")
        .arg(place.containerd_socket())
        .args(["--namespace", "k8s.io"]);
    ctr
}

/// A program that was built together with the running one.
pub(super) fn built(name: &'static str) -> Result<PathBuf, ClusterError> {
    let missing = |path: PathBuf| ClusterError::Missing {
        name: name.to_owned(),
        path,
        remedy: "build the whole workspace first (./justw build)",
    };
    let sidecar = find_binary().map_err(|_| missing(PathBuf::from("the directory of this program")))?;
    let path = sidecar.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(missing(path))
    }
}

fn operator() -> Result<Contents, ClusterError> {
    Ok(Contents {
        target: "operator",
        image: OPERATOR_IMAGE,
        binary: built("slipstream-operator")?,
        libraries: Vec::new(),
    })
}

fn sidecar() -> Result<Contents, ClusterError> {
    let doing = format!("list the graph engine's library in {ENGINE}");
    let mut libraries = Vec::new();
    for entry in std::fs::read_dir(ENGINE).map_err(failed(doing.clone()))? {
        let entry = entry.map_err(failed(doing.clone()))?;
        if entry.file_name().to_string_lossy().starts_with("liblbug.so") {
            libraries.push(entry.path());
        }
    }
    libraries.sort();
    Ok(Contents {
        target: "sidecar",
        image: SIDECAR_IMAGE,
        binary: built("slipstream")?,
        libraries,
    })
}
