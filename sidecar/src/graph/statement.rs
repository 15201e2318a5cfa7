//! Prepared statements of one connection, kept by their text: each is parsed and planned once per transaction.

use std::collections::HashMap;

use kuzu::{Connection, PreparedStatement, Value};

use super::GraphError;

/// Statements prepared on one connection.
pub(super) struct Statements<'c, 'db> {
    connection: &'c Connection<'db>,
    prepared: HashMap<String, PreparedStatement>,
}

impl<'c, 'db> Statements<'c, 'db> {
    pub(super) fn new(connection: &'c Connection<'db>) -> Self {
        Self {
            connection,
            prepared: HashMap::new(),
        }
    }

    /// Runs a statement with bound parameters and returns its rows.
    pub(super) fn rows(
        &mut self,
        text: &str,
        parameters: Vec<(&str, Value)>,
    ) -> Result<Vec<Vec<Value>>, GraphError> {
        if !self.prepared.contains_key(text) {
            let statement = self
                .connection
                .prepare(text)
                .map_err(GraphError::engine(format!("prepare {text:?}")))?;
            self.prepared.insert(text.to_owned(), statement);
        }
        let Some(statement) = self.prepared.get_mut(text) else {
            return Ok(Vec::new());
        };
        let result = self
            .connection
            .execute(statement, parameters)
            .map_err(GraphError::engine(format!("run {text:?}")))?;
        Ok(result.collect())
    }

    /// Runs a statement for its effect.
    pub(super) fn run(&mut self, text: &str, parameters: Vec<(&str, Value)>) -> Result<(), GraphError> {
        self.rows(text, parameters).map(drop)
    }

    /// Runs a statement that ends in `RETURN count(*)`.
    pub(super) fn count(&mut self, text: &str, parameters: Vec<(&str, Value)>) -> Result<u64, GraphError> {
        let rows = self.rows(text, parameters)?;
        match rows.first().and_then(|row| row.first()) {
            Some(Value::Int64(count)) => Ok(u64::try_from(*count).unwrap_or_default()),
            other => Err(GraphError::Engine {
                doing: format!("count what {text:?} changed"),
                detail: format!("found {other:?}"),
            }),
        }
    }

    /// Runs a statement that takes no parameters and is not worth keeping: DDL, `LOAD FROM`, transaction control.
    pub(super) fn execute(&self, text: &str) -> Result<Vec<Vec<Value>>, GraphError> {
        let result = self
            .connection
            .query(text)
            .map_err(GraphError::engine(format!("run {text:?}")))?;
        Ok(result.collect())
    }
}
