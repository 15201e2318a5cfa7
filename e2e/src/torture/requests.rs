//! Random requests on the graph of the model.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::model::{Batch, Operation, Request, Work};
use super::workload::Habits;

/// Keys of twins.
const IDS: i64 = 60;

/// The next request of a client.
pub(super) fn request(key: String, habits: &Habits, random: &mut StdRng) -> Request {
    // Hardly two requests have the same.
    let stamp = random.random_range(0..1_000_000_000);
    let work = if random.random_bool(habits.bulk) {
        Work::Bulk {
            batch: Batch::new(
                random.random_range(0..1_000_000),
                random.random_range(1..=habits.bulk_rows),
            ),
            stamp,
        }
    } else {
        Work::Transaction(operations(random, stamp))
    };
    Request { key, work }
}

/// A few changes that do not contradict each other. Edges begin and end at twins of the same transaction, or at ones that are
/// probably there.
fn operations(random: &mut StdRng, stamp: i64) -> Vec<Operation> {
    let mut ids: Vec<i64> = (0..random.random_range(1..=6))
        .map(|_| random.random_range(0..IDS))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let removed = if random.random_bool(0.3) {
        random.random_range(0..=ids.len() / 2)
    } else {
        0
    };
    let mut all = Vec::new();
    let (gone, kept) = ids.split_at(removed);
    all.extend(gone.iter().map(|id| Operation::Remove { id: *id }));
    all.extend(kept.iter().map(|id| Operation::Twins {
        id: *id,
        stamp,
        owner: random.random_bool(0.7).then(|| format!("owner-{}", stamp % 97)),
    }));
    let mut pairs = std::collections::BTreeSet::new();
    for _ in 0..random.random_range(0..=3) {
        let from = *kept.choose(random).unwrap_or(&0);
        // Mostly a twin of this transaction, so that few are refused.
        let to = match kept.choose(random) {
            Some(to) if random.random_bool(0.8) => *to,
            _ => random.random_range(0..IDS),
        };
        if kept.is_empty() || gone.contains(&to) || !pairs.insert((from, to)) {
            continue;
        }
        all.push(if random.random_bool(0.8) {
            let amount = random.random_bool(0.8).then_some(stamp % 1000);
            Operation::Owe { from, to, amount }
        } else {
            Operation::Forgive { from, to }
        });
    }
    all
}
