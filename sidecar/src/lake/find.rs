//! Row ids of the rows that a condition holds for.

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use futures::TryStreamExt;

use super::{LANCE_ROW_ID, LakeError, SCAN_BATCH_ROWS, TableAt};
use crate::ids::RowId;

impl TableAt {
    /// Ids of at most `limit` rows for which the SQL condition `filter` on `column` holds.
    pub async fn row_ids_where(
        &self,
        column: &str,
        filter: &str,
        limit: usize,
    ) -> Result<Vec<RowId>, LakeError> {
        let failed = || LakeError::storage("search", self.name());
        let mut scanner = self.dataset.scan();
        scanner
            .project(&[column])
            .map_err(failed())?
            .filter(filter)
            .map_err(failed())?
            .with_row_id()
            .batch_size(SCAN_BATCH_ROWS);
        let mut stream = scanner.try_into_stream().await.map_err(failed())?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(batch) = stream.try_next().await.map_err(failed())?
        {
            if let Some(ids) = batch.column_by_name(LANCE_ROW_ID) {
                let ids = ids.as_primitive::<UInt64Type>().values();
                found.extend(ids.iter().take(limit - found.len()).map(|id| RowId(*id)));
            }
        }
        Ok(found)
    }
}
