//! `slipstream cleanup`: what the operator's Job runs before a graph's resource goes, and a person after a local graph.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use crds::SidecarConfig;

use super::CliError;
use crate::cleanup::clean_up;

/// Arguments of `slipstream cleanup`.
#[derive(Debug, Clone, Args)]
pub struct CleanupArgs {
    /// The graph's config: which graph, and where its store and its events are
    #[arg(long, value_name = "YAML")]
    pub config: PathBuf,
    /// Delete the graph's data too: tables, commit log, snapshots. There is no way back
    #[arg(long)]
    pub delete_data: bool,
    /// Give up after this time; running it again continues
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Removes the leases and JetStream consumers of a graph that no process serves any more, and its data if asked for.
///
/// # Errors
/// When something is left; running it again continues.
pub async fn run(args: CleanupArgs) -> Result<(), CliError> {
    let text =
        std::fs::read_to_string(&args.config).map_err(|source| CliError::read(&args.config, source))?;
    let config = SidecarConfig::from_yaml(&text).map_err(|error| CliError::input(&args.config, error))?;
    let cleaning = clean_up(&config, args.delete_data, |line| println!("{line}"));
    match tokio::time::timeout(args.timeout, cleaning).await {
        Ok(cleaned) => Ok(cleaned?),
        Err(_) => Err(CliError::Argument(format!(
            "not finished within --timeout {}; run it again, and it continues",
            humantime::format_duration(args.timeout)
        ))),
    }
}
