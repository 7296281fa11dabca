//! A data frame to trees.

use std::path::Path;

use polars::prelude::*;

use super::schema::{Column, IMAGINED, OLDEST, VERSION_COLUMN, columns};
use super::{Error, NodeRecord, SCHEMA_VERSION, TreeRecord, parquet};

/// The trees of a shard's bytes; `path` is for messages.
pub(super) fn trees(path: &Path, bytes: &[u8]) -> Result<Vec<TreeRecord>, Error> {
    let frame = checked_frame(path, bytes)?;
    let rows = Rows::of(&frame).map_err(|source| Error::Parquet {
        path: path.to_owned(),
        source,
    })?;
    let mut trees: Vec<TreeRecord> = Vec::new();
    for row in 0..frame.height() {
        let node = rows.node[row] as usize;
        if node == 0 {
            trees.push(rows.tree(row));
        }
        let belongs = trees.last_mut().filter(|tree| {
            node == tree.nodes.len()
                && rows.problem[row] == tree.problem
                && rows.iteration[row] == tree.iteration
                && rows.tree[row] == tree.tree
        });
        match belongs {
            Some(tree) => tree.nodes.push(rows.node(row)),
            None => {
                return Err(Error::Tree {
                    path: path.to_owned(),
                    problem: rows.problem[row],
                    tree: rows.tree[row],
                    node,
                    what: "its row does not follow that of the node before it",
                });
            }
        }
    }
    for tree in &trees {
        check(path, tree)?;
    }
    Ok(trees)
}

/// [`TreeRecord::check`] with the place.
pub(super) fn check(path: &Path, tree: &TreeRecord) -> Result<(), Error> {
    tree.check().map_err(|(node, what)| Error::Tree {
        path: path.to_owned(),
        problem: tree.problem,
        tree: tree.tree,
        node,
        what,
    })
}

/// The frame, once its version, columns, types and nulls are as they should be.
fn checked_frame(path: &Path, bytes: &[u8]) -> Result<DataFrame, Error> {
    let parquet = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let present = parquet::schema(bytes).map_err(parquet)?;
    // The version comes first: another version has other columns.
    let version = columns()
        .into_iter()
        .filter(|column| column.name == VERSION_COLUMN);
    let mut found = SCHEMA_VERSION;
    for column in version.chain(columns()) {
        if column.since <= found && !present.contains(column.name) {
            return Err(Error::NoColumn {
                path: path.to_owned(),
                column: column.name.to_owned(),
                present: parquet::column_names(&present),
            });
        }
        if column.name == VERSION_COLUMN {
            let read = parquet::decode(bytes, Some(vec![VERSION_COLUMN.to_owned()]));
            found = check_version(path, &read.map_err(parquet)?)?;
        }
    }
    let frame = parquet::decode(bytes, None).map_err(parquet)?;
    let of_version = |column: &Column| column.since <= found;
    for column in columns().into_iter().filter(of_version) {
        let found = frame.column(column.name).map_err(parquet)?;
        if *found.dtype() != column.dtype {
            return Err(Error::ColumnType {
                path: path.to_owned(),
                column: column.name.to_owned(),
                expected: column.dtype.to_string(),
                found: found.dtype().to_string(),
            });
        }
        if !column.nullable && found.null_count() > 0 {
            return Err(Error::Null {
                path: path.to_owned(),
                column: column.name.to_owned(),
                row: found.is_null().first_true_idx().unwrap_or(0),
            });
        }
    }
    Ok(frame)
}

/// The version of all rows.
fn check_version(path: &Path, frame: &DataFrame) -> Result<u32, Error> {
    let parquet = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let versions = frame.column(VERSION_COLUMN).map_err(parquet)?;
    let versions = versions.cast(&DataType::UInt64).map_err(parquet)?;
    let mut all = versions
        .u64()
        .map_err(parquet)?
        .iter()
        .map(Option::unwrap_or_default);
    let first = all.next().unwrap_or(u64::from(SCHEMA_VERSION));
    let known = u64::from(OLDEST)..=u64::from(SCHEMA_VERSION);
    let wrong = std::iter::once(first)
        .chain(all)
        .find(|version| *version != first || !known.contains(version));
    match wrong {
        Some(found) => Err(Error::SchemaVersion {
            path: path.to_owned(),
            found,
        }),
        None => Ok(first as u32),
    }
}

/// The columns of a checked frame, for access by row.
struct Rows {
    iteration: Vec<u32>,
    problem: Vec<u64>,
    tree: Vec<u32>,
    node: Vec<u32>,
    parent: Vec<Option<u32>>,
    token: Vec<Option<u32>>,
    root_depth: Vec<u32>,
    visits: Vec<u32>,
    return_sum: Vec<f64>,
    value: Vec<f32>,
    outcome: Vec<Option<f32>>,
    terminal: Vec<bool>,
    given: Option<Vec<bool>>,
    agreement: Option<Vec<Option<f32>>>,
    log_sum_exp: Vec<f32>,
    child_tokens: Lists<u32>,
    child_log_probs: Lists<f32>,
    child_priors: Lists<f32>,
    prompt_tokens: Lists<u32>,
    forward_tokens: Vec<Option<u64>>,
    simulations: Vec<Option<u32>>,
    memo_hits: Vec<Option<u32>>,
    solved_greedily: Vec<Option<bool>>,
    source: Option<Vec<Option<String>>>,
    failure: Vec<Option<String>>,
}

impl Rows {
    fn of(frame: &DataFrame) -> PolarsResult<Self> {
        let has = |name: &str| frame.column(name).is_ok();
        let u32s = |name| PolarsResult::Ok(frame.column(name)?.u32()?.iter().collect::<Vec<_>>());
        let u64s = |name| PolarsResult::Ok(frame.column(name)?.u64()?.iter().collect::<Vec<_>>());
        let f32s = |name| PolarsResult::Ok(frame.column(name)?.f32()?.iter().collect::<Vec<_>>());
        let f64s = |name| PolarsResult::Ok(frame.column(name)?.f64()?.iter().collect::<Vec<_>>());
        let bools = |name| PolarsResult::Ok(frame.column(name)?.bool()?.iter().collect::<Vec<_>>());
        let strings = |name| {
            let values = frame.column(name)?.str()?.iter();
            PolarsResult::Ok(values.map(|v| v.map(str::to_owned)).collect::<Vec<_>>())
        };
        Ok(Self {
            iteration: present(u32s("iteration")?),
            problem: present(u64s("problem")?),
            tree: present(u32s("tree")?),
            node: present(u32s("node")?),
            parent: u32s("parent")?,
            token: u32s("token")?,
            root_depth: present(u32s("root_depth")?),
            visits: present(u32s("visits")?),
            return_sum: present(f64s("return_sum")?),
            value: present(f32s("value")?),
            outcome: f32s("outcome")?,
            terminal: present(bools("terminal")?),
            given: has("given")
                .then(|| bools("given"))
                .transpose()?
                .map(present),
            agreement: has("agreement").then(|| f32s("agreement")).transpose()?,
            log_sum_exp: present(f32s("log_sum_exp")?),
            child_tokens: Lists::u32s(frame, "child_tokens")?,
            child_log_probs: Lists::f32s(frame, "child_log_probs")?,
            child_priors: Lists::f32s(frame, "child_priors")?,
            prompt_tokens: Lists::u32s(frame, "prompt_tokens")?,
            forward_tokens: u64s("forward_tokens")?,
            simulations: u32s("simulations")?,
            memo_hits: u32s("memo_hits")?,
            solved_greedily: bools("solved_greedily")?,
            source: has("source").then(|| strings("source")).transpose()?,
            failure: strings("failure")?,
        })
    }

    /// The tree whose root is in `row`, without nodes.
    fn tree(&self, row: usize) -> TreeRecord {
        TreeRecord {
            problem: self.problem[row],
            iteration: self.iteration[row],
            tree: self.tree[row],
            root_depth: self.root_depth[row],
            prompt: self.prompt_tokens.get(row),
            forward_tokens: self.forward_tokens[row].unwrap_or_default(),
            simulations: self.simulations[row].unwrap_or_default(),
            memo_hits: self.memo_hits[row].unwrap_or_default(),
            solved_greedily: self.solved_greedily[row],
            imagined: self
                .source
                .as_ref()
                .is_some_and(|of| of[row].as_deref() == Some(IMAGINED)),
            failure: self.failure[row].clone(),
            nodes: Vec::new(),
        }
    }

    fn node(&self, row: usize) -> NodeRecord {
        NodeRecord {
            parent: self.parent[row],
            token: self.token[row].unwrap_or_default(),
            visits: self.visits[row],
            return_sum: self.return_sum[row],
            value: self.value[row],
            outcome: self.outcome[row],
            terminal: self.terminal[row],
            given: self.given.as_ref().is_some_and(|of| of[row]),
            agreement: self.agreement.as_ref().and_then(|of| of[row]),
            log_sum_exp: self.log_sum_exp[row],
            child_tokens: self.child_tokens.get(row),
            child_log_probs: self.child_log_probs.get(row),
            child_priors: self.child_priors.get(row),
        }
    }
}

/// The values of a column that [`checked_frame`] found to have no null.
fn present<T>(values: Vec<Option<T>>) -> Vec<T> {
    values.into_iter().flatten().collect()
}

/// A column of lists: those of row `i` are `values[offsets[i]..offsets[i + 1]]`; a
/// null is an empty list.
struct Lists<T> {
    offsets: Vec<usize>,
    values: Vec<T>,
}

impl<T: Copy> Lists<T> {
    fn get(&self, row: usize) -> Vec<T> {
        self.values[self.offsets[row]..self.offsets[row + 1]].to_vec()
    }
}

impl Lists<u32> {
    fn u32s(frame: &DataFrame, name: &str) -> PolarsResult<Self> {
        let (offsets, inner) = flattened(frame, name)?;
        let values = inner.u32()?.cont_slice()?.to_vec();
        Ok(Self { offsets, values })
    }
}

impl Lists<f32> {
    fn f32s(frame: &DataFrame, name: &str) -> PolarsResult<Self> {
        let (offsets, inner) = flattened(frame, name)?;
        let values = inner.f32()?.cont_slice()?.to_vec();
        Ok(Self { offsets, values })
    }
}

/// The offsets and the values of a column of lists.
fn flattened(frame: &DataFrame, name: &str) -> PolarsResult<(Vec<usize>, Series)> {
    let column = frame.column(name)?.list()?.rechunk().into_owned();
    let mut offsets = vec![0];
    for array in column.downcast_iter() {
        offsets = array
            .offsets()
            .as_slice()
            .iter()
            .map(|&o| o as usize)
            .collect();
    }
    Ok((offsets, column.get_inner().rechunk()))
}

#[cfg(test)]
mod tests {
    use super::super::encode::frame;
    use super::*;

    #[test]
    fn a_shard_of_the_version_before_is_read() {
        let mut tree = TreeRecord::failed(4, 2, "too long".into());
        tree.nodes[0].agreement = Some(0.5);
        tree.imagined = true;
        let now = frame(std::slice::from_ref(&tree)).unwrap();
        let bytes = |mut frame: DataFrame| parquet::encode(&mut frame).unwrap();
        let path = Path::new("shard");
        assert_eq!(trees(path, &bytes(now.clone())).unwrap(), [tree.clone()]);

        let added = ["agreement", "source", "given"];
        let mut before = now.drop_many(added);
        let version = Series::new(VERSION_COLUMN.into(), [OLDEST]);
        before.with_column(version.into_column()).unwrap();
        tree.nodes[0].agreement = None;
        tree.imagined = false;
        assert_eq!(trees(path, &bytes(before)).unwrap(), [tree]);

        let lacking = now.drop("source").unwrap();
        let error = trees(path, &bytes(lacking)).unwrap_err().to_string();
        assert!(error.contains("no column `source`"), "{error}");
    }
}
