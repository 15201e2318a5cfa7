//! What a part found, as a table and as sentences.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The outcome of one part.
#[derive(Debug, Default)]
pub struct PartReport {
    /// What was done, in a line.
    pub summary: String,
    pub tables: Vec<Table>,
    /// What must not be: the run failed if there is any.
    pub failures: Vec<String>,
}

impl PartReport {
    /// Prints everything, failures last.
    pub fn print(&self) {
        println!("{}", self.summary);
        for table in &self.tables {
            println!("{table}");
        }
        for failure in &self.failures {
            println!("✗ {failure}");
        }
    }
}

/// A table with these columns; all but the first are right-aligned.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Seconds for people: `0.42 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
