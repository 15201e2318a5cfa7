//! The two forms in which commands answer: tables for people, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};

/// The form of an answer on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
}

/// Below this a table is not fitted to the terminal: every cell would be a column of letters.
const NARROWEST_TERMINAL: u16 = 40;

/// An empty table with these column names. On a terminal it is as wide as the terminal at most.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_header(header.iter().copied());
    if table.width().is_some_and(|width| width >= NARROWEST_TERMINAL) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// JSON for people and programs alike.
pub(super) fn pretty(value: &impl serde::Serialize) -> String {
    // Only maps with keys that are not text cannot be written, and no command has one.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Writes a text and a line's end. A reader that has gone away (`| head`) is no failure of the command.
pub(super) fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
