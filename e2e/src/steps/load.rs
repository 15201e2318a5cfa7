//! Step 2: everything is loaded, packages by the command line, edges by the API.

use std::path::Path;
use std::time::Instant;

use tokio::process::Command;

use super::{Scene, StepError, expect};
use crate::client::PARQUET;
use crate::debian::{EDGES, PACKAGE, parquet_file, parquet_rows};
use crate::report::{Passed, grouped, rate};

/// Loads the three files, each as one commit.
///
/// # Errors
/// When one is not taken whole.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let mut rates = Vec::new();
    let mut total = 0;
    let started = Instant::now();
    for table in [PACKAGE, EDGES[0], EDGES[1]] {
        let file = parquet_file(&scene.example, table);
        let rows = parquet_rows(&file)?;
        let began = Instant::now();
        if table == PACKAGE {
            by_command_line(scene, table, &file, rows).await?
        } else {
            by_api(scene, table, &file).await?
        }
        let rate = rate(rows, began.elapsed());
        scene
            .measurements
            .add(format!("load {} rows into {table}", grouped(rows)), rate.clone());
        rates.push(format!("{table} {rate}"));
        total += rows;
    }
    scene
        .measurements
        .add("load everything", rate(total, started.elapsed()));
    Ok(format!("{} rows in 3 commits: {}", grouped(total), rates.join(", ")).into())
}

async fn by_api(scene: &mut Scene, table: &str, file: &Path) -> Result<(), StepError> {
    let body = std::fs::read(file).map_err(StepError::system(format!("read {}", file.display())))?;
    scene.newest_tx = scene.local.writer().load(table, PARQUET, body).await?.tx_id;
    Ok(())
}

async fn by_command_line(scene: &mut Scene, table: &str, file: &Path, rows: u64) -> Result<(), StepError> {
    let mut command = Command::new(&scene.local.settings.binary);
    command
        .args(["load", table])
        .arg(file)
        .args(["--writer", &scene.local.writer().url])
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(StepError::system("run `slipstream load`"))?;
    let (summary, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let expected = format!("loaded {} rows into {table} in ", grouped(rows));
    let what = "what `slipstream load` says";
    expect(
        output.status.success(),
        what,
        "exit status 0",
        format!("{}: {errors}", output.status),
    )?;
    expect(
        summary.starts_with(&expected),
        what,
        format!("`{expected}…`"),
        &summary,
    )?;
    let tx_id = summary
        .trim_end()
        .rsplit_once("tx_id ")
        .map(|(_, tx_id)| tx_id.to_owned());
    scene.newest_tx = tx_id.ok_or_else(|| StepError::Wrong {
        what: what.to_owned(),
        expected: "`… tx_id <id>` at its end".to_owned(),
        found: summary.into_owned(),
    })?;
    Ok(())
}
