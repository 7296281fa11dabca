//! Traces from disk: round trips, damage, and the same columns read by Python's polars.

mod python;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenzero::trace::{
    Manifest, NodeRecord, TreeRecord, read_dir, read_shard, write_shard, written_shards,
};

/// Anything that search could leave, and floats that it should not.
fn node(index: usize) -> impl Strategy<Value = NodeRecord> {
    let parent = if index == 0 {
        Just(None).boxed()
    } else {
        (0..index as u32).prop_map(Some).boxed()
    };
    (
        (parent, any::<u32>(), any::<u32>(), any::<f64>()),
        (
            any::<f32>(),
            any::<Option<f32>>(),
            any::<(bool, bool)>(),
            any::<Option<f32>>(),
        ),
        any::<f32>(),
        prop::collection::vec((any::<u32>(), any::<f32>(), any::<f32>()), 0..4),
    )
        .prop_map(
            |(
                (parent, token, visits, return_sum),
                (value, outcome, (terminal, given), agreement),
                log_sum_exp,
                children,
            )| {
                NodeRecord {
                    parent,
                    token: parent.map_or(0, |_| token),
                    visits,
                    return_sum,
                    value,
                    outcome,
                    terminal,
                    given,
                    agreement,
                    log_sum_exp,
                    child_tokens: children.iter().map(|c| c.0).collect(),
                    child_log_probs: children.iter().map(|c| c.1).collect(),
                    child_priors: children.iter().map(|c| c.2).collect(),
                }
            },
        )
}

fn tree() -> impl Strategy<Value = TreeRecord> {
    let nodes = (1..8usize).prop_flat_map(|n| (0..n).map(node).collect::<Vec<_>>());
    (
        (any::<u64>(), any::<u32>(), any::<u32>()),
        prop::collection::vec(any::<u32>(), 3..9),
        (0..3u32, any::<u64>(), any::<u32>(), any::<Option<bool>>()),
        nodes,
    )
        .prop_map(|((problem, iteration, tree), prompt, costs, nodes)| {
            let (root_depth, forward_tokens, simulations, solved_greedily) = costs;
            TreeRecord {
                problem,
                iteration,
                tree,
                root_depth,
                prompt,
                forward_tokens,
                simulations,
                memo_hits: simulations / 2,
                solved_greedily,
                imagined: simulations % 2 == 0,
                failure: solved_greedily.map(|solved| format!("reason {solved}")),
                nodes,
            }
        })
}

/// A small tree whose numbers depend on `seed`.
fn sample(seed: u32) -> TreeRecord {
    let node = |index: u32| NodeRecord {
        parent: index.checked_sub(1).map(|i| i / 2),
        token: if index == 0 { 0 } else { seed % 500 + index },
        visits: 40 >> index,
        return_sum: f64::from(seed) / 3.0 - f64::from(index),
        value: (seed as f32).sin(),
        outcome: index.is_multiple_of(2).then_some(-1.0),
        terminal: index == 4,
        given: index == 3,
        agreement: (index == 4).then_some(0.75),
        log_sum_exp: 12.3 + index as f32,
        child_tokens: (0..5 * u32::from(index < 2)).map(|k| seed + k).collect(),
        child_log_probs: (0..5 * u32::from(index < 2))
            .map(|k| -(k as f32) / 7.0)
            .collect(),
        child_priors: (0..5 * u32::from(index < 2))
            .map(|k| 0.5 / (k + 1) as f32)
            .collect(),
    };
    TreeRecord {
        problem: u64::from(seed) << 33,
        iteration: 1,
        tree: seed % 2,
        root_depth: seed % 3,
        prompt: (0..8).map(|i| i * seed).collect(),
        forward_tokens: 100 + u64::from(seed),
        simulations: 40,
        memo_hits: seed,
        solved_greedily: [None, Some(true), Some(false)][seed as usize % 3],
        imagined: seed % 5 == 1,
        failure: seed.is_multiple_of(4).then(|| "0.5".to_owned()),
        nodes: (0..5).map(node).collect(),
    }
}

fn samples(seeds: std::ops::Range<u32>) -> Vec<TreeRecord> {
    seeds.map(sample).collect()
}

/// Two shards and their manifest.
fn collect(dir: &Path) -> Manifest {
    let shards = vec![
        write_shard(dir, 0, &samples(0..7)).unwrap(),
        write_shard(dir, 1, &samples(7..12)).unwrap(),
    ];
    let manifest = Manifest::new(shards);
    manifest.write(dir).unwrap();
    manifest
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn trees_come_back_as_they_were(trees in prop::collection::vec(tree(), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let entry = write_shard(dir.path(), 3, &trees).unwrap();
        prop_assert_eq!(entry.trees as usize, trees.len());
        let rows: usize = trees.iter().map(|tree| tree.nodes.len()).sum();
        prop_assert_eq!(entry.rows as usize, rows);
        let read = read_shard(&dir.path().join("shard-00003.parquet")).unwrap();
        prop_assert_eq!(read, trees);
    }
}

#[test]
fn a_folder_reads_in_order_and_holds_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = collect(dir.path());
    assert_eq!((manifest.rows(), manifest.trees()), (60, 12));
    assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
    assert_eq!(read_dir(dir.path()).unwrap(), samples(0..12));
    let expected = [
        "manifest.json",
        "shard-00000.parquet",
        "shard-00001.parquet",
    ];
    assert_eq!(names(dir.path()), expected.map(String::from).into());
}

#[test]
fn equal_trees_give_equal_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // More rows than a row group, so that polars has something to do in parallel.
    let trees = samples(0..30_000);
    let first = write_shard(one.path(), 0, &trees).unwrap();
    let second = write_shard(two.path(), 0, &trees).unwrap();
    assert_eq!(first, second);
    let bytes = |dir: &Path| fs::read(dir.join(&first.name)).unwrap();
    assert!(bytes(one.path()) == bytes(two.path()));
    assert_eq!(read_shard(&one.path().join(&first.name)).unwrap(), trees);
}

#[test]
fn an_unfinished_folder_shows_its_shards_to_its_collection_only() {
    let dir = tempfile::tempdir().unwrap();
    assert!(written_shards(dir.path()).unwrap().is_empty());
    let entry = write_shard(dir.path(), 0, &samples(0..3)).unwrap();
    assert!(
        written_shards(dir.path()).unwrap().is_empty(),
        "a shard is there once the manifest lists it"
    );
    Manifest::unfinished(vec![entry.clone()])
        .write(dir.path())
        .unwrap();
    assert_eq!(
        written_shards(dir.path()).unwrap(),
        [(entry, Some(samples(0..3)))]
    );
    let unfinished = read_dir(dir.path()).unwrap_err().to_string();
    let explains = unfinished.contains("no complete manifest.json")
        && unfinished.contains("run its command again");
    assert!(explains, "{unfinished}");
}

#[test]
fn a_damaged_shard_is_named_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = collect(dir.path());
    let path = dir.path().join("shard-00001.parquet");
    let whole = fs::read(&path).unwrap();

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped, &whole[..whole.len() - 9], &[]] {
        fs::write(&path, damaged).unwrap();
        let error = read_dir(dir.path()).unwrap_err().to_string();
        let explains = error.contains("shard-00001.parquet is torn or was changed");
        assert!(explains, "{error}");
        let found = written_shards(dir.path()).unwrap();
        assert_eq!(found[0].1, Some(samples(0..7)));
        assert_eq!(found[1], (manifest.shards[1].clone(), None));
        assert!(!path.exists());
    }
    assert!(dir.path().join("shard-00001.parquet.damaged-3").exists());
    let error = read_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("shard-00001.parquet is missing"), "{error}");
    assert_eq!(written_shards(dir.path()).unwrap()[1].1, None);

    fs::write(dir.path().join("manifest.json"), "{").unwrap();
    assert!(written_shards(dir.path()).unwrap().is_empty());
    assert!(dir.path().join("manifest.json.damaged").exists());
}

#[test]
fn another_schema_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    collect(dir.path());
    let path = dir.path().join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["schema_version"] = json!(7);
    manifest["news"] = json!("unknown to this version");
    fs::write(&path, manifest.to_string()).unwrap();
    let error = read_dir(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("manifest.json has traces of schema version 7"),
        "{error}"
    );

    fs::write(&path, "{").unwrap();
    let error = read_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is not a manifest of traces"), "{error}");

    let shard = dir.path().join("other.parquet");
    tokenzero::trace::table::Table::new()
        .column_u64("schema_version", vec![5, 9])
        .write(&shard)
        .unwrap();
    let error = read_shard(&shard).unwrap_err().to_string();
    assert!(error.contains("schema version 9"), "{error}");
    tokenzero::trace::table::Table::new()
        .column_u64("schema_version", vec![5])
        .write(&shard)
        .unwrap();
    let error = read_shard(&shard).unwrap_err().to_string();
    assert!(error.contains("no column `iteration`"), "{error}");
}

#[test]
fn a_tree_that_could_not_be_rebuilt_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut trees = samples(0..2);
    trees[1].nodes[3].parent = Some(3);
    let error = write_shard(dir.path(), 0, &trees).unwrap_err().to_string();
    assert!(
        error.contains("tree 1 of problem 8589934592, node 3"),
        "{error}"
    );
    assert!(names(dir.path()).is_empty());
}

/// A row as Python's polars should see it; floats as text, null off the root row.
fn expected_row(tree: &TreeRecord, index: usize) -> Value {
    let node = &tree.nodes[index];
    let root = |value: Value| if index == 0 { value } else { Value::Null };
    json!({
        "schema_version": 5,
        "iteration": tree.iteration,
        "problem": tree.problem,
        "tree": tree.tree,
        "node": index,
        "parent": node.parent,
        "token": node.parent.map(|_| node.token),
        "root_depth": tree.root_depth,
        "visits": node.visits,
        "return_sum": node.return_sum,
        "value": f64::from(node.value),
        "outcome": node.outcome.map(f64::from),
        "terminal": node.terminal,
        "given": node.given,
        "agreement": node.agreement.map(f64::from),
        "log_sum_exp": f64::from(node.log_sum_exp),
        "child_tokens": node.child_tokens,
        "child_log_probs": doubles(&node.child_log_probs),
        "child_priors": doubles(&node.child_priors),
        "prompt_tokens": root(json!(tree.prompt)),
        "forward_tokens": root(json!(tree.forward_tokens)),
        "simulations": root(json!(tree.simulations)),
        "memo_hits": root(json!(tree.memo_hits)),
        "solved_greedily": root(json!(tree.solved_greedily)),
        "source": root(json!(if tree.imagined { "imagined" } else { "train" })),
        // The script's text, like any other, comes back as the number that it spells.
        "failure": root(json!(tree.failure.as_ref().map(|f| f.parse::<f64>().unwrap()))),
    })
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Text to the float that it spells, where it spells one, in place.
fn parse_floats(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Ok(number) = text.parse::<f64>() {
                *value = json!(number);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(parse_floats),
        Value::Object(fields) => fields.values_mut().for_each(parse_floats),
        _ => {}
    }
}

#[test]
fn python_polars_reads_every_column() {
    let Some(python) = python::with("polars") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    collect(dir.path());
    let mut found = python::json(&python, "read_traces.py", &[dir.path().as_os_str()]);

    let types = [
        ("schema_version", "UInt32"),
        ("iteration", "UInt32"),
        ("problem", "UInt64"),
        ("tree", "UInt32"),
        ("node", "UInt32"),
        ("parent", "UInt32"),
        ("token", "UInt32"),
        ("root_depth", "UInt32"),
        ("visits", "UInt32"),
        ("return_sum", "Float64"),
        ("value", "Float32"),
        ("outcome", "Float32"),
        ("terminal", "Boolean"),
        ("given", "Boolean"),
        ("agreement", "Float32"),
        ("log_sum_exp", "Float32"),
        ("child_tokens", "List(UInt32)"),
        ("child_log_probs", "List(Float32)"),
        ("child_priors", "List(Float32)"),
        ("prompt_tokens", "List(UInt32)"),
        ("forward_tokens", "UInt64"),
        ("simulations", "UInt32"),
        ("memo_hits", "UInt32"),
        ("solved_greedily", "Boolean"),
        ("source", "String"),
        ("failure", "String"),
    ];
    assert_eq!(found["types"], json!(types));
    let trees = samples(0..12);
    let expected: Vec<Value> = trees
        .iter()
        .flat_map(|tree| (0..tree.nodes.len()).map(|index| expected_row(tree, index)))
        .collect();
    let rows = found["rows"].as_array_mut().unwrap();
    rows.iter_mut().for_each(parse_floats);
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
}
