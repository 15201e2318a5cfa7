//! The project's own images: its Dockerfile, built by buildah from a local base, with binaries that exist already in the place
//! of the build stage.
//!
//! ```text
//! mmdebstrap ─> base image, once per machine and release ─┐
//! binaries ─> stripped ─> the Dockerfile's build stage ───┴─> buildah ─> archive, once per version of the binaries
//! ```
//!
//! Owns: `images/` in the cache. The base has this machine's release, because that is what the binaries are linked with.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::command::{command, output};
use super::error::{ClusterError, failed};
use super::image_archive::{archive_stem, hash_of_file, hex, remove_older};
use super::place::Place;

const DOCKERFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Dockerfile");
/// What the Dockerfile would install first.
const BASE_PACKAGES: &str = "--include=ca-certificates";
/// Nobody reads manuals in a pod. Copyright files stay.
const BASE_OMITS: [&str; 5] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
];

/// What goes into an image.
#[derive(Debug)]
pub(super) struct Contents {
    /// The Dockerfile's target.
    pub(super) target: &'static str,
    /// With registry and tag.
    pub(super) image: &'static str,
    pub(super) binary: PathBuf,
    /// Shared libraries beside it, each under its own name.
    pub(super) libraries: Vec<PathBuf>,
}

/// The image's archive, built unless these contents were built before.
pub(super) async fn archive(place: &Place, contents: &Contents) -> Result<PathBuf, ClusterError> {
    let base = base_name()?;
    let images = place.images();
    let stem = archive_stem(contents.image);
    let archive = images.join(format!("{stem}-{}.tar", fingerprint(contents, &base).await?));
    if archive.exists() {
        return Ok(archive);
    }
    ensure_base(place, &base).await?;
    let scratch = tempfile::tempdir_in(&images).map_err(failed("make a scratch directory for an image"))?;
    let stage = scratch.path().join("build");
    fill_build_stage(&stage, contents).await?;
    // Binaries come from the stage; the rest of the repository is not needed.
    let context = scratch.path().join("context");
    std::fs::create_dir_all(&context).map_err(failed("make a scratch directory for an image"))?;
    let mut build = buildah(place, "bud");
    build.args([
        "--quiet",
        "--layers",
        "--pull-never",
        "--target",
        contents.target,
        "--tag",
        contents.image,
    ]);
    build.arg(format!("--build-context=build={}", stage.display()));
    build
        .arg(format!("--build-arg=RUNTIME_BASE={base}"))
        .args(["--file", DOCKERFILE])
        .arg(&context);
    output(&mut build).await?;
    remove_older(&images, &stem)?;
    let unfinished = scratch.path().join("archive.tar");
    let to = format!("docker-archive:{}:{}", unfinished.display(), contents.image);
    output(buildah(place, "push").args(["--quiet", contents.image, &to])).await?;
    std::fs::rename(&unfinished, &archive).map_err(failed(format!("write {}", archive.display())))?;
    // The images that the new one replaced, and their layers.
    output(buildah(place, "rmi").args(["--prune"])).await?;
    Ok(archive)
}

async fn fingerprint(contents: &Contents, base: &str) -> Result<String, ClusterError> {
    let mut parts = vec![
        base.to_owned(),
        contents.target.to_owned(),
        hash_of_file(Path::new(DOCKERFILE)).await?,
    ];
    for file in std::iter::once(&contents.binary).chain(&contents.libraries) {
        parts.push(hash_of_file(file).await?);
    }
    Ok(hex(&Sha256::digest(parts.join("\n"))[..8]))
}

/// As the Dockerfile's own stage leaves it: `/out/bin`, `/out/lib`.
async fn fill_build_stage(stage: &Path, contents: &Contents) -> Result<(), ClusterError> {
    let (programs, libraries) = (stage.join("out/bin"), stage.join("out/lib"));
    for directory in [&programs, &libraries] {
        std::fs::create_dir_all(directory).map_err(failed(format!("make {}", directory.display())))?;
    }
    let name = contents.binary.file_name().unwrap_or_default();
    output(
        command("strip")
            .arg("-o")
            .arg(programs.join(name))
            .arg(&contents.binary),
    )
    .await?;
    if !contents.libraries.is_empty() {
        output(command("cp").arg("-a").args(&contents.libraries).arg(&libraries)).await?;
    }
    Ok(())
}

async fn ensure_base(place: &Place, base: &str) -> Result<(), ClusterError> {
    if output(buildah(place, "inspect").args(["--type", "image", base]))
        .await
        .is_ok()
    {
        return Ok(());
    }
    eprintln!("making the base image from Debian's packages, once per machine (a minute)");
    let scratch =
        tempfile::tempdir_in(place.images()).map_err(failed("make a scratch directory for an image"))?;
    let files = scratch.path().join("base.tar");
    let mut debootstrap = command("mmdebstrap");
    debootstrap.args(["--quiet", "--variant=minbase", BASE_PACKAGES]);
    debootstrap
        .args(BASE_OMITS.map(|option| format!("--dpkgopt={option}")))
        .arg(suite()?)
        .arg(&files);
    output(&mut debootstrap).await?;
    let container = output(buildah(place, "from").arg("scratch")).await?;
    let container = container.trim();
    output(
        buildah(place, "add")
            .args(["--quiet", container])
            .arg(&files)
            .arg("/"),
    )
    .await?;
    output(buildah(place, "commit").args(["--quiet", "--rm", container, base]))
        .await
        .map(drop)
}

/// Named by everything that decides its content.
fn base_name() -> Result<String, ClusterError> {
    let decides = format!("{} {BASE_PACKAGES} {BASE_OMITS:?}", suite()?);
    Ok(format!(
        "docker.io/local/slipstream-base:{}",
        hex(&Sha256::digest(decides)[..6])
    ))
}

/// This machine's release: `bookworm`.
fn suite() -> Result<String, ClusterError> {
    let release = std::fs::read_to_string("/etc/os-release").map_err(failed("read /etc/os-release"))?;
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(|name| name.trim_matches('"').to_owned()).ok_or_else(|| {
        failed("find VERSION_CODENAME in /etc/os-release")(std::io::ErrorKind::NotFound.into())
    })
}

/// Needs no daemon, no namespaces of its own, and no file system with layers.
fn buildah(place: &Place, subcommand: &str) -> Command {
    let mut buildah = command("buildah");
    buildah
        .env("STORAGE_DRIVER", "vfs")
        .env("BUILDAH_ISOLATION", "chroot");
    buildah
        .arg("--root")
        .arg(place.images().join("storage"))
        .arg("--runroot")
        .arg(place.images().join("run"));
    buildah.arg(subcommand);
    buildah
}
