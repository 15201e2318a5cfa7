//! How often something is worth a line in the log: at once, and then with a count. Whoever sends rubbish must not fill disks.

use std::time::{Duration, Instant};

/// Between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts what was not said yet.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    said_at: Option<Instant>,
    unsaid: usize,
}

impl Complaints {
    /// `count` more; gives how many there were since the last line if it is time for one.
    pub(super) fn add(&mut self, count: usize, now: Instant) -> Option<usize> {
        self.unsaid += count;
        let is_due = self
            .said_at
            .is_none_or(|said| now.saturating_duration_since(said) >= PAUSE);
        if !is_due || self.unsaid == 0 {
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_many_in_one_line() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.add(0, start), None);
        assert_eq!(complaints.add(1, start), Some(1));
        let said: Vec<usize> = (1..=100_000_u64)
            .filter_map(|number| complaints.add(1, start + Duration::from_micros(number * 200)))
            .collect();
        assert_eq!(said, [50_000, 50_000]);
    }
}
