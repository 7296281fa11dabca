//! The recorded trees of a run, read shard by shard.

use super::sample::{Limit, Outcome, Sample};
use super::{Error, Params, Reliability, reliability};
use crate::iterate::iteration_dir;
use crate::trace::{Manifest, TreeRecord, read_checked};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What an iteration has recorded, and how much of it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Recorded {
    pub iteration: u32,
    /// Trees by outcome.
    pub trees: Vec<(Outcome, u64)>,
    pub shown: usize,
}

impl Recorded {
    pub fn total(&self) -> u64 {
        self.trees.iter().map(|(_, count)| count).sum()
    }
}

/// What [`read`] finds.
pub(super) struct Found {
    pub iterations: Vec<Recorded>,
    pub trees: Vec<TreeRecord>,
    /// Of the values at the nodes of all trees, by iteration; nothing where no head was asked.
    pub reliability: Vec<Reliability>,
}

/// The trees that `params` asks for, of as many of every iteration and outcome as there are.
pub(super) fn read(run: &Path, params: &Params) -> Result<Found, Error> {
    let mut manifests = Vec::new();
    for iteration in 1.. {
        let dir = iteration_dir(run, iteration);
        if !dir.is_dir() {
            break;
        }
        let dir = dir.join("traces");
        let listed = Manifest::find(&dir)?.filter(|manifest| manifest.trees() > 0);
        manifests.extend(listed.map(|manifest| (iteration, dir, manifest)));
    }
    // Small ones first: what they leave over goes to the others.
    manifests.sort_by_key(|(iteration, _, manifest)| (manifest.trees(), *iteration));
    let mut found = Found {
        iterations: Vec::new(),
        trees: Vec::new(),
        reliability: Vec::new(),
    };
    let mut left = params.limit();
    let mut ids: BTreeMap<u64, u64> = BTreeMap::new();
    for (at, (iteration, dir, manifest)) in manifests.iter().enumerate() {
        let more = manifests.len() - at;
        let mut sample = Sample::new(Limit {
            trees: left.trees.div_ceil(more),
            nodes: left.nodes.div_ceil(more),
        });
        let mut seen = BTreeMap::new();
        let mut predictions = Vec::new();
        for entry in &manifest.shards {
            let mut trees = read_checked(dir, entry)?;
            trees.retain(|tree| !tree.is_samples());
            for tree in &trees {
                *seen.entry(Outcome::of(tree)).or_insert(0u64) += 1;
                *ids.entry(tree.problem).or_insert(0u64) += 1;
                predictions.extend(judged(tree));
            }
            if !params.questions.is_empty() {
                trees.retain(|tree| params.questions.contains(&tree.problem));
            }
            sample.offer(trees);
        }
        let trees = sample.take();
        left.trees = left.trees.saturating_sub(trees.len());
        let nodes: usize = trees.iter().map(|tree| tree.nodes.len()).sum();
        left.nodes = left.nodes.saturating_sub(nodes);
        found.iterations.push(Recorded {
            iteration: *iteration,
            trees: seen.into_iter().collect(),
            shown: trees.len(),
        });
        found.trees.extend(trees);
        let reliability = Reliability::of(*iteration, None, &predictions);
        found.reliability.extend(reliability);
    }
    found.iterations.sort_by_key(|recorded| recorded.iteration);
    found.trees.sort_by_key(|tree| tree.iteration);
    found.reliability.sort_by_key(|of| of.iteration);
    let missing = params.questions.iter().find(|id| !ids.contains_key(id));
    match missing {
        None => Ok(found),
        Some(&question) => Err(Error::NoQuestion {
            run: run.to_owned(),
            question,
            recorded: match (ids.keys().next(), ids.keys().next_back()) {
                (Some(first), Some(last)) => format!(
                    "{} questions were recorded, with ids from {first} to {last}",
                    ids.len()
                ),
                _ => "let its first collection write some trees, or leave out --question".into(),
            },
        }),
    }
}

/// Values of nodes whose outcome is known; none where the head was not asked, so that all are 0. A
/// finished text's value is that of its last state and would count twice.
fn judged(tree: &TreeRecord) -> impl Iterator<Item = (f64, bool)> {
    let asked = tree.nodes.iter().any(|node| node.value != 0.0);
    let open = tree
        .nodes
        .iter()
        .filter(move |node| asked && !node.terminal);
    open.filter_map(|node| {
        let outcome = node.outcome?;
        Some((reliability::probability(node.value.into())?, outcome > 0.0))
    })
}
