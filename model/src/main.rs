//! Random walks through the protocol within bounds that no exhaustive search would end in: `slipstream-model [seconds] [seed]`.
//!
//! Prints the seed, what was walked, and the first counterexample if there is one; then it exits with 1. All properties are asked
//! after every step, and from every state the run without faults is tried.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slipstream_model::{LARGE, Protocol, path};
use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (seconds, seed) = match (arguments.next(), arguments.next()) {
        (None, _) => (60, None),
        (Some(Ok(seconds)), None) => (seconds, None),
        (Some(Ok(seconds)), Some(Ok(seed))) => (seconds, Some(seed)),
        _ => {
            eprintln!("slipstream-model: expected [seconds] [seed], both whole numbers");
            return ExitCode::FAILURE;
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = seed.unwrap_or(now.as_nanos() as u64);
    println!("random walks for {seconds} s, seed {seed}");
    let started = Instant::now();
    let checker = Protocol::new(LARGE, &[])
        .checker()
        .threads(std::thread::available_parallelism().map_or(1, usize::from))
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(Duration::from_secs(seconds))
        .spawn_simulation(seed, UniformChooser)
        .join();
    println!(
        "{} states in {:.0} s, longest walk {} steps",
        checker.state_count(),
        started.elapsed().as_secs_f64(),
        checker.max_depth(),
    );
    let found = checker.discoveries();
    for (property, counterexample) in &found {
        println!("\"{property}\" does not hold:\n{}", path::told(counterexample));
    }
    if found.is_empty() {
        println!("every property held in every state");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
