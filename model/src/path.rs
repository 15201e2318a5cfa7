//! How a path of the search is told.

use stateright::Path;

use crate::action::Action;
use crate::state::State;

/// A line per step, with the function of the sidecar that takes it, and what the store holds in the end.
pub fn told(path: &Path<State, Action>) -> String {
    let mut lines = Vec::new();
    let mut last = None;
    for (state, action) in path.clone().into_vec() {
        if let Some(action) = action {
            let by = action.implemented_by().unwrap_or_default();
            lines.push(format!("  {:<44} {by}", format!("{action:?}")));
        }
        last = Some(state);
    }
    if let Some(state) = last {
        let State {
            store,
            acknowledged,
            wrong,
            ..
        } = state;
        for slot in &store.log {
            lines.push(format!("  log: {slot:?}"));
        }
        for (number, table) in store.tables.iter().enumerate() {
            lines.push(format!("  table {number}: {table:?}"));
        }
        lines.push(format!("  snapshots: {:?}", store.snapshots));
        lines.push(format!(
            "  acknowledged: {acknowledged:#b}, wrong in the last step: {wrong:?}"
        ));
    }
    lines.join("\n")
}
