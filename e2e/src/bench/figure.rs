//! A measured figure and whether it is what it should be.

use std::time::Duration;

use slipstream_e2e::report::{cut, small_table};

/// Longest text of a cell on the terminal.
const CELL_CHARACTERS: usize = 110;

/// One line of the result.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) metric: String,
    pub(crate) measured: String,
    /// Empty where there is none.
    pub(crate) target: String,
    /// `None` without a target.
    pub(crate) is_reached: Option<bool>,
}

impl Figure {
    /// Something worth knowing that has no target.
    pub(crate) fn note(metric: impl Into<String>, measured: impl Into<String>) -> Self {
        Self {
            metric: metric.into(),
            measured: measured.into(),
            target: String::new(),
            is_reached: None,
        }
    }

    /// A ratio that must not be smaller than `target`; `detail` says what was divided by what.
    pub(crate) fn ratio_at_least(metric: &str, ratios: &[f64], target: f64, detail: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            measured: format!("{}; {detail}", spread(ratios)),
            target: format!("≥ {target}"),
            is_reached: Some(median(ratios) >= target),
        }
    }

    /// A ratio that must not be greater than `target`.
    pub(crate) fn ratio_at_most(metric: &str, ratios: &[f64], target: f64, detail: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            measured: format!("{}; {detail}", spread(ratios)),
            target: format!("≤ {target}"),
            is_reached: Some(median(ratios) <= target),
        }
    }

    /// A latency that must not be greater than `target`.
    pub(crate) fn latency_at_most(metric: &str, latency: Duration, target: Duration) -> Self {
        Self {
            metric: metric.to_owned(),
            measured: slipstream_e2e::report::millis(latency),
            target: format!("≤ {} ms", target.as_millis()),
            is_reached: Some(latency <= target),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_reached {
            None => "",
            Some(true) => "reached",
            Some(false) => "missed",
        }
    }

    fn cells(&self) -> [&str; 4] {
        [&self.metric, &self.measured, &self.target, self.verdict()]
    }
}

const HEADER: [&str; 4] = ["metric", "measured", "target", "verdict"];

/// For a terminal.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut table = small_table(&HEADER);
    for figure in figures {
        table.add_row(figure.cells().map(|cell| cut(cell, CELL_CHARACTERS)));
    }
    table.to_string()
}

/// For a page.
pub(crate) fn markdown(figures: &[Figure]) -> String {
    let mut text = format!("| {} |\n| --- | --- | --- | --- |\n", HEADER.join(" | "));
    for figure in figures {
        text.push_str(&format!("| {} |\n", figure.cells().join(" | ")));
    }
    text
}

/// The middle one of the values in order, the mean of the middle two where there is an even number; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(upper), 0) => f64::midpoint(sorted[middle - 1], *upper),
        (Some(only), _) => *only,
    }
}

/// `0.52 (0.48–0.55)`: the median, the smallest, the greatest.
fn spread(values: &[f64]) -> String {
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({smallest:.2}–{greatest:.2})", median(values))
}

/// The median of durations, in seconds.
pub(crate) fn median_seconds(durations: &[Duration]) -> f64 {
    median(&durations.iter().map(Duration::as_secs_f64).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_ratio_is_judged_by_its_median() {
        let ratios = [0.3, 0.5, 0.6];
        assert_eq!(
            Figure::ratio_at_least("m", &ratios, 0.4, "").is_reached,
            Some(true)
        );
        assert_eq!(
            Figure::ratio_at_most("m", &ratios, 0.4, "").is_reached,
            Some(false)
        );
        // Nothing measured is nothing reached.
        assert_eq!(Figure::ratio_at_most("m", &[], 0.4, "").is_reached, Some(false));
    }
}
