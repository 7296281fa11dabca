//! Collection and the loop, on the bundled model.

#[path = "loop/actions.rs"]
mod actions;

use std::path::Path;
use std::sync::Arc;
use tokenzero::collect::{self, Setting};
use tokenzero::engine::Engine;
use tokenzero::evaluate;
use tokenzero::model::{Checkpoint, HeadKind, Tokenizer, Value, ValueHead, device};
use tokenzero::monitor::Monitor;
use tokenzero::search::{GuidedForm, GuidedParams, Policy, Rollout};
use tokenzero::stop::Stop;
use tokenzero::task::{self, Task};
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
        let set = checkpoint(with_value);
        let engine = Engine::start(set.policy, set.value, Default::default()).unwrap();
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
        let dir = tempfile::tempdir().unwrap();
        let monitor = Monitor::silent();
        let setting = Setting {
            policy: &self.policy(),
            tokenizer: &self.tokenizer,
            task: &self.task,
            monitor: &monitor,
            iteration: 1,
            seed: 11,
            stop: &Stop::default(),
        };
        let problems = self.task.train(0..params.questions).unwrap();
        collect::collect(&setting, &problems, params, dir.path()).unwrap();
        dir
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

#[test]
fn beams_find_texts_at_least_as_probable_as_greedy_ones() {
    let bench = Bench::new(false);
    let mut beam = params(16);
    beam.questions = 12;
    beam.search.simulations = 4;
    beam.search.rollout = Rollout::Beam { width: 3 };
    let trees = trace::read_dir(bench.collect(&beam).path()).unwrap();
    assert_eq!(trees.len(), 12);
    assert!(trees.iter().all(|t| t.simulations == 4));
}

#[test]
fn guided_decoding_is_deterministic_and_honours_its_limits() {
    let bench = Bench::new(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let problems = bench.task.test(6).unwrap();
    for form in [GuidedForm::Whole, GuidedForm::PerToken] {
        for leaves in [1, 4] {
            let params = GuidedParams {
                form,
                leaves,
                simulations: 20,
                max_new_tokens: 38,
                pick: Pick::Visits,
                ..GuidedParams::default()
            };
            for problem in &problems {
                let prompt = bench.task.prompt(&problem.question);
                let prompt = bench
                    .tokenizer
                    .prompt(&prompt.plain, &prompt.messages)
                    .unwrap();
                let policy = bench.policy();
                let run = || {
                    runtime
                        .block_on(policy.guided(&prompt, &params, 0))
                        .unwrap()
                };
                let (a, b) = (run(), run());
                assert_eq!(a, b);
                assert!((1..=38).contains(&a.completion.tokens.len()));
                assert_eq!(a.ledger.value, 0, "a shared trunk costs nothing");
                assert_eq!(a.ledger.prefill, prompt.len() as u64);
                let stopped = a.completion.tokens.last() == Some(&0);
                assert_eq!(a.completion.finished, stopped);
            }
        }
    }
}

#[test]
fn an_evaluation_charges_every_method_and_compares_them_in_pairs() {
    let bench = Bench::new(true);
    let monitor = Monitor::silent();
    let setting = evaluate::Setting {
        policy: &bench.policy(),
        tokenizer: &bench.tokenizer,
        task: &bench.task,
        monitor: &monitor,
        iteration: 0,
        seed: 3,
        stop: &Stop::default(),
    };
    let params = evaluate::Params {
        questions: 40,
        max_new_tokens: 38,
        ..Default::default()
    };
    let problems = bench.task.test(40).unwrap();
    let evaluation = evaluate::evaluate(&setting, &problems, &params).unwrap();
    let methods = &evaluation.methods;
    let names: Vec<&str> = methods.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "best_of_n",
            "greedy",
            "most_probable",
            "searched",
            "vote",
            "weighted_vote"
        ]
    );
    for method in methods.values() {
        assert_eq!(method.total, 40);
        assert!(method.low <= method.accuracy && method.accuracy <= method.high);
        assert_eq!(method.against.len(), 5);
        assert!(method.forward_tokens > 10.0);
    }
    assert_eq!(
        methods["vote"].forward_tokens,
        methods["best_of_n"].forward_tokens
    );
    assert!(methods["vote"].forward_tokens > 4.0 * methods["greedy"].forward_tokens);
    let dir = tempfile::tempdir().unwrap();
    evaluation.write(dir.path()).unwrap();
    let again = evaluate::Evaluation::read(&dir.path().join("evaluation.json")).unwrap();
    for (name, method) in &evaluation.methods {
        let read = &again.methods[name];
        assert_eq!((read.correct, read.total), (method.correct, method.total));
        assert_eq!(read.ledger, method.ledger);
        assert!((read.accuracy - method.accuracy).abs() < 1e-12);
    }
}
