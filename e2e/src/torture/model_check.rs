//! What must be true afterwards: of the log, given what clients were answered; and of every node, given the log.
//!
//! ```text
//! answers of clients ─┐
//! the commit log ─────┴─> log_faults        every acknowledged request once, where the answer said; one chain; epochs rise
//! the log + requests ───> replay ─> Rows ──┐
//! a node ───────────────> read_rows ───────┴─> differences
//! ```

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::TortureError;
use super::model::{Request, Rows};
use super::workload::Outcome;
use crate::client::{Commit, Node, Query};

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledged, and not there; or not as it was answered.
    pub lost: Vec<String>,
    /// Half of a commit was seen.
    pub torn: Vec<String>,
    /// Two histories, or an answer that contradicts another.
    pub forked: Vec<String>,
}

impl Faults {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.torn.is_empty() && self.forked.is_empty()
    }

    /// Adds what another look found.
    pub fn extend(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.torn.extend(other.torn);
        self.forked.extend(other.forked);
    }

    /// All of them as sentences, at most `limit`.
    pub fn sentences(&self, limit: usize) -> Vec<String> {
        let named = |kind: &'static str, list: &[String]| -> Vec<String> {
            list.iter().map(|text| format!("{kind}: {text}")).collect()
        };
        let mut all = named("lost", &self.lost);
        all.extend(named("torn", &self.torn));
        all.extend(named("forked", &self.forked));
        all.truncate(limit);
        all
    }
}

/// Compares the log with what clients were answered.
pub fn log_faults(log: &[Commit], answered: &[(Request, Outcome)]) -> Faults {
    let mut faults = Faults::default();
    for pair in log.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        if after.seq != before.seq + 1 {
            faults
                .forked
                .push(format!("commit {} comes after {}", after.seq, before.seq));
        }
        if after.prev_tx_id != before.tx_id {
            faults.forked.push(format!(
                "commit {} does not name {} as the one before",
                after.seq, before.tx_id
            ));
        }
        if after.epoch < before.epoch {
            let text = format!(
                "commit {} has epoch {} after {}",
                after.seq, after.epoch, before.epoch
            );
            faults.forked.push(text);
        }
        if after.tx_id <= before.tx_id {
            let text = format!("tx_id {} of commit {} does not rise", after.tx_id, after.seq);
            faults.forked.push(text);
        }
    }
    let mut places: HashMap<&str, Vec<&Commit>> = HashMap::new();
    for commit in log {
        for entry in &commit.idempotency {
            places.entry(&entry.key).or_default().push(commit);
        }
    }
    for (request, outcome) in answered {
        let found = places.remove(request.key.as_str()).unwrap_or_default();
        if found.len() > 1 {
            let seqs: Vec<u64> = found.iter().map(|commit| commit.seq).collect();
            faults
                .forked
                .push(format!("request {} stands in commits {seqs:?}", request.key));
        }
        match (outcome, found.first()) {
            (Outcome::Acknowledged(answer), None) => {
                faults.lost.push(format!(
                    "request {} was acknowledged as commit {} and stands in none",
                    request.key, answer.seq
                ));
            }
            (Outcome::Acknowledged(answer), Some(commit))
                if (commit.seq, &commit.tx_id) != (answer.seq, &answer.tx_id) =>
            {
                faults.lost.push(format!(
                    "request {} was acknowledged as commit {} ({}) and stands in {} ({})",
                    request.key, answer.seq, answer.tx_id, commit.seq, commit.tx_id
                ));
            }
            (Outcome::Refused(why), Some(commit)) => {
                faults.forked.push(format!(
                    "request {} was refused ({why}) and stands in commit {}",
                    request.key, commit.seq
                ));
            }
            _ => {}
        }
    }
    for (key, commits) in places {
        let text = format!(
            "commit {} holds the request {key:?}, which nobody sent",
            commits[0].seq
        );
        faults.forked.push(text);
    }
    faults
}

/// The rows that the log makes of the requests.
pub fn replay(log: &[Commit], requests: &[(Request, Outcome)]) -> Rows {
    let by_key: HashMap<&str, &Request> = requests
        .iter()
        .map(|(request, _)| (request.key.as_str(), request))
        .collect();
    let mut rows = Rows::default();
    for commit in log {
        for entry in &commit.idempotency {
            if let Some(request) = by_key.get(entry.key.as_str()) {
                rows.apply(request);
            }
        }
    }
    rows
}

/// Everything that a node shows, at `min_tx` or later. Three queries: nothing may be written meanwhile.
///
/// # Errors
/// When the node does not answer, or not in the promised form.
pub async fn read_rows(node: &Node, min_tx: &str) -> Result<Rows, TortureError> {
    let mut rows = Rows::default();
    let accounts = "MATCH (a:Account) RETURN a.id, a.stamp, a.owner, a.batch";
    for row in all_rows(node, accounts, min_tx).await? {
        let account = (
            integer(&row[1]),
            row[2].as_str().map(str::to_owned),
            row[3].as_i64(),
        );
        rows.accounts.insert(integer(&row[0]), account);
    }
    for row in all_rows(node, "MATCH (m:Mirror) RETURN m.id, m.stamp, m.weight", min_tx).await? {
        let weight = row[2].as_f64().unwrap_or(f64::NAN);
        rows.mirrors.insert(integer(&row[0]), (integer(&row[1]), weight));
    }
    let owes = "MATCH (a:Account)-[o:OWES]->(m:Mirror) RETURN a.id, m.id, o.amount";
    for row in all_rows(node, owes, min_tx).await? {
        rows.owes
            .insert((integer(&row[0]), integer(&row[1])), row[2].as_i64());
    }
    Ok(rows)
}

async fn all_rows(node: &Node, text: &str, min_tx: &str) -> Result<Vec<Vec<Value>>, TortureError> {
    let query = Query::new(text).limit(10_000_000);
    let query = if min_tx.is_empty() {
        query
    } else {
        query.min_tx(min_tx)
    };
    let answer = node.query(&query).await?;
    Ok(answer.rows)
}

/// Not a number: a key that no request writes, so that it shows as a difference.
fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or(i64::MIN)
}

/// How a node's rows differ from what the log says, at most a few sentences.
pub fn differences(name: &str, expected: &Rows, found: &Rows) -> Vec<String> {
    let mut all = Vec::new();
    compare(name, "Account", &expected.accounts, &found.accounts, &mut all);
    compare(name, "Mirror", &expected.mirrors, &found.mirrors, &mut all);
    compare(name, "OWES", &expected.owes, &found.owes, &mut all);
    all
}

/// Sentences per table at most.
const SHOWN: usize = 5;

fn compare<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    name: &str,
    table: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    all: &mut Vec<String>,
) {
    let missing = expected.iter().filter_map(|(key, value)| match found.get(key) {
        Some(found) if found == value => None,
        other => Some(format!(
            "{name}, {table} {key:?}: expected {value:?}, found {other:?}"
        )),
    });
    all.extend(missing.take(SHOWN));
    let extra = found
        .iter()
        .filter(|(key, _)| !expected.contains_key(key))
        .map(|(key, value)| format!("{name}, {table} {key:?}: expected none, found {value:?}"));
    all.extend(extra.take(SHOWN));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{CommitAnswer, IdempotencyKey};
    use crate::torture::model::{Operation, Work};

    fn commit(seq: u64, epoch: u64, keys: &[&str]) -> Commit {
        Commit {
            seq,
            tx_id: format!("tx-{seq:03}"),
            prev_tx_id: format!("tx-{:03}", seq - 1),
            epoch,
            kind: "data".to_owned(),
            notes: None,
            idempotency: keys
                .iter()
                .map(|key| IdempotencyKey {
                    key: (*key).to_owned(),
                })
                .collect(),
        }
    }

    fn request(key: &str) -> Request {
        let work = Work::Transaction(vec![Operation::Twins {
            id: 1,
            stamp: 7,
            owner: None,
        }]);
        Request {
            key: key.to_owned(),
            work,
        }
    }

    fn acknowledged(seq: u64) -> Outcome {
        Outcome::Acknowledged(CommitAnswer {
            seq,
            tx_id: format!("tx-{seq:03}"),
        })
    }

    #[test]
    fn a_log_that_holds_every_answer_has_no_faults() {
        let log = [commit(1, 1, &[]), commit(2, 1, &["a", "b"]), commit(3, 2, &["c"])];
        let answered = [
            (request("a"), acknowledged(2)),
            (request("b"), Outcome::Unknown),
            (request("c"), acknowledged(3)),
            (request("d"), Outcome::Unknown),
            (request("e"), Outcome::Refused("no".to_owned())),
        ];
        assert_eq!(log_faults(&log, &answered), Faults::default());
        assert_eq!(replay(&log, &answered).accounts.len(), 1);
    }

    #[test]
    fn an_acknowledged_request_that_is_missing_or_elsewhere_is_lost() {
        let log = [commit(1, 1, &[]), commit(2, 1, &["a"])];
        let missing = log_faults(
            &log,
            &[(request("a"), acknowledged(2)), (request("b"), acknowledged(2))],
        );
        assert_eq!(missing.lost.len(), 1, "{missing:?}");
        let elsewhere = log_faults(&log, &[(request("a"), acknowledged(1))]);
        assert_eq!(elsewhere.lost.len(), 1, "{elsewhere:?}");
    }

    #[test]
    fn a_request_that_stands_twice_or_was_refused_or_never_sent_is_a_fork() {
        let log = [
            commit(1, 1, &["a"]),
            commit(2, 1, &["a", "x"]),
            commit(3, 1, &["r"]),
        ];
        let answered = [
            (request("a"), acknowledged(1)),
            (request("r"), Outcome::Refused("no".to_owned())),
        ];
        assert_eq!(log_faults(&log, &answered).forked.len(), 3);
    }

    #[test]
    fn a_broken_chain_and_an_older_epoch_are_forks() {
        let mut other = commit(3, 1, &[]);
        other.prev_tx_id = "tx-999".to_owned();
        let faults = log_faults(&[commit(1, 1, &[]), commit(2, 2, &[]), other], &[]);
        assert_eq!(faults.forked.len(), 2, "{faults:?}");
        let gap = log_faults(&[commit(1, 1, &[]), commit(3, 1, &[])], &[]);
        assert_eq!(gap.forked.len(), 2, "{gap:?}");
    }

    #[test]
    fn a_row_that_is_missing_different_or_too_many_is_a_difference() {
        let mut expected = Rows::default();
        expected.apply(&request("a"));
        let mut found = expected.clone();
        assert!(differences("n", &expected, &found).is_empty());
        found.mirrors.clear();
        found.accounts.insert(2, (1, None, None));
        found.accounts.insert(1, (8, None, None));
        assert_eq!(differences("n", &expected, &found).len(), 3);
    }
}
