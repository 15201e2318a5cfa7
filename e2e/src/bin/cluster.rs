//! The test cluster by hand: start it, look into it with kubectl, stop it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use slipstream_e2e::cluster::{Cluster, OPERATOR_IMAGE, Place, SIDECAR_IMAGE, check, provision};

/// A real single-node Kubernetes on this machine, without uplink
#[derive(Debug, Parser)]
struct Args {
    /// What the cluster keeps [default: $SLIPSTREAM_CLUSTER, or `cluster` in the cache]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Programs and images, kept between clusters [default: $SLIPSTREAM_CACHE, or ~/.cache/slipstream]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a fresh one; an earlier one is removed first
    Up,
    /// Stop it and remove what it kept, except its logs
    Down,
    /// Its programs, node and pods
    Status,
    /// Run kubectl as the cluster's administrator
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run any command in the cluster's network, where services and pods answer; `helm` and `slipstream` are found
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Build the images of operator and sidecar from the binaries beside this program, and import them
    Images,
    /// Start the S3 server and the NATS server, and make the Secrets `s3` and `nats` by which graphs reach them
    Backends {
        /// Namespace of the Secrets
        #[arg(long, value_name = "NAMESPACE", default_value = "default")]
        secrets_in: String,
    },
    /// See whether it does what scenarios rely on: pods, volumes, names, services, images
    Check,
    /// Make volumes for claims (a part of the cluster; runs until it is ended)
    #[command(hide = true)]
    Provision,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let place = Place::from_env()?;
    let cache = args.cache.unwrap_or(place.cache);
    let place = Place::new(&args.state.unwrap_or(place.state), &cache)?;
    let started = Instant::now();
    match args.command {
        Command::Up => {
            let cluster = Cluster::up(place).await?;
            say_how(&cluster, started);
        }
        Command::Down => {
            Cluster::down(&place).await?;
            println!(
                "The cluster is down [{:.1} s]; its logs are in {}",
                started.elapsed().as_secs_f64(),
                place.logs().display()
            );
        }
        Command::Status => return status(&Cluster::attach(place)?).await,
        Command::Kubectl { args } => return pass_on(Cluster::attach(place)?.kubectl_command(args)).await,
        Command::Run { command } => {
            let (program, args) = command.split_first().context("failed to find a command to run")?;
            let path = path_with(&place.tool("")).context("failed to extend PATH")?;
            let mut command = Cluster::attach(place)?.inside(program);
            command.args(args).env("PATH", path);
            return pass_on(command).await;
        }
        Command::Images => {
            Cluster::attach(place)?.install_images().await?;
            println!("{SIDECAR_IMAGE}\n{OPERATOR_IMAGE}");
        }
        Command::Backends { secrets_in } => {
            let cluster = Cluster::attach(place)?;
            let backends = cluster.install_backends().await?;
            backends.add_secrets(&cluster, &secrets_in).await?;
            println!(
                "S3 at {} with the bucket {}",
                backends.s3_endpoint, backends.bucket
            );
            println!("NATS at {}", backends.nats_url);
            println!("Secrets s3 and nats in namespace {secrets_in}");
        }
        Command::Check => {
            let cluster = Cluster::attach(place)?;
            cluster.enter()?;
            check::run(&cluster).await?;
        }
        Command::Provision => {
            provision(&Cluster::attach(place)?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say_how(cluster: &Cluster, started: Instant) {
    let place = cluster.place();
    println!("The cluster is up [{:.1} s]", started.elapsed().as_secs_f64());
    println!("  {:<12} ./justw cluster kubectl get pods -A", "kubectl");
    println!("  {:<12} ./justw cluster images", "our images");
    println!("  {:<12} ./justw cluster backends", "S3 and NATS");
    println!(
        "  {:<12} {} (its server answers only in the cluster's network:",
        "kubeconfig",
        place.kubeconfig().display()
    );
    println!(
        "  {:<12} ./justw cluster run COMMAND…, or nsenter --net={})",
        "",
        place.network().display()
    );
    println!("  {:<12} {}", "logs", place.logs().display());
    println!("  {:<12} ./justw cluster down", "stop it");
}

async fn status(cluster: &Cluster) -> anyhow::Result<ExitCode> {
    for (name, process) in cluster.components()? {
        match process {
            Some(id) => println!("{name:<26} process {id}"),
            None => println!("{name:<26} ended"),
        }
    }
    pass_on(cluster.kubectl_command(["get", "nodes,pods", "--all-namespaces", "-o", "wide"])).await
}

/// PATH, with the cluster's tools and the programs beside this one first.
fn path_with(tools: &Path) -> anyhow::Result<OsString> {
    let own = std::env::current_exe()?;
    let mut directories = vec![tools.to_owned()];
    directories.extend(own.parent().map(Path::to_owned));
    directories.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    Ok(std::env::join_paths(directories)?)
}

/// Runs it with this program's own input and output; its exit status becomes ours.
async fn pass_on(mut command: tokio::process::Command) -> anyhow::Result<ExitCode> {
    let status = command.status().await.context("failed to run the command")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
