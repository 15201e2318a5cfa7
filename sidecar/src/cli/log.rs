//! `slipstream log`: the graph's commits as a timeline.

use std::time::Duration;

use clap::Args;
use comfy_table::Table;
use serde::Deserialize;
use serde_json::Value;

use super::DEFAULT_WRITER;
use super::error::CliError;
use super::output::{Output, pretty, print, table};
use super::server::Server;
use crate::commit_log::{CommitKind, CommitRecord};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `slipstream log`.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// The node to ask; every node knows the whole log
    #[arg(long, env = "SLIPSTREAM_WRITER", value_name = "URL", default_value = DEFAULT_WRITER)]
    pub server: String,
    /// Show the commits that follow this one, from the oldest that was not trimmed on [default: so that the newest are shown]
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// Most commits to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Deserialize)]
struct Commits {
    commits: Vec<Value>,
}

/// Prints commits, oldest first.
///
/// # Errors
/// When the node gives no usable answer.
pub async fn run(args: LogArgs) -> Result<(), CliError> {
    let server = Server::new(&args.server, "--server")?;
    let after = match args.after {
        Some(after) => after,
        None => newest(&server).await?.saturating_sub(args.limit),
    };
    let path = format!("/v1/commits?after={after}&limit={}", args.limit);
    let Commits { commits } = server.get(&path, TIMEOUT).await?;
    match args.output {
        Output::Json => print(&pretty(&commits)),
        Output::Table if commits.is_empty() => print(&format!("no commits after seq {after}")),
        Output::Table => {
            let records: Result<Vec<CommitRecord>, _> =
                commits.into_iter().map(serde_json::from_value).collect();
            let records = records
                .map_err(|error| server.unexpected("understand the commits of", &error.to_string()))?;
            print(&timeline(&records).to_string());
            if let Some(trimmed) = trimmed(after, &records) {
                print(&trimmed);
            }
        }
    }
    Ok(())
}

/// Which of the commits asked for the log does not hold any more, if there are such.
fn trimmed(after: u64, records: &[CommitRecord]) -> Option<String> {
    let mut gaps = Vec::new();
    let mut next = after.saturating_add(1);
    for record in records {
        let seq = record.seq.0;
        match seq.saturating_sub(next) {
            0 => {}
            1 => gaps.push(next.to_string()),
            _ => gaps.push(format!("{next} to {}", seq - 1)),
        }
        next = seq + 1;
    }
    (!gaps.is_empty()).then(|| format!("trimmed from the log: seq {}", gaps.join(", ")))
}

/// The newest commit that the node knows of.
async fn newest(server: &Server) -> Result<u64, CliError> {
    let status: Value = server.get("/v1/status", TIMEOUT).await?;
    Ok(status.pointer("/head/seq").and_then(Value::as_u64).unwrap_or(0))
}

fn timeline(records: &[CommitRecord]) -> Table {
    let mut table = table(&["seq", "time (UTC)", "kind", "tx_id", "changed", "notes"]);
    for record in records {
        table.add_row([
            record.seq.to_string(),
            record.timestamp.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            kind(record.kind).to_owned(),
            record.tx_id.to_string(),
            changed(record),
            record.notes.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn kind(kind: CommitKind) -> &'static str {
    match kind {
        CommitKind::Data => "data",
        CommitKind::Schema => "schema",
        CommitKind::Optimize => "optimize",
        CommitKind::Barrier => "barrier",
    }
}

/// `Package +10 -2, DEPENDS +3`
fn changed(record: &CommitRecord) -> String {
    let counts = |(count, sign): (u64, char)| {
        if count == 0 {
            String::new()
        } else {
            format!(" {sign}{count}")
        }
    };
    let one = |change: &crate::commit_log::TableChange| {
        format!(
            "{}{}{}",
            change.table,
            counts((change.upserted, '+')),
            counts((change.deleted, '-'))
        )
    };
    record.changed.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn commit(seq: u64) -> CommitRecord {
        serde_json::from_value(json!({
            "seq": seq, "tx_id": "018f6c6e-6ea8-7fff-bfff-ffffffffffff", "epoch": 1, "kind": "data", "schema_version": 1,
            "prev_tx_id": "018f6c6e-6ea8-7fff-bfff-fffffffffffe", "timestamp": "2026-02-03T04:05:06.078Z", "tables": [],
            "changed": []}))
        .unwrap()
    }

    #[test]
    fn what_was_trimmed_is_named_and_nothing_else() {
        for (after, seqs, expected) in [
            (0, &[1, 2, 3][..], None),
            (7, &[8], None),
            (0, &[2, 3], Some("trimmed from the log: seq 1")),
            (
                0,
                &[2, 5000, 5001],
                Some("trimmed from the log: seq 1, 3 to 4999"),
            ),
            (0, &[], None),
        ] {
            let records: Vec<CommitRecord> = seqs.iter().map(|seq| commit(*seq)).collect();
            assert_eq!(
                trimmed(after, &records).as_deref(),
                expected,
                "{seqs:?} after {after}"
            );
        }
    }

    #[test]
    fn a_commit_shows_when_it_was_made_and_what_it_changed() {
        let record: CommitRecord = serde_json::from_value(json!({
            "seq": 7, "tx_id": "018f6c6e-6ea8-7fff-bfff-ffffffffffff", "epoch": 1, "kind": "data", "schema_version": 1,
            "prev_tx_id": "018f6c6e-6ea8-7fff-bfff-fffffffffffe", "timestamp": "2026-02-03T04:05:06.078Z", "tables": [],
            "changed": [{"table": "Package", "upserted": 10, "deleted": 2}, {"table": "DEPENDS", "upserted": 3, "deleted": 0}],
            "notes": "nightly"}))
        .unwrap();
        let text = timeline(&[record]).to_string();
        let row = text.lines().find(|line| line.contains("nightly")).unwrap();
        let cells: Vec<&str> = row
            .split(['│', '┆'])
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        let tx_id = "018f6c6e-6ea8-7fff-bfff-ffffffffffff";
        let changed = "Package +10 -2, DEPENDS +3";
        assert_eq!(
            cells,
            ["7", "2026-02-03 04:05:06.078", "data", tx_id, changed, "nightly"]
        );
    }
}
