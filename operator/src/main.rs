//! The `slipstream-operator` program: one leader reconciles, the others stand by.
//!
//! ```text
//! candidate ─> leader ─> controller ─┬─ SIGTERM ───> running reconciles end ─> lease released ─> exit 0
//!                                    └─ lease lost ─> exit 1, to come back as a candidate
//! ```

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use kube::Client;
use operator::controller::Controller;
use operator::leader::Candidate;
use operator::settings::{Arguments, Settings};
use operator::{health, metrics, probe};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Turns each `ReplicatedGraphDB` into a writer StatefulSet and a replica Deployment.
#[derive(Debug, Parser)]
#[command(name = "slipstream-operator", version)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    arguments: Option<Arguments>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask an address until it answers 200, or fail: what `helm test` runs
    Probe(probe::ProbeArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    // Two providers are compiled in, so one must be chosen; an error means that it was already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    match (cli.command, cli.arguments) {
        (Some(Command::Probe(arguments)), _) => Ok(probe::run(arguments).await?),
        (None, Some(arguments)) => operate(arguments).await,
        (None, None) => bail!("--sidecar-image: expected an image, found nothing (see --help)"),
    }
}

async fn operate(arguments: Arguments) -> Result<()> {
    // Reads FAILPOINTS; does nothing unless fail points are compiled in.
    let _fail_points = fail::FailScenario::setup();
    let _telemetry = telemetry::init(&telemetry::Settings::new(
        "slipstream-operator",
        "warn,operator=info,slipstream_operator=info",
    ))?;
    let settings = Settings::from(&arguments);
    let address = health::serve(arguments.listen, metrics::install()?).await?;
    tracing::info!(%address, namespace = settings.namespace, image = settings.sidecar_image, "started");
    let client = Client::try_default()
        .await
        .context("failed to find the API server")?;
    let mut candidate = Candidate::new(client.clone(), &arguments.pod_namespace, &arguments.pod_name).await?;
    let mut terminated = signals()?;

    tokio::select! {
        () = candidate.lead() => {}
        _ = terminated.wait_for(|asked| *asked) => return Ok(()),
    }
    let grace = settings.shutdown_grace;
    let pods = pods_client(settings.member_timeout)?;
    let namespace = Some(arguments.pod_namespace);
    let controller = Controller::new(client, pods, settings, arguments.pod_name, namespace);
    let mut asked_to_end = terminated.clone();
    let running = controller.run(async move {
        let _ = asked_to_end.wait_for(|asked| *asked).await;
    });
    let ended_in_time = async {
        let _ = terminated.wait_for(|asked| *asked).await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = running => tracing::info!("all reconciles have ended"),
        () = ended_in_time => tracing::warn!(?grace, "reconciles did not end in time"),
        why = candidate.lost() => bail!("leadership was lost: {why}"),
    }
    candidate.release().await;
    Ok(())
}

/// Turns true at SIGTERM or Ctrl-C.
fn signals() -> Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to end");
        let _ = sender.send(true);
        // Kept, so that receivers that come later see it too.
        sender.closed().await;
    });
    Ok(receiver)
}

/// For `/v1/status` of the pods: never through a proxy, and nothing slower than `timeout`.
fn pods_client(timeout: Duration) -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(timeout)
        .timeout(timeout);
    client.build().context("failed to prepare an HTTP client")
}
