//! Random walks through much larger bounds than can be searched, for a few seconds; the binary walks longer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slipstream_model::{LARGE, Protocol, path};
use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

const WALKED: Duration = Duration::from_secs(5);

#[test]
fn no_random_walk_breaks_a_property() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = now.as_nanos() as u64;
    println!("seed {seed}: slipstream-model 60 {seed}");
    let checker = Protocol::new(LARGE, &[])
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(WALKED)
        .spawn_simulation(seed, UniformChooser)
        .join();
    println!(
        "{} states, longest walk {} steps",
        checker.state_count(),
        checker.max_depth()
    );
    let found = checker.discoveries();
    let told = found
        .iter()
        .map(|(property, counterexample)| format!("\"{property}\":\n{}", path::told(counterexample)));
    assert!(
        found.is_empty(),
        "seed {seed}: does not hold: {}",
        told.collect::<Vec<_>>().join("\n")
    );
    assert!(checker.max_depth() > 100, "walks that end at once show nothing");
}
