//! A digest of what a version's manifest says, kept in the commit record: Lance's manifests have no checksum of their own.
//!
//! Computed from the manifest in memory, as it was written or read, so it costs no request. Left out is what differs between
//! the two although the content is the same: offsets inside the file, and file sizes that are filled in later.
//!
//! Owns: the digest and its comparison. Does not own: data files, which the storage's own checksums are for.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};

use serde::{Deserialize, Serialize};

use super::{LakeError, TableAt};
use crate::commit_log::VersionMap;

/// Row ids and versions become JSON a byte at a time; the hash takes many of them at once.
const BUFFER_BYTES: usize = 64 << 10;

/// By table, BLAKE3 in hexadecimal of what the manifest at the commit's version says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ManifestDigests(BTreeMap<String, String>);

impl ManifestDigests {
    /// Whether no table has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TableAt {
    /// Enters this table, at the version it is pinned to, into what a commit records.
    ///
    /// # Errors
    /// Not for any manifest that can be read.
    pub fn record_in(
        &self,
        tables: &mut VersionMap,
        manifests: &mut ManifestDigests,
    ) -> Result<(), LakeError> {
        tables.set(self.name(), self.version());
        manifests
            .0
            .insert(self.name().to_owned(), self.manifest_digest()?);
        Ok(())
    }

    /// Checks that the manifest is the one that the commit recorded, where it recorded one.
    ///
    /// # Errors
    /// [`LakeError::Damaged`] names the table and the version.
    pub fn verify_manifest(&self, recorded: &ManifestDigests) -> Result<(), LakeError> {
        match recorded.0.get(self.name()) {
            Some(recorded) if *recorded != self.manifest_digest()? => Err(LakeError::Damaged {
                table: self.name().to_owned(),
                version: self.version().to_string(),
                detail: "it does not say what the commit recorded".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn manifest_digest(&self) -> Result<String, LakeError> {
        let manifest = self.dataset.manifest();
        let mut hasher = blake3::Hasher::new();
        let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, &mut hasher);
        let mut add = |part: &dyn erased::Json| part.write(&mut buffered);
        add(&(manifest.version, manifest.next_row_id))?;
        add(&(manifest.reader_feature_flags, manifest.base_paths.len()))?;
        for field in manifest.schema.fields_pre_order() {
            add(&(
                field.id,
                &field.name,
                field.logical_type.to_string(),
                field.nullable,
            ))?;
        }
        for fragment in manifest.fragments.iter() {
            add(&(fragment.id, fragment.physical_rows, &fragment.overlays))?;
            add(&(&fragment.deletion_file, &fragment.row_id_meta))?;
            add(&(
                &fragment.created_at_version_meta,
                &fragment.last_updated_at_version_meta,
            ))?;
            for file in &fragment.files {
                let format = (file.file_major_version, file.file_minor_version, file.base_id);
                add(&(
                    &file.path,
                    file.fields.as_ref(),
                    file.column_indices.as_ref(),
                    format,
                ))?;
            }
        }
        buffered.flush().map_err(erased::failed)?;
        drop(buffered);
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// JSON of parts of different types.
mod erased {
    use std::io::BufWriter;

    use super::LakeError;

    pub(super) trait Json {
        fn write(&self, hasher: &mut BufWriter<&mut blake3::Hasher>) -> Result<(), LakeError>;
    }

    impl<T: serde::Serialize> Json for T {
        fn write(&self, hasher: &mut BufWriter<&mut blake3::Hasher>) -> Result<(), LakeError> {
            serde_json::to_writer(hasher, self).map_err(failed)
        }
    }

    pub(super) fn failed(error: impl ToString) -> LakeError {
        LakeError::Rows(arrow::error::ArrowError::JsonError(error.to_string()))
    }
}
