//! Trees to a data frame.

use polars::prelude::*;

use super::parquet::list_column;
use super::schema::IMAGINED;
use super::{NodeRecord, SCHEMA_VERSION, TreeRecord};

/// Every node with its tree and its index.
type Row<'a> = (&'a TreeRecord, usize, &'a NodeRecord);

/// One row a node, with the columns that the module's page lists.
pub(super) fn frame(trees: &[TreeRecord]) -> PolarsResult<DataFrame> {
    let rows: Vec<Row<'_>> = trees
        .iter()
        .flat_map(|tree| {
            let nodes = tree.nodes.iter().enumerate();
            nodes.map(move |(index, node)| (tree, index, node))
        })
        .collect();
    let columns = vec![
        column(&rows, "schema_version", |_| SCHEMA_VERSION),
        column(&rows, "iteration", |row| row.0.iteration),
        column(&rows, "problem", |row| row.0.problem),
        column(&rows, "tree", |row| row.0.tree),
        column(&rows, "node", |row| row.1 as u32),
        column(&rows, "parent", |row| row.2.parent),
        column(&rows, "token", |row| row.2.parent.map(|_| row.2.token)),
        column(&rows, "root_depth", |row| row.0.root_depth),
        column(&rows, "visits", |row| row.2.visits),
        column(&rows, "return_sum", |row| row.2.return_sum),
        column(&rows, "value", |row| row.2.value),
        column(&rows, "outcome", |row| row.2.outcome),
        column(&rows, "terminal", |row| row.2.terminal),
        column(&rows, "given", |row| row.2.given),
        column(&rows, "agreement", |row| row.2.agreement),
        column(&rows, "log_sum_exp", |row| row.2.log_sum_exp),
        lists::<UInt32Type>(&rows, "child_tokens", |row| Some(&row.2.child_tokens)),
        lists::<Float32Type>(&rows, "child_log_probs", |row| Some(&row.2.child_log_probs)),
        lists::<Float32Type>(&rows, "child_priors", |row| Some(&row.2.child_priors)),
        lists::<UInt32Type>(&rows, "prompt_tokens", |row| root(row).map(|t| &*t.prompt)),
        column(&rows, "forward_tokens", |row| {
            root(row).map(|t| t.forward_tokens)
        }),
        column(&rows, "simulations", |row| root(row).map(|t| t.simulations)),
        column(&rows, "memo_hits", |row| root(row).map(|t| t.memo_hits)),
        column(&rows, "solved_greedily", |row| {
            root(row).and_then(|t| t.solved_greedily)
        }),
        column(&rows, "source", |row| root(row).map(source)),
        column(&rows, "failure", |row| {
            root(row).and_then(|t| t.failure.as_deref())
        }),
    ];
    DataFrame::new(rows.len(), columns)
}

/// Where the question of a tree is from.
fn source(tree: &TreeRecord) -> &'static str {
    if tree.imagined { IMAGINED } else { "train" }
}

/// The tree, on the row of its root.
fn root<'a>(row: &Row<'a>) -> Option<&'a TreeRecord> {
    (row.1 == 0).then_some(row.0)
}

fn column<'a, T>(rows: &[Row<'a>], name: &str, of: impl Fn(&Row<'a>) -> T) -> Column
where
    Series: NamedFrom<Vec<T>, [T]>,
{
    let values: Vec<T> = rows.iter().map(of).collect();
    Series::new(name.into(), values).into_column()
}

fn lists<'a, T: PolarsNumericType>(
    rows: &[Row<'a>],
    name: &str,
    of: impl Fn(&Row<'a>) -> Option<&'a [T::Native]> + Clone,
) -> Column {
    list_column::<T>(name, rows.iter().map(of))
}
