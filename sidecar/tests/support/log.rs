//! What must hold of every commit log.

use slipstream::commit_log::{CommitLog, CommitRecord};
use slipstream::ids::{Seq, TxId};
use slipstream::writer::CommitAnswer;

/// The whole log: dense, one chain without a fork, `tx_id` strictly increasing, epochs never going back.
pub(crate) async fn checked_log(log: &CommitLog) -> Vec<CommitRecord> {
    let records = log.read_after(Seq(0), usize::MAX).await.expect("a readable log");
    let head = log.head(Seq(0)).await.expect("a readable log");
    assert_eq!(
        records.last().map(|record| record.seq),
        head.map(|head| head.seq),
        "the log has a gap"
    );
    let mut previous: Option<&CommitRecord> = None;
    for record in &records {
        let seq = record.seq;
        assert_eq!(
            record.prev_tx_id,
            previous.map_or(TxId::default(), |previous| previous.tx_id),
            "chain at {seq}"
        );
        assert!(record.tx_id > record.prev_tx_id, "tx_id went back at {seq}");
        if let Some(previous) = previous {
            assert!(
                record.epoch >= previous.epoch,
                "epoch went back at {seq}: a fenced writer committed"
            );
            for (table, version) in previous.tables.iter() {
                assert!(
                    record.tables.get(table) >= Some(version),
                    "table {table} went back at {seq}"
                );
            }
        }
        previous = Some(record);
    }
    records
}

/// The commit that `answer` tells of must be in the log as it says.
pub(crate) fn assert_in_log(records: &[CommitRecord], answer: &CommitAnswer) {
    let record = records.iter().find(|record| record.seq == answer.seq);
    let record =
        record.unwrap_or_else(|| panic!("an answer names seq {}, which is not in the log", answer.seq));
    assert_eq!(
        CommitAnswer::from(record),
        *answer,
        "an answer and the log differ"
    );
}

/// The commits that hold an idempotency key.
pub(crate) fn commits_of_key<'a>(records: &'a [CommitRecord], key: &str) -> Vec<&'a CommitRecord> {
    records
        .iter()
        .filter(|record| record.idempotency.iter().any(|entry| entry.key == key))
        .collect()
}
