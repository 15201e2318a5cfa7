//! Whether a series of samples is flat: a straight line through its second half, by least squares.
//!
//! The first half is left out, because caches, pools and retained versions fill up first. What is judged is the drift, slope ×
//! 15 minutes, the half of the full soak: at most a tenth of the mean counts as flat. A saw-toothed series, such as files between two
//! cleanings, has a slope by chance; a drift below two of its standard errors therefore counts as noise, and the line says so.

use std::fmt;
use std::time::Duration;

/// Time over which the drift is judged.
const OVER: Duration = Duration::from_secs(15 * 60);
/// A drift up to this share of the mean is flat.
const FLAT: f64 = 0.10;
/// Fewer samples have no slope.
const FEWEST: usize = 4;

/// One sample: time since the start, and a value in any unit.
pub type Sample = (Duration, f64);

/// What became of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The drift is small.
    Flat,
    /// The drift is not small, but not told from chance either.
    Noise,
    /// It becomes less, more than chance explains.
    Falls,
    /// It becomes more, more than chance explains.
    Grows,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flat => "flat",
            Self::Noise => "flat within noise",
            Self::Falls => "falls",
            Self::Grows => "GROWS",
        })
    }
}

/// The line through the second half of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    pub mean: f64,
    pub max: f64,
    /// Change of the value per minute.
    pub per_minute: f64,
    /// One standard error of that.
    pub error_per_minute: f64,
    pub verdict: Verdict,
}

impl Slope {
    /// Change over the judged time as a share of the mean.
    pub fn drift(&self) -> f64 {
        share(self.per_minute * minutes(OVER), self.mean)
    }
}

/// Fits the second half of `samples`; `None` for too few of them. Drifts up to `small`, in the samples' unit, are flat whatever the
/// mean: one file more or less is no trend.
pub fn slope(samples: &[Sample], small: f64) -> Option<Slope> {
    let last = samples.last()?.0;
    let half: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(at, _)| *at >= last / 2)
        .map(|(at, value)| (minutes(*at), *value))
        .collect();
    if half.len() < FEWEST {
        return None;
    }
    let count = half.len() as f64;
    let mean_at = half.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean = half.iter().map(|(_, value)| value).sum::<f64>() / count;
    let spread: f64 = half.iter().map(|(at, _)| (at - mean_at).powi(2)).sum();
    if spread == 0.0 {
        return None;
    }
    let together: f64 = half
        .iter()
        .map(|(at, value)| (at - mean_at) * (value - mean))
        .sum();
    let per_minute = together / spread;
    let left: f64 = half
        .iter()
        .map(|(at, value)| (value - mean - per_minute * (at - mean_at)).powi(2))
        .sum();
    let error_per_minute = (left / (count - 2.0) / spread).sqrt();
    Some(Slope {
        mean,
        max: half.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max),
        per_minute,
        error_per_minute,
        verdict: verdict(per_minute, error_per_minute, mean, small),
    })
}

fn verdict(per_minute: f64, error_per_minute: f64, mean: f64, small: f64) -> Verdict {
    let drift = per_minute * minutes(OVER);
    if drift.abs() <= (mean.abs() * FLAT).max(small) {
        Verdict::Flat
    } else if per_minute.abs() <= 2.0 * error_per_minute {
        Verdict::Noise
    } else if drift < 0.0 {
        Verdict::Falls
    } else {
        Verdict::Grows
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half an hour, a sample every ten seconds.
    fn series(value: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..180)
            .map(|step| {
                let at = Duration::from_secs(step * 10);
                (at, value(minutes(at)))
            })
            .collect()
    }

    fn of(value: impl Fn(f64) -> f64) -> Slope {
        slope(&series(value), 0.0).expect("there are enough samples")
    }

    #[test]
    fn what_fills_up_first_and_then_stays_is_flat() {
        let filled = of(|at| 100.0 * (at / 10.0).min(1.0));
        assert_eq!(filled.verdict, Verdict::Flat);
        assert!(filled.per_minute.abs() < 1e-9, "{filled:?}");
    }

    #[test]
    fn a_steady_rise_is_found_with_its_slope() {
        let rise = of(|at| 100.0 + 2.0 * at);
        assert_eq!(rise.verdict, Verdict::Grows);
        assert!((rise.per_minute - 2.0).abs() < 1e-9, "{rise:?}");
        assert_eq!(of(|at| 1000.0 - 20.0 * at).verdict, Verdict::Falls);
    }

    #[test]
    fn a_small_rise_beneath_a_saw_tooth_is_found() {
        let tooth = |at: f64| (at * 3.0).fract() * 10.0;
        assert_eq!(of(|at| 100.0 + tooth(at)).verdict, Verdict::Flat);
        assert_eq!(of(|at| 100.0 + 1.5 * at + tooth(at)).verdict, Verdict::Grows);
    }

    #[test]
    fn noise_is_not_taken_for_a_rise() {
        // A fixed sequence without a trend, as wide as its mean.
        let noise = |at: f64| 100.0 + 100.0 * (at * 12.9898).sin();
        let noisy = of(noise);
        assert!(
            matches!(noisy.verdict, Verdict::Flat | Verdict::Noise),
            "{noisy:?}"
        );
    }

    #[test]
    fn one_file_more_is_no_trend() {
        let few = series(|at| if at < 20.0 { 5.0 } else { 6.0 });
        assert_eq!(slope(&few, 0.0).map(|slope| slope.verdict), Some(Verdict::Grows));
        assert_eq!(slope(&few, 2.0).map(|slope| slope.verdict), Some(Verdict::Flat));
        assert_eq!(slope(&few[..3], 0.0), None);
    }
}
