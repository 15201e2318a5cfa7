//! The writer's answer to a load: one commit, or one line per commit while the body is still being sent.

use reqwest::Response;
use serde::Deserialize;

use super::super::error::CliError;
use super::super::problem::Problem;
use super::super::server::Server;
use super::meter::Meter;

/// A commit, as far as it is shown.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Committed {
    pub(super) seq: u64,
    pub(super) tx_id: String,
}

/// What a load came to.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) commits: u64,
    pub(super) last: Committed,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Committed(Committed),
    Problem(Problem),
}

/// Reads an answer that says success so far; `committed` gets each commit as the writer wrote it.
///
/// # Errors
/// The problem that ends it, or an answer that is cut or has no commit.
pub(super) async fn receive(
    server: &Server,
    mut response: Response,
    meter: &Meter,
    committed: &impl Fn(&str),
) -> Result<Answered, CliError> {
    const ACTION: &str = "read the answer of";
    let (mut commits, mut last, mut rest) = (0, None, Vec::new());
    loop {
        let chunk = response
            .chunk()
            .await
            .map_err(|error| server.failure(ACTION, &error))?;
        let is_end = chunk.is_none();
        rest.extend_from_slice(&chunk.unwrap_or_default());
        for line in whole_lines(&mut rest, is_end) {
            match serde_json::from_slice(&line) {
                Ok(Line::Committed(commit)) => {
                    meter.add_commit();
                    commits += 1;
                    last = Some(commit);
                    committed(String::from_utf8_lossy(&line).trim());
                }
                Ok(Line::Problem(problem)) => return Err(server.problem(problem)),
                Err(error) => return Err(server.unexpected("understand the answer of", &error.to_string())),
            }
        }
        if is_end {
            break;
        }
    }
    let last = last.ok_or_else(|| server.unexpected(ACTION, "it names no commit"))?;
    Ok(Answered { commits, last })
}

/// Takes the lines that are complete, at the end also the last one, out of `rest`.
fn whole_lines(rest: &mut Vec<u8>, is_end: bool) -> Vec<Vec<u8>> {
    let complete = if is_end {
        rest.len()
    } else {
        rest.iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1)
    };
    let taken: Vec<u8> = rest.drain(..complete).collect();
    taken
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}
