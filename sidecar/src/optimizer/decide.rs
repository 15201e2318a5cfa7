//! What is worth doing, from the shape of the tables: pure.
//!
//! Merging costs what it reads and writes, so a large fragment is left alone until the small ones beside it are worth it:
//! every row is then rewritten a logarithmic number of times, not at every run.

use crds::{Compaction, IndexKind, Indices, OptimizerInterval};

use crate::lake::{FragmentStatistics, IndexStatistics, IndexWish};

/// A fragment is merged with smaller ones once they hold a fourth of its rows.
const GROWTH: u64 = 4;
/// On `auto`: so many fragments to merge are worth a run …
const AUTO_FRAGMENTS: usize = 16;
/// … or so many deleted rows that can be left out …
const AUTO_DELETED: u64 = 10_000;
/// … or so many commits since the last cleaning.
const AUTO_COMMITS: u64 = 200;

/// One table, from its manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableShape {
    pub table: String,
    pub fragments: Vec<FragmentStatistics>,
    pub indexes: Vec<IndexStatistics>,
    /// What the resource wants.
    pub wishes: Vec<IndexWish>,
}

/// The graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    pub tables: Vec<TableShape>,
    pub commits_since_cleaning: u64,
}

/// One thing to do to a table.
#[derive(Debug, Clone, PartialEq)]
pub enum TableTask {
    /// Merge, but leave these fragments alone.
    Compact { excluded: Vec<u64> },
    /// Train an index that is declared and not there.
    Build(IndexWish),
    /// Bring the missing rows into an index.
    Update { index: String },
    /// Remove an index that is not declared any more.
    Drop { index: String },
}

/// Something to do, and why, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub table: String,
    pub task: TableTask,
    pub why: String,
}

/// What to do now. `Some` with no tasks: cleaning is due, nothing else. `None`: nothing is worth it.
///
/// With a fixed interval everything useful is done when the time has come; `auto` is asked often, and waits until it is
/// worth a run.
pub fn decide(
    interval: OptimizerInterval,
    compaction: &Compaction,
    indices: &Indices,
    vector_min_rows: u64,
    shape: &Shape,
) -> Option<Vec<Task>> {
    let auto = interval == OptimizerInterval::Auto;
    let mut tasks = Vec::new();
    for table in &shape.tables {
        if compaction.enabled {
            tasks.extend(compact(auto, compaction, table));
        }
        if indices.enabled {
            tasks.extend(index(indices, vector_min_rows, table));
        }
    }
    let cleans = !auto || shape.commits_since_cleaning >= AUTO_COMMITS;
    (cleans || !tasks.is_empty()).then_some(tasks)
}

fn compact(auto: bool, compaction: &Compaction, shape: &TableShape) -> Option<Task> {
    let target = compaction.target_rows_per_fragment;
    let is_dirty = |fragment: &FragmentStatistics| {
        let physical = fragment.rows + fragment.deleted;
        fragment.deleted * 100 > physical * u64::from(compaction.materialize_deletions_percent)
    };
    let dirty: Vec<_> = shape.fragments.iter().filter(|one| is_dirty(one)).collect();
    let deleted: u64 = dirty.iter().map(|fragment| fragment.deleted).sum();
    let small: Vec<&FragmentStatistics> = shape
        .fragments
        .iter()
        .filter(|fragment| fragment.rows + fragment.deleted < target)
        .collect();
    let clean: Vec<(u64, u64)> = small
        .iter()
        .filter(|fragment| !is_dirty(fragment))
        .map(|fragment| (fragment.id, fragment.rows))
        .collect();
    let dirty_rows: u64 = dirty.iter().map(|fragment| fragment.rows).sum();
    let excluded = too_large(clean, dirty_rows);
    let mergeable = small
        .iter()
        .filter(|fragment| !excluded.contains(&fragment.id))
        .count();
    let is_worth_it = if auto {
        mergeable >= AUTO_FRAGMENTS || deleted >= AUTO_DELETED
    } else {
        mergeable >= 2 || !dirty.is_empty()
    };
    let why = format!("{mergeable} small fragments, {deleted} deleted rows to leave out");
    is_worth_it.then(|| Task {
        table: shape.table.clone(),
        task: TableTask::Compact { excluded },
        why,
    })
}

/// The fragments that are too large to be rewritten for what lies beside them. `rows` are (id, rows), `beside` the rows that
/// are rewritten in any case.
fn too_large(mut rows: Vec<(u64, u64)>, beside: u64) -> Vec<u64> {
    rows.sort_by_key(|(_, rows)| *rows);
    let mut excluded = Vec::new();
    let mut rest: u64 = beside + rows.iter().map(|(_, rows)| rows).sum::<u64>();
    while let Some((id, largest)) = rows.pop() {
        rest -= largest;
        if rest.saturating_mul(GROWTH) >= largest {
            break;
        }
        excluded.push(id);
    }
    excluded
}

fn index(indices: &Indices, vector_min_rows: u64, shape: &TableShape) -> Vec<Task> {
    let rows: u64 = shape.fragments.iter().map(|fragment| fragment.rows).sum();
    let task = |task, why| Task {
        table: shape.table.clone(),
        task,
        why,
    };
    let mut tasks = Vec::new();
    for wish in &shape.wishes {
        let name = wish.name();
        let min_rows = if wish.kind == IndexKind::Vector {
            vector_min_rows
        } else {
            1
        };
        match shape.indexes.iter().find(|index| index.name == name) {
            None if rows >= min_rows.max(1) => {
                let why = format!("index {name} of {rows} rows is missing");
                tasks.push(task(TableTask::Build(wish.clone()), why));
            }
            Some(index) if index.unindexed > 0 && index.unindexed >= indices.min_unindexed_rows => {
                let why = format!("{} rows are not in index {name}", index.unindexed);
                tasks.push(task(TableTask::Update { index: name }, why));
            }
            _ => {}
        }
    }
    for index in &shape.indexes {
        if !shape.wishes.iter().any(|wish| wish.name() == index.name) {
            let why = format!("index {} is not declared", index.name);
            let index = index.name.clone();
            tasks.push(task(TableTask::Drop { index }, why));
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(rows: &[(u64, u64)]) -> Vec<FragmentStatistics> {
        let of = |(id, (rows, deleted)): (usize, &(u64, u64))| FragmentStatistics {
            id: id as u64,
            rows: *rows,
            deleted: *deleted,
        };
        rows.iter().enumerate().map(of).collect()
    }

    fn shape(rows: &[(u64, u64)]) -> Shape {
        Shape {
            tables: vec![TableShape {
                table: "T".to_owned(),
                fragments: fragments(rows),
                ..TableShape::default()
            }],
            commits_since_cleaning: 0,
        }
    }

    fn decided(interval: &str, shape: &Shape) -> Option<Vec<Task>> {
        let compaction = Compaction {
            target_rows_per_fragment: 100_000,
            ..Compaction::default()
        };
        let indices = Indices::default();
        decide(interval.parse().unwrap(), &compaction, &indices, 10_000, shape)
    }

    /// Fragments as (rows, deleted), compacted on a fixed interval, compacted on `auto`.
    type Case<'a> = (&'a [(u64, u64)], bool, bool);

    #[test]
    fn fragments_are_merged_when_it_is_worth_it() {
        let many = vec![(10, 0); 16];
        let table: [Case<'_>; 8] = [
            (&[], false, false),
            (&[(10, 0)], false, false),
            (&[(10, 0), (10, 0)], true, false),
            (&many, true, true),
            (&[(50_000, 0), (10, 0)], false, false),
            (&[(50_000, 0), (10, 0), (10, 0)], true, false),
            (&[(60_000, 9_000)], true, false),
            (&[(60_000, 60_000)], true, true),
        ];
        for (rows, fixed, auto) in table {
            let shape = shape(rows);
            assert_eq!(decided("10m", &shape), Some(decided("10m", &shape).unwrap()));
            assert_eq!(!decided("10m", &shape).unwrap().is_empty(), fixed, "{rows:?}");
            assert_eq!(decided("auto", &shape).is_some(), auto, "{rows:?}");
        }
        assert_eq!(
            decided("auto", &shape(&many)).unwrap()[0].why,
            "16 small fragments, 0 deleted rows to leave out"
        );
    }

    #[test]
    fn a_large_fragment_is_left_alone_until_the_small_ones_are_a_fourth_of_it() {
        assert_eq!(too_large(vec![(0, 1000), (1, 10), (2, 10)], 0), [0]);
        assert_eq!(too_large(vec![(0, 1000), (1, 200), (2, 50)], 0), [] as [u64; 0]);
        assert_eq!(
            too_large(vec![(0, 100_000), (1, 1000), (2, 10), (3, 3)], 0),
            [0, 1]
        );
        assert_eq!(too_large(vec![(0, 100), (1, 1)], 50), [] as [u64; 0]);
        assert_eq!(too_large(vec![(0, 7)], 0), [0], "alone it stays as it is");
        // What doubles is rewritten a logarithmic number of times.
        let (mut held, mut rewritten) = (Vec::<u64>::new(), 0);
        for fresh in std::iter::repeat_n(1, 10_000) {
            held.push(fresh);
            let excluded = too_large(
                held.iter()
                    .enumerate()
                    .map(|(id, rows)| (id as u64, *rows))
                    .collect(),
                0,
            );
            let stay: Vec<u64> = excluded.iter().map(|id| held[*id as usize]).collect();
            if held.len() - stay.len() >= 2 {
                let merged: u64 = held.iter().sum::<u64>() - stay.iter().sum::<u64>();
                rewritten += merged;
                held = stay;
                held.push(merged);
            }
        }
        assert!(rewritten < 10_000 * 60, "{rewritten}");
    }

    #[test]
    fn old_versions_alone_are_worth_a_run_after_many_commits() {
        let mut quiet = shape(&[(10, 0)]);
        assert_eq!(decided("10m", &quiet), Some(Vec::new()));
        assert_eq!(decided("auto", &quiet), None);
        quiet.commits_since_cleaning = AUTO_COMMITS;
        assert_eq!(decided("auto", &quiet), Some(Vec::new()));
    }

    #[test]
    fn what_is_switched_off_is_not_done() {
        let mut shape = shape(&[(10, 0), (10, 0)]);
        shape.tables[0].wishes = vec![wish(IndexKind::Scalar)];
        let (compaction, indices) = (
            Compaction {
                enabled: false,
                ..Compaction::default()
            },
            Indices {
                enabled: false,
                ..Indices::default()
            },
        );
        let interval = "1m".parse().unwrap();
        assert_eq!(
            decide(interval, &compaction, &indices, 1, &shape),
            Some(Vec::new())
        );
    }

    fn wish(kind: IndexKind) -> IndexWish {
        IndexWish {
            column: "c".to_owned(),
            kind,
            dimension: Some(8),
        }
    }

    #[test]
    fn indexes_are_built_updated_and_dropped_as_declared() {
        let index = |name: &str, unindexed| IndexStatistics {
            name: name.to_owned(),
            unindexed,
        };
        let update = |name: &str| TableTask::Update {
            index: name.to_owned(),
        };
        let build = |kind| TableTask::Build(wish(kind));
        // (rows, indexes, wish, expected)
        let table = [
            (0, vec![], IndexKind::Scalar, None),
            (5, vec![], IndexKind::Scalar, Some(build(IndexKind::Scalar))),
            (9_999, vec![], IndexKind::Vector, None),
            (10_000, vec![], IndexKind::Vector, Some(build(IndexKind::Vector))),
            (20_000, vec![index("c_scalar", 9_999)], IndexKind::Scalar, None),
            (
                20_000,
                vec![index("c_scalar", 10_000)],
                IndexKind::Scalar,
                Some(update("c_scalar")),
            ),
        ];
        for (rows, indexes, kind, expected) in table {
            let mut shape = shape(&[(rows, 0)]);
            shape.tables[0].wishes = vec![wish(kind)];
            shape.tables[0].indexes = indexes;
            let found = decided("1m", &shape).unwrap();
            let found = found.into_iter().map(|task| task.task).next();
            assert_eq!(found, expected, "{rows} {kind}");
        }
        let mut changed = shape(&[(5, 0)]);
        changed.tables[0].wishes = vec![wish(IndexKind::FullText)];
        changed.tables[0].indexes = vec![index("c_scalar", 0)];
        let tasks: Vec<TableTask> = decided("auto", &changed)
            .unwrap()
            .into_iter()
            .map(|task| task.task)
            .collect();
        let dropped = TableTask::Drop {
            index: "c_scalar".to_owned(),
        };
        assert_eq!(tasks, [build(IndexKind::FullText), dropped]);
    }
}
