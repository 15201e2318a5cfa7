//! `slipstream snapshot now|list|verify|restore`: a replica is asked to take one; the rest works on the store itself, with or
//! without a running graph.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use crds::{ReplicatedGraphDB, SidecarConfig};
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;

use super::error::CliError;
use super::output::{Output, pretty, print, table};
use super::server::Server;
use crate::graph::{EngineLimits, Graph};
use crate::snapshot::{self, Listed, SnapshotError, SnapshotLimits, SnapshotMeta};
use crate::store::{self, Store};

/// Where `slipstream local` puts the first replica.
const FIRST_REPLICA: &str = "http://127.0.0.1:7701";
/// The config that `slipstream local` writes.
const LOCAL_CONFIG: &str = ".slipstream/config.yaml";

/// Arguments of `slipstream snapshot`.
#[derive(Debug, Clone, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// What is done with snapshots.
#[derive(Debug, Clone, Subcommand)]
pub enum SnapshotCommand {
    /// Have a replica take one now; returns when it is stored and verified
    Now(NowArgs),
    /// Show those that are in the store
    List(StoreArgs),
    /// Read one whole and check every hash
    Verify(VerifyArgs),
    /// Make a Kuzu database of one, in a directory of its own
    Restore(RestoreArgs),
}

/// Arguments of `slipstream snapshot now`.
#[derive(Debug, Clone, Args)]
pub struct NowArgs {
    /// The replica that takes it
    #[arg(long, env = "SLIPSTREAM_REPLICA", value_name = "URL", default_value = FIRST_REPLICA)]
    pub server: String,
    /// Stop waiting after this time; the snapshot is taken all the same
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Where the snapshots are.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The graph's config, as its processes have it [default: that of `slipstream local` in this directory]
    #[arg(long, value_name = "YAML", conflicts_with = "file")]
    pub config: Option<PathBuf>,
    /// The graph's resource; its `storage` is used
    #[arg(short, long, value_name = "YAML")]
    pub file: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `slipstream snapshot verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Its tx_id, `newest` or `all`
    #[arg(default_value = "newest")]
    pub snapshot: String,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `slipstream snapshot restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Its tx_id, or `newest`
    pub snapshot: String,
    /// An empty directory, or one to be made
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What was found out about one snapshot.
#[derive(Debug, Serialize)]
struct Verified {
    tx_id: String,
    ok: bool,
    /// Bytes as stored that were read.
    bytes: u64,
    error: Option<String>,
}

/// Runs one of the commands.
///
/// # Errors
/// When nothing could be done, or, of `verify`, when a snapshot is damaged.
pub async fn run(args: SnapshotArgs) -> Result<(), CliError> {
    match args.command {
        SnapshotCommand::Now(args) => now(&args).await,
        SnapshotCommand::List(args) => list(&args).await,
        SnapshotCommand::Verify(args) => verify(&args).await,
        SnapshotCommand::Restore(args) => restore(&args).await,
    }
}

async fn now(args: &NowArgs) -> Result<(), CliError> {
    let server = Server::new(&args.server, "--server")?;
    let request = server.request(reqwest::Method::POST, "/v1/snapshots");
    let answer = server.send(request.timeout(args.timeout)).await?;
    let answer = answer
        .bytes()
        .await
        .map_err(|error| server.failure("read the answer of", &error))?;
    let unclear =
        |error: serde_json::Error| server.unexpected("understand the answer of", &error.to_string());
    let raw: Value = serde_json::from_slice(&answer).map_err(unclear)?;
    match args.output {
        Output::Json => print(&pretty(&raw)),
        Output::Table => {
            let existed = raw.get("existed").and_then(Value::as_bool).unwrap_or(false);
            let meta: SnapshotMeta = serde_json::from_value(raw).map_err(unclear)?;
            print(if existed {
                "nothing was committed since this one, which is good:"
            } else {
                "taken and verified:"
            });
            print(&rows(&[Listed {
                tx_id: meta.tx_id.to_string(),
                meta: Some(meta),
                usable: true,
                reason: None,
            }]));
        }
    }
    Ok(())
}

async fn list(args: &StoreArgs) -> Result<(), CliError> {
    let listed = snapshot::list(&open(args)?).await.map_err(failed)?;
    match args.output {
        Output::Json => print(&pretty(&listed)),
        Output::Table if listed.is_empty() => print("no snapshots"),
        Output::Table => print(&rows(&listed)),
    }
    Ok(())
}

async fn verify(args: &VerifyArgs) -> Result<(), CliError> {
    let store = open(&args.store)?;
    let names = match args.snapshot.as_str() {
        "all" => {
            let listed = snapshot::list(&store).await.map_err(failed)?;
            listed.into_iter().map(|listed| listed.tx_id).collect()
        }
        name => vec![named(&store, name).await?],
    };
    let mut verified = Vec::new();
    for tx_id in names {
        let (bytes, error) = match verify_one(&store, &tx_id).await {
            Ok(bytes) => (bytes, None),
            Err(error) if error.blames_the_snapshot() => (0, Some(error.to_string())),
            Err(error) => return Err(failed(error)),
        };
        verified.push(Verified {
            tx_id,
            ok: error.is_none(),
            bytes,
            error,
        });
    }
    let damaged: Vec<&str> = verified
        .iter()
        .filter_map(|found| found.error.as_deref())
        .collect();
    match args.store.output {
        Output::Json => print(&pretty(&verified)),
        Output::Table => {
            for found in verified.iter().filter(|found| found.ok) {
                print(&format!(
                    "snapshot {}: {} read, every hash is right",
                    found.tx_id,
                    HumanBytes(found.bytes)
                ));
            }
        }
    }
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(CliError::Argument(damaged.join("\n"))),
    }
}

/// Bytes read.
async fn verify_one(store: &Arc<dyn Store>, tx_id: &str) -> Result<u64, SnapshotError> {
    let meta = snapshot::find(store, tx_id).await?;
    snapshot::check(store, &meta, &SnapshotLimits::default()).await?;
    Ok(meta.stored_bytes())
}

async fn restore(args: &RestoreArgs) -> Result<(), CliError> {
    let store = open(&args.store)?;
    let meta = snapshot::find(&store, &named(&store, &args.snapshot).await?).await;
    let meta = meta.map_err(failed)?;
    let is_taken = std::fs::read_dir(&args.to).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken {
        return Err(CliError::Argument(format!(
            "--to: {} is not empty",
            args.to.display()
        )));
    }
    snapshot::restore_to(&store, &meta, &args.to, &SnapshotLimits::default())
        .await
        .map_err(failed)?;
    // Opened once: what was restored is a database that holds that commit.
    let (directory, position) = (args.to.clone(), meta.position());
    let opened = tokio::task::spawn_blocking(move || Graph::open(&directory, EngineLimits::default())).await;
    let held = match opened {
        Ok(Ok(opened)) => opened.map(|(_, watermark)| watermark.position),
        Ok(Err(error)) => return Err(CliError::Argument(error.to_string())),
        Err(error) => return Err(CliError::Argument(error.to_string())),
    };
    if held != Some(position) {
        let detail = format!(
            "snapshot {}: the restored database holds another commit: {held:?}",
            meta.tx_id
        );
        return Err(CliError::Argument(detail));
    }
    let file = args.to.join(&meta.file.name);
    match args.store.output {
        Output::Json => print(&pretty(&serde_json::json!({"database": file, "snapshot": meta}))),
        Output::Table => print(&format!(
            "{}: {} at seq {} ({}), {}; opens with {}",
            file.display(),
            HumanBytes(meta.file.size),
            meta.seq,
            meta.tx_id,
            "every hash is right",
            meta.engine,
        )),
    }
    Ok(())
}

/// The `tx_id` that people mean.
async fn named(store: &Arc<dyn Store>, name: &str) -> Result<String, CliError> {
    if name != "newest" {
        return Ok(name.to_owned());
    }
    let listed = snapshot::list(store).await.map_err(failed)?;
    let newest = listed.into_iter().find(|listed| listed.meta.is_some());
    newest
        .map(|listed| listed.tx_id)
        .ok_or_else(|| CliError::Argument("there is no complete snapshot in the store".to_owned()))
}

fn open(args: &StoreArgs) -> Result<Arc<dyn Store>, CliError> {
    let local = PathBuf::from(LOCAL_CONFIG);
    let (path, is_resource) = match (&args.file, &args.config) {
        (Some(file), _) => (file, true),
        (None, Some(config)) => (config, false),
        (None, None) if local.exists() => (&local, false),
        (None, None) => {
            return Err(CliError::Argument(format!(
                "name the graph with --config or --file; there is no {LOCAL_CONFIG} here"
            )));
        }
    };
    let text = std::fs::read_to_string(path).map_err(|source| CliError::read(path, source))?;
    let config = if is_resource {
        let resource = ReplicatedGraphDB::from_yaml(&text).map_err(|error| CliError::input(path, error))?;
        SidecarConfig::from_resource(&resource).map_err(|error| CliError::input(path, error))?
    } else {
        SidecarConfig::from_yaml(&text).map_err(|error| CliError::input(path, error))?
    };
    store::open(&config.storage).map_err(|error| failed(error.into()))
}

fn rows(listed: &[Listed]) -> String {
    let mut table = table(&[
        "tx_id", "seq", "age", "file", "stored", "parts", "taken by", "usable",
    ]);
    for Listed {
        tx_id, meta, reason, ..
    } in listed
    {
        let usable = reason
            .as_ref()
            .map_or_else(|| "yes".to_owned(), |reason| format!("no: {reason}"));
        let mut row = vec![tx_id.clone()];
        match meta {
            Some(meta) => {
                let seconds = (Utc::now() - meta.completed_at).num_seconds().max(0);
                let age = Duration::from_secs(seconds.unsigned_abs());
                row.extend([
                    meta.seq.to_string(),
                    humantime::format_duration(age).to_string(),
                    HumanBytes(meta.file.size).to_string(),
                    HumanBytes(meta.stored_bytes()).to_string(),
                    meta.parts.len().to_string(),
                    meta.taken_by.clone(),
                ]);
            }
            None => row.extend(std::iter::repeat_n(String::new(), 6)),
        }
        row.push(usable);
        table.add_row(row);
    }
    table.to_string()
}

fn failed(error: SnapshotError) -> CliError {
    CliError::Argument(error.to_string())
}
