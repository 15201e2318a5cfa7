//! `slipstream load`: a file of rows into a table, through the writer's HTTP API.
//!
//! ```text
//! file ─┬─ Parquet, NDJSON: as it is ──────────────────────┬─> body ──> POST /v1/tables/<table>/rows ──> answer
//!       └─ Arrow: arrow ─┬─> converted (blocking thread) ──┘      └─> meter ──> progress bar
//!          CSV: csv ─────┘
//! ```
//!
//! Owns: which format a file has, turning it into a body, progress. Does not own: whether rows are right, except for CSV
//! cells, which have no types before they get here: the writer decides.
//!
//! Memory: a file is streamed, at most a few batches are held.

mod answer;
mod arrow;
mod body;
mod converted;
mod csv;
mod csv_records;
mod meter;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use crds::GraphSchema;

use self::answer::Answered;
use self::body::RowsBody;
use self::meter::Meter;
use super::DEFAULT_WRITER;
use super::error::CliError;
use super::output::{Output, print};
use super::server::{Server, percent_encoded};
use crate::schema::{Schema, TableSchema};

const SCHEMA_TIMEOUT: Duration = Duration::from_secs(30);
const REDRAW: Duration = Duration::from_millis(100);

/// Arguments of `slipstream load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The node or edge table
    pub table: String,
    /// The rows: Parquet, NDJSON, Arrow IPC or CSV (first line: column names; a cell with nothing in it is null, "" is an
    /// empty string)
    pub file: PathBuf,
    /// The graph's writer
    #[arg(long, env = "SLIPSTREAM_WRITER", value_name = "URL", default_value = DEFAULT_WRITER)]
    pub writer: String,
    /// How the file is written [default: told by its name]
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Make one commit per N rows, instead of one for the whole file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub chunk_rows: Option<u64>,
    /// A remark that stays with the commit
    #[arg(long)]
    pub notes: Option<String>,
    /// Loading again with the same key gets the first answer and writes nothing
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// `json`: a line per commit, as soon as it is made
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// How a file of rows is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    Parquet,
    Ndjson,
    /// IPC file or stream.
    Arrow,
    Csv,
}

impl FileFormat {
    fn of(path: &Path) -> Result<Self, CliError> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Ok(Self::Parquet),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "arrow" | "arrows" | "ipc" | "feather" => Ok(Self::Arrow),
            "csv" => Ok(Self::Csv),
            _ => Err(CliError::input(
                path,
                "its name does not tell its format; expected .parquet, .ndjson, .jsonl, .arrow or .csv, or --format",
            )),
        }
    }
}

/// Loads the file and prints what was committed: a sentence at the end, or as JSON what the writer answered, commit by commit.
///
/// # Errors
/// When the file cannot be read or the writer refuses it. Without `chunk_rows` nothing was changed then; with it, the
/// commits that the error counts stand.
pub async fn run(args: LoadArgs) -> Result<(), CliError> {
    load(args, print).await
}

async fn load(args: LoadArgs, print: impl Fn(&str)) -> Result<(), CliError> {
    let server = Server::new(&args.writer, "--writer")?;
    let format = args.format.map_or_else(|| FileFormat::of(&args.file), Ok)?;
    let table = table_schema(&server, &args.table).await?;
    let meter = Arc::new(Meter::default());
    let body = body::open(&args.file, format, table, Arc::clone(&meter)).await?;
    let known_rows = body.rows;
    let bar = meter::bar(body.bytes);

    let started = Instant::now();
    let committed = |line: &str| {
        if args.output == Output::Json {
            // The bar is on the same terminal.
            bar.suspend(|| print(line));
        }
    };
    let sent = send(&server, &args, body, &meter, &committed);
    tokio::pin!(sent);
    let mut redraw = tokio::time::interval(REDRAW);
    let answered = loop {
        tokio::select! {
            answered = &mut sent => break answered,
            _ = redraw.tick() => meter.show(&bar, known_rows, started.elapsed()),
        }
    };
    bar.finish_and_clear();
    // A file that broke off breaks the request off: the cause is what counts.
    if let Some(failure) = meter.take_failure() {
        return Err(meter.with_commits(failure));
    }
    let answered = answered.map_err(|error| meter.with_commits(error))?;
    if args.output == Output::Table {
        print(&summary(
            &args,
            known_rows.unwrap_or_else(|| meter.rows()),
            started.elapsed(),
            &answered,
        ));
    }
    Ok(())
}

/// The table as the writer knows it; asked first, so that a wrong name is told before anything is sent.
async fn table_schema(server: &Server, name: &str) -> Result<Arc<TableSchema>, CliError> {
    let source: GraphSchema = server.get("/v1/schema", SCHEMA_TIMEOUT).await?;
    let schema = Schema::new(&source)
        .map_err(|error| server.unexpected("understand the schema of", &error.to_string()))?;
    schema.table(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = schema.tables().iter().map(|table| table.name.as_str()).collect();
        CliError::Argument(format!(
            "there is no table `{name}`; the graph has {}",
            names.join(", ")
        ))
    })
}

async fn send(
    server: &Server,
    args: &LoadArgs,
    body: RowsBody,
    meter: &Meter,
    committed: &impl Fn(&str),
) -> Result<Answered, CliError> {
    let mut query = Vec::new();
    query.extend(args.chunk_rows.map(|rows| format!("chunk_rows={rows}")));
    query.extend(
        args.notes
            .as_ref()
            .map(|notes| format!("notes={}", percent_encoded(notes))),
    );
    let separator = if query.is_empty() { "" } else { "?" };
    let path = format!(
        "/v1/tables/{}/rows{separator}{}",
        percent_encoded(&args.table),
        query.join("&")
    );
    let mut request = server
        .request(reqwest::Method::POST, &path)
        .header("content-type", body.content_type);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let response = server
        .send(request.body(reqwest::Body::wrap_stream(body.stream)))
        .await?;
    answer::receive(server, response, meter, committed).await
}

/// `loaded 63,212 rows into Package in 1.42 s (44,515 rows/s): seq 12, tx_id 018f…`
fn summary(args: &LoadArgs, rows: u64, took: Duration, answered: &Answered) -> String {
    let seconds = took.as_secs_f64();
    let rate = indicatif::HumanCount(meter::per_second(rows, took));
    let commits = if answered.commits == 1 {
        String::new()
    } else {
        format!("{} commits, the last is ", answered.commits)
    };
    format!(
        "loaded {} row{} into {} in {seconds:.2} s ({rate} rows/s): {commits}seq {}, tx_id {}",
        indicatif::HumanCount(rows),
        if rows == 1 { "" } else { "s" },
        args.table,
        answered.last.seq,
        answered.last.tx_id
    )
}

#[cfg(test)]
mod tests;
