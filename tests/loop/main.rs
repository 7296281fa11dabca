//! Collection and the loop, on the bundled model.

mod actions;
mod answers;
mod blend;
mod embedded;
mod imagined;
mod judges;
mod pressure;
mod revise;
mod rewards;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use tokenzero::collect::imagine::Refusal;
use tokenzero::collect::{self, Setting};
use tokenzero::engine::{self, Engine};
use tokenzero::evaluate;
use tokenzero::model::{Checkpoint, HeadKind, Tokenizer, Value, ValueHead, device};
use tokenzero::monitor::Monitor;
use tokenzero::search::{GuidedForm, GuidedParams, Policy, Rollout};
use tokenzero::stop::Stop;
use tokenzero::task::reward::{self, Rewards};
use tokenzero::task::{self, Dev, Grade, Problem, Prompt, Task, Test, Train};
use tokenzero::trace::{self, TreeRecord};
use tokenzero::tree::Pick;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/countdown-tiny");

struct Bench {
    engine: Engine,
    tokenizer: Arc<Tokenizer>,
    task: Arc<dyn Task>,
}

/// The networks of a [`Bench`].
fn checkpoint(with_value: bool) -> Checkpoint {
    let device = device::open("cpu").unwrap();
    let mut checkpoint = Checkpoint::load(Path::new(TINY), &device).unwrap();
    checkpoint.value = with_value.then(|| {
        let hidden = checkpoint.config().hidden_size;
        let mut head = ValueHead::init(HeadKind::Mlp, hidden, 16, 4, &device);
        head.score = head.score.map(|t| t.ones_like());
        Value::Shared(head)
    });
    checkpoint
}

impl Bench {
    /// The bundled countdown model; with a value head whose opinions are arbitrary but not equal.
    fn new(with_value: bool) -> Bench {
        Self::with(with_value, engine::Params::default())
    }

    fn with(with_value: bool, params: engine::Params) -> Bench {
        let set = checkpoint(with_value);
        let engine = Engine::start(set.policy, set.value, params).unwrap();
        Bench {
            engine,
            tokenizer: Arc::new(set.tokenizer),
            task: task::open(&task::Params::default()).unwrap(),
        }
    }

    fn policy(&self) -> Policy {
        Policy::new(self.engine.handle(), &self.tokenizer)
    }

    fn collect(&self, params: &collect::Params) -> tempfile::TempDir {
        self.collect_for(params, Rewards::correctness(self.task.clone()))
    }

    fn collect_for(&self, params: &collect::Params, rewards: Rewards) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        self.collect_into(dir.path(), params, rewards);
        dir
    }

    fn collect_into(&self, dir: &Path, params: &collect::Params, rewards: Rewards) {
        let monitor = Monitor::silent();
        let setting = Setting {
            policy: &self.policy(),
            tokenizer: &self.tokenizer,
            task: &self.task,
            rewards: &Arc::new(rewards),
            monitor: &monitor,
            iteration: 1,
            seed: 11,
            stop: &Stop::default(),
        };
        let problems = self.task.train(0..params.questions).unwrap();
        collect::collect(&setting, &problems, params, dir).unwrap();
    }
}

fn params(workers: usize) -> collect::Params {
    let mut params = collect::Params {
        questions: 48,
        workers,
        shard: 20,
        ..Default::default()
    };
    params.search.max_new_tokens = 38;
    params.search.simulations = 24;
    params
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(e.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn texts_are_drawn_beside_trees_and_charged_and_the_trees_stay_as_they_are() {
    let bench = Bench::new(false);
    let mut how = params(16);
    how.search.random_root.share = 0.5;
    let plain = trace::read_dir(bench.collect(&how).path()).unwrap();
    how.samples = 6;
    let many = bench.collect(&how);
    how.workers = 1;
    let one = bench.collect(&how);
    assert_eq!(files(many.path()).len(), 4, "three shards and a manifest");
    assert_eq!(files(many.path()), files(one.path()));

    let all = trace::read_dir(many.path()).unwrap();
    let (samples, trees): (Vec<_>, Vec<_>) = all.iter().cloned().partition(TreeRecord::is_samples);
    assert_eq!(trees, plain);
    assert_eq!(samples.len(), trees.len());
    let mut apart = 0;
    for (tree, drawn) in trees.iter().zip(&samples) {
        assert_eq!(tree.problem, drawn.problem);
        assert_eq!(&tree.prompt[..tree.prompt_len()], drawn.prompt);
        assert_eq!((drawn.simulations, drawn.root_depth), (6, 0));
        let mut below = vec![(0, 0.0); drawn.nodes.len()];
        let mut tokens = drawn.prompt.len() - 1;
        for (index, node) in drawn.nodes.iter().enumerate().rev() {
            if let (true, Some(outcome)) = (node.terminal, node.outcome) {
                below[index] = (node.visits, f64::from(node.visits) * f64::from(outcome));
                tokens += node.visits as usize * drawn.path(index).len();
                apart += 1;
            }
            // Every draw goes on to an end, and counts once on its way.
            assert_eq!((node.visits, node.return_sum), below[index]);
            if let Some(parent) = node.parent.map(|parent| parent as usize) {
                below[parent].0 += node.visits;
                below[parent].1 += node.return_sum;
            }
        }
        assert_eq!(drawn.nodes[0].visits, 6);
        assert_eq!(drawn.forward_tokens, tokens as u64);
    }
    assert!(apart > 2 * samples.len(), "{apart} texts");

    // A process that ended between the two records of the second question.
    let torn = tempfile::tempdir().unwrap();
    let (mut journal, _) = trace::Journal::open(torn.path()).unwrap();
    for (place, record) in all.iter().enumerate().take(3) {
        journal.append(place, record).unwrap();
    }
    drop(journal);
    bench.collect_into(torn.path(), &how, Rewards::correctness(bench.task.clone()));
    assert_eq!(files(torn.path()), files(many.path()));
}

#[test]
fn traces_do_not_depend_on_the_number_of_workers() {
    // Every source of randomness is on: noise, random roots, and sampled rollouts in the second.
    let mut greedy = params(64);
    greedy.search.noise.fraction = 0.25;
    greedy.search.random_root.share = 0.6;
    let mut sampled = greedy.clone();
    sampled.search.rollout = Rollout::Sampled { temperature: 1.0 };
    for many in [greedy, sampled] {
        let one = collect::Params {
            workers: 1,
            ..many.clone()
        };
        let bench = Bench::new(false);
        let (a, b) = (bench.collect(&many), bench.collect(&one));
        let (a, b) = (files(a.path()), files(b.path()));
        assert_eq!(a.len(), 4, "three shards and a manifest");
        assert_eq!(a, b);
    }
}

/// What does not depend on how far rollouts grew the tree: visits and returns by token path.
fn visited(tree: &TreeRecord) -> Vec<(Vec<u32>, u32, f64)> {
    let mut all: Vec<_> = (0..tree.nodes.len())
        .filter(|&n| tree.nodes[n].visits > 0)
        .map(|n| (tree.path(n), tree.nodes[n].visits, tree.nodes[n].return_sum))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn memoised_and_unmemoised_collection_give_the_same_tree() {
    let bench = Bench::new(false);
    let with = params(64);
    let mut without = with.clone();
    without.search.memoise = false;
    let (with, without) = (bench.collect(&with), bench.collect(&without));
    let (with, without) = (
        trace::read_dir(with.path()).unwrap(),
        trace::read_dir(without.path()).unwrap(),
    );
    let mut tokens = (0, 0);
    for (a, b) in with.iter().zip(&without) {
        assert_eq!(visited(a), visited(b));
        assert_eq!(a.simulations, 24);
        tokens.0 += a.forward_tokens;
        tokens.1 += b.forward_tokens;
    }
    assert!(
        tokens.0 * 3 < tokens.1 * 2,
        "{} tokens with the memo, {} without",
        tokens.0,
        tokens.1
    );
}

#[test]
fn leaves_in_flight_are_all_accounted_for() {
    let bench = Bench::new(true);
    let mut several = params(8);
    several.search.leaves = 6;
    several.search.tree.lambda = 0.5;
    for tree in trace::read_dir(bench.collect(&several).path()).unwrap() {
        assert_eq!(tree.nodes[0].visits, 24);
        let below: u32 = tree
            .nodes
            .iter()
            .filter(|n| n.parent == Some(0))
            .map(|n| n.visits)
            .sum();
        assert_eq!(
            below + 1,
            24,
            "the root's own evaluation and its children's"
        );
    }
}

/// Slots of the fewest that a tree may have to more than it ever holds: the same traces, but for the
/// tokens that they cost.
fn same_under_pressure(bench: &Bench, free: &collect::Params, least: usize) {
    let collect = |slots: usize| {
        let mut params = free.clone();
        params.search.slots = slots;
        trace::read_dir(bench.collect(&params).path()).unwrap()
    };
    let plenty = collect(0);
    let tokens = |trees: &[TreeRecord]| -> u64 { trees.iter().map(|t| t.forward_tokens).sum() };
    let mut last = u64::MAX;
    for slots in [least, least + 5, 3 * least, 1_000_000] {
        let tight = collect(slots);
        let spent = tokens(&tight);
        assert!(spent <= last, "more slots, more tokens");
        last = spent;
        for (tight, plenty) in tight.into_iter().zip(&plenty) {
            assert!(tight.forward_tokens >= plenty.forward_tokens);
            let forward_tokens = plenty.forward_tokens;
            let tight = TreeRecord {
                forward_tokens,
                ..tight
            };
            assert_eq!(&tight, plenty);
        }
        if slots == least {
            assert!(spent > tokens(&plenty), "nothing was ever evicted");
        }
    }
    assert_eq!(last, tokens(&plenty), "nothing was evicted in vain");
}
