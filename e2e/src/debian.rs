//! What the graph of Debian packages must hold: a plain model, read from the Parquet files and changed along with the graph.
//!
//! Owns: the expected rows and counts. Does not own: sending changes, asking nodes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

/// The node table.
pub const PACKAGE: &str = "Package";
/// The edge tables.
pub const EDGES: [&str; 2] = ["DEPENDS", "RECOMMENDS"];

/// Input that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {}: {detail}", file.display())]
pub struct InputError {
    pub file: PathBuf,
    pub detail: String,
}

/// A node without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub version: Option<String>,
    pub section: Option<String>,
    pub installed_size: Option<i64>,
    pub description: Option<String>,
}

/// Ends (`from`, `to`) with the constraint.
pub type Edges = BTreeMap<(String, String), Option<String>>;

/// The whole graph.
#[derive(Debug, Clone, Default)]
pub struct Debian {
    pub packages: BTreeMap<String, Package>,
    /// In the order of [`EDGES`].
    pub edges: [Edges; 2],
}

/// How many rows each table has: packages, then edges in the order of [`EDGES`].
pub type Counts = [u64; 3];

impl Package {
    /// The row as a transaction has it.
    pub fn row(&self, name: &str) -> Value {
        json!({"name": name, "version": self.version, "section": self.section,
            "installed_size": self.installed_size, "description": self.description})
    }

    /// The properties but the key, in the order of the schema, as a query answers them.
    pub fn values(&self) -> Vec<Value> {
        vec![
            json!(self.version),
            json!(self.section),
            json!(self.installed_size),
            json!(self.description),
        ]
    }
}

/// The file of a table below the directory of the example.
pub fn parquet_file(directory: &Path, table: &str) -> PathBuf {
    let name = if table == PACKAGE {
        "packages".to_owned()
    } else {
        table.to_lowercase()
    };
    directory.join(format!("{name}.parquet"))
}

impl Debian {
    /// Reads the three files.
    ///
    /// # Errors
    /// When one is missing or has other columns.
    pub fn read(directory: &Path) -> Result<Self, InputError> {
        let mut graph = Self::default();
        for_each_batch(&parquet_file(directory, PACKAGE), |batch| {
            graph.add_packages(batch)
        })?;
        for (edges, table) in graph.edges.iter_mut().zip(EDGES) {
            for_each_batch(&parquet_file(directory, table), |batch| add_edges(edges, batch))?;
        }
        Ok(graph)
    }

    /// Rows per table.
    pub fn counts(&self) -> Counts {
        [
            self.packages.len() as u64,
            self.edges[0].len() as u64,
            self.edges[1].len() as u64,
        ]
    }

    /// Edges at a package, per edge table, both ways.
    pub fn edges_of(&self, name: &str) -> [u64; 2] {
        let at = |edges: &Edges| {
            edges
                .keys()
                .filter(|(from, to)| from == name || to == name)
                .count() as u64
        };
        [at(&self.edges[0]), at(&self.edges[1])]
    }

    /// Deletes a package and, as the writer does, its edges.
    pub fn delete(&mut self, name: &str) {
        self.packages.remove(name);
        for edges in &mut self.edges {
            edges.retain(|(from, to), _| from != name && to != name);
        }
    }

    fn add_packages(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let [names, versions, sections, descriptions] =
            ["name", "version", "section", "description"].map(|c| texts(batch, c));
        let (names, versions, sections, descriptions) = (names?, versions?, sections?, descriptions?);
        let sizes: &Int64Array = batch
            .column_by_name("installed_size")
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .ok_or("expected an int64 column installed_size, found none")?;
        for row in 0..batch.num_rows() {
            let package = Package {
                version: text(versions, row),
                section: text(sections, row),
                installed_size: sizes.is_valid(row).then(|| sizes.value(row)),
                description: text(descriptions, row),
            };
            self.packages.insert(names.value(row).to_owned(), package);
        }
        Ok(())
    }
}

fn add_edges(edges: &mut Edges, batch: &RecordBatch) -> Result<(), String> {
    let (from, to, constraints) = (
        texts(batch, "from")?,
        texts(batch, "to")?,
        texts(batch, "constraint")?,
    );
    for row in 0..batch.num_rows() {
        edges.insert(
            (from.value(row).to_owned(), to.value(row).to_owned()),
            text(constraints, row),
        );
    }
    Ok(())
}

fn for_each_batch(
    file: &Path,
    mut take: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), InputError> {
    let failed = |detail: String| InputError {
        file: file.to_owned(),
        detail,
    };
    let opened = File::open(file).map_err(|error| failed(error.to_string()))?;
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(opened).and_then(ParquetRecordBatchReaderBuilder::build);
    for batch in reader.map_err(|error| failed(error.to_string()))? {
        take(&batch.map_err(|error| failed(error.to_string()))?).map_err(&failed)?;
    }
    Ok(())
}

/// Rows of a Parquet file by its own footer.
///
/// # Errors
/// When it has none.
pub fn parquet_rows(file: &Path) -> Result<u64, InputError> {
    let failed = |detail: String| InputError {
        file: file.to_owned(),
        detail,
    };
    let opened = File::open(file).map_err(|error| failed(error.to_string()))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|error| failed(error.to_string()))?;
    u64::try_from(builder.metadata().file_metadata().num_rows()).map_err(|error| failed(error.to_string()))
}

fn texts<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a StringArray, String> {
    batch
        .column_by_name(column)
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| format!("expected a text column {column}, found none"))
}

fn text(column: &StringArray, row: usize) -> Option<String> {
    column.is_valid(row).then(|| column.value(row).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/debian")
    }

    #[test]
    fn the_model_has_as_many_rows_as_the_files() {
        let counts = Debian::read(&example()).unwrap().counts();
        let rows = [PACKAGE, EDGES[0], EDGES[1]]
            .map(|table| parquet_rows(&parquet_file(&example(), table)).unwrap());
        assert_eq!(counts, rows);
    }

    #[test]
    fn a_deleted_package_takes_its_edges_along_and_no_others() {
        let mut graph = Debian::read(&example()).unwrap();
        let before = graph.counts();
        let gone = graph.edges_of("postfix");
        graph.delete("postfix");
        assert!(gone.iter().all(|edges| *edges > 0), "{gone:?}");
        assert_eq!(
            graph.counts(),
            [before[0] - 1, before[1] - gone[0], before[2] - gone[1]]
        );
        assert_eq!(graph.edges_of("postfix"), [0, 0]);
    }
}
