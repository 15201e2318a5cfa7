//! When each scenario is played: those that mostly wait run beside others, and never beside one that needs the operator.
//!
//! ```text
//! beside, in turn ────┬─> afterwards, in turn
//! meanwhile, in turn ─┘
//! ```
//!
//! Owns: the order, and who disturbs whom. Does not own: the playing (`bin/e2e`, [`Scenario::play`]).

use super::Scenario;

impl Scenario {
    /// All, in the order in which they begin.
    pub const ALL: [Self; 24] = [
        Self::Outage,
        Self::NamespaceDeleted,
        // Beside these two; together they take longer than their four minutes.
        Self::Deletion,
        Self::Hpa,
        Self::Scale,
        Self::ReplicaDeleted,
        Self::Rolling,
        Self::TwoGraphs,
        Self::UserContainer,
        Self::BadResources,
        Self::PvcGrows,
        Self::Suspend,
        Self::Traces,
        // These have figures in docs/benchmarks.md: beside them there is at most the end of what waits for a namespace.
        Self::Install,
        Self::WriterKilled,
        Self::Frozen,
        Self::HotCadence,
        Self::Background,
        Self::OperatorKilled,
        Self::OperatorKilledDeleting,
        Self::TwoOperators,
        Self::ChartUpgrade,
        Self::Namespaced,
        Self::Figures,
    ];

    /// Whether it runs beside others: it mostly waits, and touches only what is its own.
    const fn runs_beside(self) -> bool {
        matches!(self, Self::Outage | Self::NamespaceDeleted)
    }

    /// Whether it ends, replaces or measures the operator that serves all graphs.
    const fn needs_operator(self) -> bool {
        matches!(
            self,
            Self::OperatorKilled
                | Self::OperatorKilledDeleting
                | Self::TwoOperators
                | Self::ChartUpgrade
                | Self::Namespaced
                | Self::Figures
        )
    }
}

/// Who plays when.
#[derive(Debug)]
pub struct Programme {
    /// In turn from the start, beside `meanwhile`.
    pub beside: Vec<Scenario>,
    /// In turn.
    pub meanwhile: Vec<Scenario>,
    /// In turn, when all others have ended.
    pub afterwards: Vec<Scenario>,
}

impl Programme {
    /// Those that do not run beside others keep their order.
    pub fn of(scenarios: &[Scenario]) -> Self {
        let (beside, mut meanwhile): (Vec<Scenario>, Vec<Scenario>) =
            scenarios.iter().copied().partition(|one| one.runs_beside());
        let first = meanwhile.iter().position(|one| one.needs_operator());
        let afterwards = meanwhile.split_off(first.unwrap_or(meanwhile.len()));
        Self {
            beside,
            meanwhile,
            afterwards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_beside_others_has_ended_before_anything_happens_to_the_operator() {
        let programme = Programme::of(&Scenario::ALL);
        assert_eq!(programme.beside, [Scenario::Outage, Scenario::NamespaceDeleted]);
        assert!(programme.meanwhile.iter().all(|one| !one.needs_operator()));
        assert!(programme.afterwards.iter().all(|one| one.needs_operator()));
    }

    #[test]
    fn chosen_scenarios_keep_their_order() {
        let programme = Programme::of(&[Scenario::Namespaced, Scenario::Outage, Scenario::Scale]);
        assert_eq!(programme.beside, [Scenario::Outage]);
        assert!(programme.meanwhile.is_empty());
        assert_eq!(programme.afterwards, [Scenario::Namespaced, Scenario::Scale]);
    }
}
