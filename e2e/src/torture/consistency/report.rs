//! The run for people: what clients did, what went wrong on purpose, what was found.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Failing;
use super::faults::Faults;
use super::shared::Shared;
use crate::torture::PartReport;
use crate::torture::checker::Checked;
use crate::torture::report::{seconds, table};

/// Fewer show nothing.
const FEWEST: usize = 20;
/// Surprising answers that are printed.
const SURPRISES: usize = 5;

/// What there is to tell of.
pub(super) struct Run<'a> {
    pub(super) failing: Failing,
    pub(super) checked: &'a Checked,
    pub(super) faults: &'a Faults,
    pub(super) shared: &'a Shared,
    /// How often a writer and how often a replica ended by itself.
    pub(super) ended: [usize; 2],
    pub(super) lasted: Duration,
    pub(super) seed: u64,
}

impl Run<'_> {
    pub(super) fn report(&self) -> PartReport {
        let Self { checked, shared, .. } = self;
        let reads: usize = checked.reads.iter().sum();
        let mut report = PartReport {
            summary: format!(
                "{}, seed {}: {:.1} minutes, {} operations of {} clients, {} commits in {} epochs",
                self.failing.name(),
                self.seed,
                self.lasted.as_secs_f64() / 60.0,
                reads + checked.acknowledged + checked.refused + checked.unknown,
                super::SESSIONS,
                checked.commits,
                checked.epochs,
            ),
            tables: vec![self.operations(), happened(self.faults), findings(checked)],
            ..PartReport::default()
        };
        let more = (checked.more > 0).then(|| format!("{} violations more", checked.more));
        report.failures = checked
            .violations
            .iter()
            .map(ToString::to_string)
            .chain(more)
            .collect();
        let fewest = FEWEST.min(self.lasted.as_secs() as usize / 4);
        let [_, min_tx, staleness, strong] = checked.reads;
        for (what, count) in [
            ("acknowledged writes", checked.acknowledged),
            ("reads with min_tx", min_tx),
            ("reads with max_staleness", staleness),
            ("strong reads", strong),
        ] {
            if count < fewest {
                report
                    .failures
                    .push(format!("only {count} {what}: too few to show anything"));
            }
        }
        let surprises = shared.surprises();
        for surprise in surprises.iter().take(SURPRISES) {
            report.failures.push(format!(
                "an answer that the protocol does not promise: {surprise}"
            ));
        }
        if surprises.len() > SURPRISES {
            report
                .failures
                .push(format!("{} such answers more", surprises.len() - SURPRISES));
        }
        report
    }

    fn operations(&self) -> comfy_table::Table {
        let Self { checked, shared, .. } = self;
        let mut operations = table(&["operations", "count"]);
        let [nothing, min_tx, staleness, strong] = checked.reads;
        let rows = [
            ("writes acknowledged", checked.acknowledged as u64),
            ("writes refused", checked.refused as u64),
            ("writes whose outcome was never learned", checked.unknown as u64),
            ("… of them committed", checked.unknown_committed as u64),
            ("attempts sent again", shared.retried.load(Ordering::Relaxed)),
            ("reads without a floor", nothing as u64),
            ("reads with min_tx", min_tx as u64),
            ("reads with max_staleness", staleness as u64),
            ("strong reads", strong as u64),
            ("reads without an answer", checked.unanswered_reads),
            (
                "writers that ended by themselves, and were started again",
                self.ended[0] as u64,
            ),
            (
                "replicas that ended by themselves, and were started again",
                self.ended[1] as u64,
            ),
        ];
        for (what, count) in rows {
            operations.add_row([what.to_owned(), count.to_string()]);
        }
        operations.add_row([
            "longest time without an acknowledged write".to_owned(),
            seconds(shared.longest_silence()),
        ]);
        operations
    }
}

fn happened(faults: &Faults) -> comfy_table::Table {
    let mut happened = table(&["fault", "times", "all ready again after, at most"]);
    for (fault, (times, longest)) in &faults.happened {
        happened.add_row([fault.name().to_owned(), times.to_string(), seconds(*longest)]);
    }
    happened
}

/// How often each promise was broken.
fn findings(checked: &Checked) -> comfy_table::Table {
    use crate::torture::checker::Rule;
    let promises: [(&str, &[Rule]); 9] = [
        ("log dense, its tx_ids and epochs grow, no fork", &[Rule::LogForm]),
        ("acknowledged writes lost", &[Rule::LostWrite]),
        ("writes committed twice", &[Rule::DuplicateWrite]),
        (
            "refused or unknown writes in the log, wrong answers",
            &[Rule::PhantomWrite, Rule::WrongAnswer],
        ),
        (
            "writes not linearizable",
            &[Rule::RealTimeOrder, Rule::DependentGroup],
        ),
        (
            "reads torn, or of another commit than named",
            &[Rule::TornRead, Rule::WrongCommit, Rule::UnknownCommit],
        ),
        ("strong reads not linearizable", &[Rule::StaleStrong]),
        (
            "reads below min_tx or older than max_staleness",
            &[Rule::BelowMinTx, Rule::TooStale],
        ),
        ("sessions that went back", &[Rule::SessionWentBack]),
    ];
    let mut findings = table(&["promise broken", "found"]);
    for (what, rules) in promises {
        let found = checked
            .violations
            .iter()
            .filter(|found| rules.contains(&found.rule));
        findings.add_row([what.to_owned(), found.count().to_string()]);
    }
    findings
}
