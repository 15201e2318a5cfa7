//! One part of a snapshot on its way to the store and back: a piece of the file ⇄ a zstd frame ⇄ an object.
//!
//! Guarantees: a part that was stored was read back and had the bytes that were sent; one that was fetched has the size and
//! hash that the meta data names. A part is created, never replaced: two uploads cannot mix.

use bytes::Bytes;

use super::meta::{key, part_name};
use super::patient::Patient;
use super::{SnapshotError, SnapshotMeta, SnapshotPart};
use crate::store::Store;

/// Runs CPU or file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SnapshotError::Internal {
            doing,
            detail: error.to_string(),
        }),
    }
}

/// Compresses the piece `index` of the file, stores it and reads it back.
pub(super) async fn store_part(
    store: &dyn Store,
    tx_id: &str,
    index: usize,
    raw: Vec<u8>,
    level: i32,
) -> Result<SnapshotPart, SnapshotError> {
    let name = part_name(index);
    let raw_size = raw.len() as u64;
    let (stored, hash) = blocking("compress a part", move || pack(&raw, level)).await?;
    let part = SnapshotPart {
        name,
        size: stored.len() as u64,
        raw_size,
        blake3: hash,
    };
    let object = key(tx_id, &part.name)?;
    // What is there decides, whoever put it there, and it is read in any case.
    Patient(store).create(&object, &Bytes::from(stored)).await?;
    fetch_part(store, tx_id, &part).await?;
    Ok(part)
}

/// The bytes of a part as stored, checked.
pub(super) async fn fetch_part(
    store: &dyn Store,
    tx_id: &str,
    part: &SnapshotPart,
) -> Result<Bytes, SnapshotError> {
    let stored = fetch(store, tx_id, part).await?;
    let (tx_id, part) = (tx_id.to_owned(), part.clone());
    blocking("hash a part", move || {
        verify(&tx_id, &part, &stored)?;
        Ok(stored)
    })
    .await
}

/// The bytes of a part as stored, not checked yet.
pub(super) async fn fetch(
    store: &dyn Store,
    tx_id: &str,
    part: &SnapshotPart,
) -> Result<Bytes, SnapshotError> {
    match Patient(store).get(&key(tx_id, &part.name)?).await? {
        Some(found) => Ok(found.bytes),
        None => Err(damaged(tx_id, part, "it is missing".to_owned())),
    }
}

/// Checks size and hash. Blocks.
pub(super) fn verify(tx_id: &str, part: &SnapshotPart, stored: &[u8]) -> Result<(), SnapshotError> {
    let size = stored.len() as u64;
    if size != part.size {
        let detail = format!("it has {size} bytes, expected {}", part.size);
        return Err(damaged(tx_id, part, detail));
    }
    let hash = blake3::hash(stored).to_hex();
    if hash.as_str() != part.blake3 {
        let detail = format!("its hash is {hash}, expected {}", part.blake3);
        return Err(damaged(tx_id, part, detail));
    }
    Ok(())
}

/// Puts the piece of the file that is in a part into `raw`, whose room is used again. Blocks.
pub(super) fn unpack_into(
    tx_id: &str,
    part: &SnapshotPart,
    stored: &[u8],
    raw: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    raw.clear();
    let unpacked = usize::try_from(part.raw_size)
        .map_err(std::io::Error::other)
        .and_then(|raw_size| {
            raw.reserve(raw_size);
            zstd::bulk::Decompressor::new()?.decompress_to_buffer(stored, raw)
        });
    unpacked.map_err(|error| damaged(tx_id, part, format!("it does not decompress: {error}")))?;
    if raw.len() as u64 != part.raw_size {
        let detail = format!(
            "it decompresses to {} bytes, expected {}",
            raw.len(),
            part.raw_size
        );
        return Err(damaged(tx_id, part, detail));
    }
    Ok(())
}

/// The frame of a piece, and its hash. Blocks.
fn pack(raw: &[u8], level: i32) -> Result<(Vec<u8>, String), SnapshotError> {
    let packed = zstd::bulk::Compressor::new(level).and_then(|mut compressor| {
        // Checks the piece itself once more where it is decompressed.
        compressor.include_checksum(true)?;
        compressor.compress(raw)
    });
    let packed = packed.map_err(|error| SnapshotError::Internal {
        doing: "compress a part",
        detail: error.to_string(),
    })?;
    let hash = blake3::hash(&packed).to_hex().to_string();
    Ok((packed, hash))
}

/// The parts with the places in the file that they are of.
pub(super) fn places(meta: &SnapshotMeta) -> Vec<(u64, SnapshotPart)> {
    let mut offset = 0;
    let place = |part: &SnapshotPart| {
        let place = (offset, part.clone());
        offset += part.raw_size;
        place
    };
    meta.parts.iter().map(place).collect()
}

fn damaged(tx_id: &str, part: &SnapshotPart, detail: String) -> SnapshotError {
    SnapshotError::Damaged {
        tx_id: tx_id.to_owned(),
        object: part.name.clone(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> std::sync::Arc<dyn Store> {
        crate::store::open(&format!("memory://parts-{}", uuid::Uuid::now_v7())).unwrap()
    }

    #[tokio::test]
    async fn a_part_comes_back_as_it_was() {
        let store = store();
        let raw: Vec<u8> = (0..100_000_u32)
            .flat_map(|number| (number / 7).to_le_bytes())
            .collect();
        let part = store_part(&*store, "a", 3, raw.clone(), 1).await.unwrap();
        assert_eq!((part.name.as_str(), part.raw_size), ("part-00003.zst", 400_000));
        assert!(part.size < 200_000, "{part:?}");
        let stored = fetch_part(&*store, "a", &part).await.unwrap();
        let mut unpacked = vec![1, 2, 3];
        unpack_into("a", &part, &stored, &mut unpacked).unwrap();
        assert_eq!(unpacked, raw);
    }

    #[tokio::test]
    async fn what_is_there_already_is_never_replaced() {
        let store = store();
        store_part(&*store, "a", 0, vec![1; 1000], 1).await.unwrap();
        store_part(&*store, "a", 0, vec![1; 1000], 1).await.unwrap();
        let error = store_part(&*store, "a", 0, vec![2; 1000], 1).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("snapshot a is damaged: part-00000.zst: its hash is"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn damage_of_any_kind_is_named() {
        let store = store();
        let raw: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let part = store_part(&*store, "a", 0, raw, 1).await.unwrap();
        let object = key("a", &part.name).unwrap();
        let good = store.get(&object).await.unwrap().unwrap().bytes;
        let mut flipped = good.to_vec();
        flipped[good.len() / 2] ^= 4;
        for (bytes, expected) in [
            (flipped, "its hash is "),
            (good[..good.len() - 1].to_vec(), "bytes, expected "),
            (Vec::new(), "it has 0 bytes"),
        ] {
            store.put(&object, Bytes::from(bytes)).await.unwrap();
            let error = fetch_part(&*store, "a", &part).await.unwrap_err();
            assert!(
                error.blames_the_snapshot() && error.to_string().contains(expected),
                "{error}"
            );
        }
        store.delete(&object).await.unwrap();
        let error = fetch_part(&*store, "a", &part).await.unwrap_err();
        assert!(error.to_string().ends_with("it is missing"), "{error}");
        let wrong = SnapshotPart { raw_size: 7, ..part };
        assert!(unpack_into("a", &wrong, &good, &mut Vec::new()).is_err());
    }
}
