//! The row ids and row versions of merged fragments ("row lineage" in Lance), in as few bytes as they take.
//!
//! Lance keeps both in the manifest, so that every later commit writes them again and every delta decodes them; and a merge puts those
//! of its originals one behind the other, a piece or more for every commit that ever appended. Left alone, a table under steady small
//! commits pays for each of them with their number, without end.
//!
//! - Row ids become pieces that ascend, each in the encoding of Lance's that takes least: a bitmap of the ids that it spans, or two bytes
//!   per row where few are left. A piece spans few ids: a long one would be a bitmap of all ids that ever were, and long ones that overlap
//!   several. 100,000 rows that were replaced at random fifteen times each take 48 KB, as one piece 132.
//! - A row's version is only ever compared with the version that a delta begins at, and that version must exist. Between two existing versions all are
//!   the same, then; so the lowest of them is written, and rows that become equal are one run: at most one per existing version.
//!
//! No row becomes newer by this, and none that is newer than an existing version becomes older than it. A graph at a version that
//! does not exist any more cannot read a delta from there, and is built anew.

use lance::table::format::{Fragment, RowDatasetVersionMeta, RowDatasetVersionSequence, RowIdMeta};
use lance_table::rowids::{RowIdSequence, read_row_ids, write_row_ids};

use crate::ids::LanceVersion;

/// Ids that one piece spans at most, unless all of them are rows: a bitmap of 1 KiB, next to which the 20 bytes of a piece are little.
const PIECE_SPAN: u64 = 8192;

/// Shortens what `fragment`, of a merge, says about its rows. `existing`: the table's versions before the merge was planned,
/// ascending.
///
/// # Errors
/// When its lineage cannot be decoded.
pub(super) fn shorten(fragment: &mut Fragment, existing: &[LanceVersion]) -> lance::Result<()> {
    if let Some(RowIdMeta::Inline(bytes)) = &fragment.row_id_meta {
        let shorter = write_row_ids(&joined(&read_row_ids(bytes)?)?);
        if shorter.len() < bytes.len() {
            fragment.row_id_meta = Some(RowIdMeta::Inline(shorter.into()));
        }
    }
    for meta in [
        &mut fragment.created_at_version_meta,
        &mut fragment.last_updated_at_version_meta,
    ] {
        if let Some(RowDatasetVersionMeta::Inline(_)) = meta.as_ref() {
            let sequence = meta.take().map(|meta| meta.load_sequence()).transpose()?;
            let shorter = lowered(&sequence.unwrap_or_default(), existing);
            *meta = Some(RowDatasetVersionMeta::from_sequence(&shorter)?);
        }
    }
    Ok(())
}

/// The same ids in the same order, in pieces that ascend.
fn joined(sequence: &RowIdSequence) -> lance::Result<RowIdSequence> {
    let mut whole = RowIdSequence::new();
    let mut piece: Vec<u64> = Vec::new();
    for id in sequence.iter() {
        if !continues(&piece, id) {
            whole.extend(RowIdSequence::try_from_iter(std::mem::take(&mut piece))?);
        }
        piece.push(id);
    }
    whole.extend(RowIdSequence::try_from_iter(piece)?);
    Ok(whole)
}

/// Whether `id` may follow in the same piece.
fn continues(piece: &[u64], id: u64) -> bool {
    let (Some(first), Some(last)) = (piece.first(), piece.last()) else {
        return true;
    };
    let is_one_range = id == first + piece.len() as u64;
    id > *last && (is_one_range || id - first < PIECE_SPAN)
}

/// Every version as the lowest one that no existing version tells from it.
fn lowered(sequence: &RowDatasetVersionSequence, existing: &[LanceVersion]) -> RowDatasetVersionSequence {
    let lowest = |version: u64| {
        let older = existing.partition_point(|one| one.0 < version);
        older.checked_sub(1).map_or(1, |newest| existing[newest].0 + 1)
    };
    let versions: Vec<u64> = sequence.versions().map(lowest).collect();
    RowDatasetVersionSequence::from_versions(&versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(versions: &[u64]) -> Vec<LanceVersion> {
        versions.iter().copied().map(LanceVersion).collect()
    }

    #[test]
    fn a_version_becomes_the_lowest_that_no_existing_one_tells_from_it() {
        let rows = [1, 2, 2, 3, 4, 5, 6, 7, 8, 9];
        let table: [(&[u64], [u64; 10]); 5] = [
            (&[], [1; 10]),
            (&[9], [1; 10]),
            (&[4], [1, 1, 1, 1, 1, 5, 5, 5, 5, 5]),
            (&[2, 6, 7], [1, 1, 1, 3, 3, 3, 3, 7, 8, 8]),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9], rows),
        ];
        for (versions, expected) in table {
            let existing = existing(versions);
            let found = lowered(&RowDatasetVersionSequence::from_versions(&rows), &existing);
            assert_eq!(found.versions().collect::<Vec<_>>(), expected, "{versions:?}");
            // What a delta looks at, for every version that it may begin at.
            for begin in versions {
                for (row, lowered) in rows.iter().zip(&expected) {
                    assert_eq!(row > begin, lowered > begin, "row of {row}, from {begin}");
                }
            }
            let runs = expected.chunk_by(|one, next| one == next).count();
            assert_eq!(found.runs.len(), runs, "{versions:?}");
        }
    }

    #[test]
    fn pieces_of_ids_that_ascend_are_one_and_the_order_stays() {
        let mut pieces = RowIdSequence::new();
        for first in [0_u64, 20, 40, 10, 60] {
            pieces.extend(RowIdSequence::try_from_iter([first, first + 1, first + 5]).unwrap());
        }
        assert_eq!(pieces.segments().len(), 5);
        let whole = joined(&pieces).unwrap();
        assert_eq!(whole.segments().len(), 2);
        assert_eq!(
            whole.iter().collect::<Vec<_>>(),
            pieces.iter().collect::<Vec<_>>()
        );
        assert_eq!(joined(&RowIdSequence::new()).unwrap().len(), 0);
    }

    #[test]
    fn ids_take_few_bytes_however_far_apart_they_lie() {
        // Every so many ids a row; bytes per hundred rows.
        for (step, at_most) in [(1, 1), (2, 30), (7, 100), (100, 240)] {
            let ids: Vec<u64> = (0..20_000).map(|row| row * step).collect();
            // The newest quarter comes first, as after a merge that was overtaken.
            let turned = [&ids[15_000..], &ids[..15_000]].concat();
            let mut pieces = RowIdSequence::new();
            for few in turned.chunks(25) {
                pieces.extend(RowIdSequence::try_from_iter(few.iter().copied()).unwrap());
            }
            let whole = joined(&pieces).unwrap();
            assert_eq!(whole.iter().collect::<Vec<_>>(), turned, "every {step}th");
            let bytes = write_row_ids(&whole).len();
            assert!(bytes <= 200 * at_most, "every {step}th: {bytes} bytes");
        }
    }
}
