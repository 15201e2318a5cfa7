//! A graph at work: one writer, some replicas, clients and a reader; and the comparison with the model when all is over.
//!
//! Owns: starting them in order, and what is compared in the end. Does not own: who is killed when (the parts).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::TortureError;
use super::harness::{Harness, NodeProcess, READY_WITHIN};
use super::log_book::LogBook;
use super::model_check::{Faults, differences, log_faults, read_rows, replay};
use super::reads::Reader;
use super::workload::{Habits, History, Load};
use crate::client::Node;

/// Time for a node to reach the head once nothing is written any more.
pub const CONVERGES_WITHIN: Duration = Duration::from_secs(60);

/// A writer, replicas, clients, a reader.
#[derive(Debug)]
pub struct Running {
    pub harness: Harness,
    pub writer: NodeProcess,
    pub replicas: Vec<NodeProcess>,
    pub history: Arc<History>,
    book: LogBook,
    load: Option<Load>,
    reader: Option<Reader>,
    reads: usize,
    seed: u64,
    compared: usize,
}

/// What a comparison with the model saw.
#[derive(Debug, Default)]
pub struct Verdict {
    pub faults: Faults,
    pub acknowledged: usize,
    /// Reads that looked for half a commit.
    pub reads: usize,
    /// Commits in the log.
    pub commits: usize,
}

impl Running {
    /// Starts writer and replicas, and waits until they are ready; nobody writes yet.
    ///
    /// # Errors
    /// When one does not become ready.
    pub async fn start(harness: Harness, replicas: usize, seed: u64) -> Result<Self, TortureError> {
        let book = LogBook::follow(&harness.store());
        let mut writer = harness.start_writer("writer")?;
        writer.wait_ready(READY_WITHIN).await?;
        let names = (1..=replicas).map(|number| format!("replica-{number}"));
        let started: Result<Vec<NodeProcess>, TortureError> =
            names.map(|name| harness.start_replica(&name)).collect();
        let mut running = Self {
            harness,
            writer,
            replicas: started?,
            history: Arc::default(),
            book,
            load: None,
            reader: None,
            reads: 0,
            seed,
            compared: 0,
        };
        for replica in &mut running.replicas {
            replica.wait_ready(READY_WITHIN).await?;
        }
        Ok(running)
    }

    /// The node of every process.
    pub fn nodes(&self) -> Vec<Node> {
        let processes = std::iter::once(&self.writer).chain(&self.replicas);
        processes.map(NodeProcess::node).collect()
    }

    /// Clients begin to write, and a reader to read.
    pub fn work(&mut self, habits: Habits) {
        let name = format!("load-{}", self.compared);
        let seed = self.seed.wrapping_add(self.compared as u64);
        self.load = Some(Load::start(
            &name,
            &self.writer.node(),
            &self.history,
            habits,
            seed,
        ));
        self.reader = Some(Reader::start(self.nodes(), &self.history, !seed));
    }

    /// Waits for `more` acknowledged commits from now on.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn progress(&self, more: usize) -> Result<(), TortureError> {
        let before = self.history.acknowledged();
        self.history.wait_acknowledged(before, more, READY_WITHIN).await
    }

    /// Ends the clients, and compares every node, and a fresh one, with what the log and the answers say. Everything must run.
    ///
    /// # Errors
    /// When a node does not reach the head.
    pub async fn compare(&mut self) -> Result<Verdict, TortureError> {
        if let Some(load) = self.load.take() {
            load.stop().await;
        }
        if let Some(reader) = self.reader.take() {
            self.reads += reader.stop().await;
        }
        self.compared += 1;
        let log = self.book.read();
        let answered = self.history.entries();
        let mut faults = self.history.faults();
        faults.extend(log_faults(&log, &answered));
        let expected = replay(&log, &answered);
        let (head, tx_id) = log
            .last()
            .map_or((0, String::new()), |commit| (commit.seq, commit.tx_id.clone()));
        let name = format!("fresh-{}", self.compared);
        let mut fresh = self.harness.start_replica(&name)?;
        let all = [&mut self.writer].into_iter().chain(&mut self.replicas);
        for process in all.chain([&mut fresh]) {
            process.wait_seq(head, CONVERGES_WITHIN).await?;
            let rows = read_rows(&process.node(), &tx_id).await?;
            faults
                .lost
                .extend(differences(&process.spec.name, &expected, &rows));
        }
        fresh.kill()?;
        self.harness.wipe(&name)?;
        Ok(Verdict {
            faults,
            acknowledged: self.history.acknowledged(),
            reads: self.reads,
            commits: log.len(),
        })
    }
}

/// Removes what a run that went well leaves.
///
/// # Errors
/// When the files cannot be removed.
pub fn remove(directory: &Path) -> Result<(), TortureError> {
    std::fs::remove_dir_all(directory)
        .map_err(TortureError::system(format!("remove {}", directory.display())))
}
