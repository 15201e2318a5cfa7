//! Measures the figures of docs/benchmarks.md on this machine and says which targets are reached.
//!
//! Exits 0 when everything could be measured: a missed target is a result, not a failure.

#[path = "../bench/mod.rs"]
mod bench;

use std::path::PathBuf;
use std::time::Instant;

use bench::figure::{Figure, markdown, table};
use bench::{Effort, commit_cost, first_build, in_place, load, memory, optimize, page, snapshot, visible};
use clap::{Parser, ValueEnum};

/// Measures Slipstream against its engines alone, as ratios within one run
#[derive(Debug, Parser)]
struct Args {
    /// Fewer repetitions
    #[arg(long)]
    quick: bool,
    /// Only these metrics [default: all]
    #[arg(long, value_enum, value_name = "METRIC")]
    only: Vec<Metric>,
    /// Write the table into docs/benchmarks.md; wants all metrics
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Directory with debian.yaml and the Parquet files
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/debian"))]
    example: PathBuf,
    /// The page that --write changes
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md"))]
    page: PathBuf,
}

/// What can be measured, in the order it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Metric {
    Load,
    FirstBuild,
    Visible,
    CommitCost,
    Memory,
    InPlace,
    Snapshot,
    Optimize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let effort = if args.quick {
        Effort::quick(&args.example)
    } else {
        Effort::full(&args.example)
    };
    let mut figures = Vec::new();
    for metric in Metric::value_variants() {
        if args.only.is_empty() || args.only.contains(metric) {
            let started = Instant::now();
            figures.extend(measure(*metric, &effort).await?);
            eprintln!("{metric:?} measured in {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    println!("{}", table(&figures));
    if args.write {
        page::write(&args.page, &markdown(&figures))?;
        println!("written to {}", args.page.display());
    } else {
        println!("\n{}", markdown(&figures));
    }
    Ok(())
}

async fn measure(metric: Metric, effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    match metric {
        Metric::Load => load::run(effort).await,
        Metric::FirstBuild => first_build::run(effort).await,
        Metric::Visible => visible::run(effort).await,
        Metric::CommitCost => commit_cost::run(effort).await,
        Metric::Memory => memory::run(effort).await,
        Metric::InPlace => in_place::run(effort).await,
        Metric::Snapshot => snapshot::run(effort).await,
        Metric::Optimize => optimize::run(effort).await,
    }
}
