//! Images of one layer from a few files, as archives that containerd imports: no base, no build.
//!
//! An archive is named by what it is made of, so it is made once per version of its files.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::command::{command, output};
use super::error::{ClusterError, failed};
use super::place::Place;

/// What an image consists of.
#[derive(Debug)]
pub(super) struct OneLayerImage {
    /// With registry and tag.
    name: String,
    /// Where a file is on this machine, and its absolute path in the image.
    files: Vec<(PathBuf, PathBuf)>,
    entrypoint: PathBuf,
}

impl OneLayerImage {
    /// One static program, at the root of the image.
    pub(super) fn of_program(name: &str, program: &Path) -> Self {
        let entrypoint = Path::new("/").join(program.file_name().unwrap_or_default());
        Self {
            name: name.to_owned(),
            files: vec![(program.to_owned(), entrypoint.clone())],
            entrypoint,
        }
    }

    /// A program of this system, with the shared libraries that it names, each at its own path.
    pub(super) async fn of_system_program(name: &str, program: &Path) -> Result<Self, ClusterError> {
        let listed = output(command("ldd").arg(program)).await?;
        // `name => /path (address)` or `/path (address)`; the kernel's own library has no path.
        let paths = listed
            .split_ascii_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from);
        let mut files: Vec<(PathBuf, PathBuf)> = paths.map(|path| (path.clone(), path)).collect();
        files.push((program.to_owned(), program.to_owned()));
        Ok(Self {
            name: name.to_owned(),
            files,
            entrypoint: program.to_owned(),
        })
    }

    /// The archive, made unless it exists; older ones of the same image are removed.
    pub(super) async fn archive(&self, place: &Place) -> Result<PathBuf, ClusterError> {
        let stem = archive_stem(&self.name);
        let archive = place.images().join(format!("{stem}-{}.tar", self.fingerprint()?));
        if !archive.exists() {
            remove_older(&place.images(), &stem)?;
            self.write(&archive).await?;
        }
        Ok(archive)
    }

    /// By path, size and time of change: enough for files that nobody edits in place.
    fn fingerprint(&self) -> Result<String, ClusterError> {
        let mut hash = Sha256::new();
        for (source, target) in &self.files {
            let doing = format!("look at {}", source.display());
            let path = source.canonicalize().map_err(failed(doing.clone()))?;
            let metadata = path.metadata().map_err(failed(doing))?;
            let changed = metadata
                .modified()
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hash.update(format!("{path:?} {target:?} {} {changed:?}\n", metadata.len()));
        }
        Ok(hex(&hash.finalize()[..8]))
    }

    async fn write(&self, archive: &Path) -> Result<(), ClusterError> {
        let scratch = tempfile::tempdir_in(archive.parent().unwrap_or(Path::new("/tmp")));
        let scratch = scratch.map_err(failed("make a scratch directory for an image"))?;
        let root = scratch.path().join("root");
        for (source, target) in &self.files {
            let copy = root.join(target.strip_prefix("/").unwrap_or(target));
            std::fs::create_dir_all(copy.parent().unwrap_or(&root))
                .map_err(failed("make a directory of an image"))?;
            std::fs::copy(source, &copy).map_err(failed(format!("copy {}", source.display())))?;
        }
        std::fs::create_dir_all(root.join("tmp")).map_err(failed("make a directory of an image"))?;
        let layer = scratch.path().join("layer.tar");
        let mut tar = command("tar");
        tar.args([
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "-cf",
        ])
        .arg(&layer);
        output(tar.arg("-C").arg(&root).arg(".")).await?;
        let layer_hash = hash_of_file(&layer).await?;
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": {"Entrypoint": [self.entrypoint]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_hash}")]},
        });
        let manifest = json!([{"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        for (name, content) in [("config.json", config), ("manifest.json", manifest)] {
            std::fs::write(scratch.path().join(name), content.to_string())
                .map_err(failed(format!("write an image's {name}")))?;
        }
        let unfinished = scratch.path().join("archive.tar");
        let mut tar = command("tar");
        tar.arg("-cf").arg(&unfinished).arg("-C").arg(scratch.path());
        output(tar.args(["manifest.json", "config.json", "layer.tar"])).await?;
        std::fs::rename(&unfinished, archive).map_err(failed(format!("write {}", archive.display())))
    }
}

/// The file name of an image's archives, without fingerprint.
pub(super) fn archive_stem(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last).to_owned()
}

/// Removes `<stem>-<fingerprint>.tar`.
pub(super) fn remove_older(directory: &Path, stem: &str) -> Result<(), ClusterError> {
    let doing = format!("list {}", directory.display());
    for entry in std::fs::read_dir(directory).map_err(failed(doing.clone()))? {
        let path = entry.map_err(failed(doing.clone()))?.path();
        let is_older = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.rsplit_once('-'));
        if is_older.is_some_and(|(found, rest)| found == stem && rest.ends_with(".tar")) {
            std::fs::remove_file(&path).map_err(failed(format!("remove {}", path.display())))?;
        }
    }
    Ok(())
}

/// SHA-256 of a file's content, in hexadecimal.
pub(super) async fn hash_of_file(path: &Path) -> Result<String, ClusterError> {
    let doing = format!("read {}", path.display());
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
        Ok(hex(&hash.finalize()))
    });
    hashed
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(failed(doing))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_of_one_image_do_not_remove_those_of_another() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "slipstream-0011.tar",
            "slipstream-operator-0011.tar",
            "slipstream",
        ] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        remove_older(directory.path(), &archive_stem("docker.io/local/slipstream:e2e")).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["slipstream", "slipstream-operator-0011.tar"]);
    }
}
