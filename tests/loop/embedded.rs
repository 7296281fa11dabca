//! Options that are told apart by the mean of their hidden states.

use super::*;
use burn::tensor::{Int, Tensor, TensorData};
use tokenzero::model::Decoder;
use tokenzero::search::{Actions, Options};

fn pairs(max_cosine: f32) -> Actions {
    Actions::Span {
        tokens: 2,
        options: Options {
            count: 5,
            temperature: 1.5,
            max_cosine,
            ..Options::default()
        },
    }
}

/// Mean of the final hidden states of `option` after `text`, by a plain forward pass.
fn embedding(decoder: &Decoder, text: &[u32], option: &[u32]) -> Vec<f64> {
    let ids = [text, option].concat();
    let shape = [1, ids.len()];
    let ids: Vec<i32> = ids.into_iter().map(|t| t as i32).collect();
    let device = device::open("cpu").unwrap();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &device);
    let own = decoder.hidden(ids).narrow(1, text.len(), option.len());
    let mean: Vec<f32> = own.mean_dim(1).into_data().try_to_vec().unwrap();
    mean.into_iter().map(f64::from).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The options of node `n`: what has a prior of two tokens, or of the one that ends a text.
fn options(tree: &TreeRecord, n: usize) -> Vec<Vec<u32>> {
    let taken = |n: usize| {
        let node = &tree.nodes[n];
        let edges = node.child_tokens.iter().zip(&node.child_priors);
        edges.filter(|edge| *edge.1 > 0.0).map(|edge| *edge.0)
    };
    let mut found = Vec::new();
    for first in taken(n) {
        let below = |c: &trace::NodeRecord| c.parent == Some(n as u32) && c.token == first;
        match tree.nodes.iter().position(below) {
            Some(node) if first != 0 => found.extend(taken(node).map(|next| vec![first, next])),
            _ => found.push(vec![first]),
        }
    }
    found
}

/// Boundaries of a tree whose options were drawn, with the text before them.
fn opened(tree: &TreeRecord) -> Vec<(usize, Vec<u32>)> {
    let below = |n: usize| {
        let below = tree.nodes.iter().filter(|c| c.parent == Some(n as u32));
        below.map(|c| c.visits).sum::<u32>()
    };
    (0..tree.nodes.len())
        .filter(|&n| tree.path(n).len().is_multiple_of(2) && below(n) > 0)
        .map(|n| (n, [tree.prompt.as_slice(), &tree.path(n)].concat()))
        .collect()
}

#[test]
fn siblings_are_no_more_alike_than_a_search_allows() {
    let bench = Bench::new(true);
    let decoder = checkpoint(false).policy;
    let search = |max_cosine| {
        let mut how = params(8);
        how.questions = 4;
        how.search.simulations = 16;
        how.search.actions = pairs(max_cosine);
        trace::read_dir(bench.collect(&how).path()).unwrap()
    };
    let embedded = |tree: &TreeRecord, n: usize, text: &[u32]| -> Vec<(Vec<u32>, Vec<f64>)> {
        let all = options(tree, n).into_iter();
        all.map(|option| (option.clone(), embedding(&decoder, text, &option)))
            .collect()
    };
    let all = search(1.0);
    let mut cosines = Vec::new();
    for tree in &all {
        for (n, text) in opened(tree) {
            let options = embedded(tree, n, &text);
            for (i, a) in options.iter().enumerate() {
                cosines.extend(options[..i].iter().map(|b| cosine(&a.1, &b.1)));
            }
        }
    }
    cosines.sort_by(f64::total_cmp);
    let most = cosines[cosines.len() / 2];
    let apart = search(most as f32);
    let (mut left_out, mut seen) = (0, 0);
    for (tree, before) in apart.iter().zip(&all) {
        for (n, text) in opened(tree) {
            let kept = embedded(tree, n, &text);
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[..i] {
                    let cosine = cosine(&a.1, &b.1);
                    assert!(cosine < most + 1e-5, "{cosine}: {:?}, {:?}", a.0, b.0);
                    seen += 1;
                }
            }
            // Whatever else was drawn at the root is like something that was kept.
            for (option, own) in embedded(before, 0, &text).iter().filter(|_| n == 0) {
                if kept.iter().all(|(kept, _)| kept != option) {
                    let near = kept
                        .iter()
                        .any(|(_, other)| cosine(own, other) > most - 1e-5);
                    assert!(near, "{option:?} is like nothing");
                    left_out += 1;
                }
            }
        }
    }
    assert!(left_out > 0 && seen > 0, "{left_out}, {seen}");
}

#[test]
fn embeddings_are_charged_and_do_not_depend_on_workers_or_slots() {
    let bench = Bench::new(true);
    let mut many = params(32);
    many.questions = 12;
    many.search.actions = pairs(0.8);
    many.search.random_root.share = 0.5;
    many.search.leaves = 2;
    let one = collect::Params {
        workers: 1,
        ..many.clone()
    };
    let before = bench.policy().engine.load().tokens;
    let (a, b) = (bench.collect(&many), bench.collect(&one));
    let forwarded = bench.policy().engine.load().tokens - before;
    assert_eq!(files(a.path()), files(b.path()));
    let trees = trace::read_dir(a.path()).unwrap();
    let charged: u64 = trees.iter().map(|tree| tree.forward_tokens).sum();
    assert_eq!(2 * charged, forwarded);
    let mut spans = params(16);
    spans.questions = 12;
    spans.search.simulations = 40;
    spans.search.actions = pairs(0.8);
    // A solution, and 5 options of 2 tokens and one more each, the first of them forwarded again.
    same_under_pressure(&bench, &spans, 38 + 5 * 3 + 2);
}
