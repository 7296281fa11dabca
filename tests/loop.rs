//! Collection and the loop, on the bundled model.

#[path = "loop/actions.rs"]
mod actions;
#[path = "loop/blend.rs"]
mod blend;
#[path = "loop/embedded.rs"]
mod embedded;
#[path = "loop/judges.rs"]
mod judges;
#[path = "loop/revise.rs"]
mod revise;

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

/// What a program of the user's says: right texts by their last line, and more for short ones.
fn program(processes: usize) -> reward::Params {
    let script = r##"while read -r line; do
        case "$line" in
            *'#### '*'"finished":true}') if [ ${#line} -lt 120 ]; then echo '{"reward": 0.75}'; else echo '{"reward": 0.25}'; fi;;
            *) echo '{"reward": -0.5}';;
        esac
    done"##;
    reward::Params {
        command: vec!["sh".into(), "-c".into(), script.into()],
        processes,
        timeout_s: 120.0,
        ..Default::default()
    }
}

#[test]
fn a_program_rewards_what_a_search_and_draws_find_whoever_works() {
    let bench = Bench::new(false);
    let mut draws = params(3);
    draws.draws = 3;
    draws.sampling.max_new_tokens = 38;
    for mut how in [params(1), draws] {
        how.questions = 8;
        how.search.simulations = 6;
        let rewards = |processes| Rewards::open(&program(processes), &bench.task).unwrap();
        let one = bench.collect_for(&how, rewards(1));
        how.workers = 16;
        let many = bench.collect_for(&how, rewards(3));
        assert_eq!(files(one.path()), files(many.path()));
        let trees = trace::read_dir(one.path()).unwrap();
        let outcomes: Vec<f32> = trees
            .iter()
            .flat_map(|tree| tree.nodes.iter().filter(|node| node.terminal))
            .filter_map(|node| node.outcome)
            .collect();
        assert!(!outcomes.is_empty());
        assert!(
            outcomes.iter().all(|o| [0.75, 0.25, -0.5].contains(o)),
            "{outcomes:?}"
        );
        assert!(outcomes.iter().any(|o| *o > 0.0));
        assert!(trees.iter().all(|tree| tree.failure.is_none()));
    }
}

#[test]
fn a_question_that_the_program_fails_is_left_out_with_its_reason() {
    let bench = Bench::new(false);
    // It dies of the first question's numbers.
    let first = &bench.task.train(0..1).unwrap()[0].question;
    let script = format!(
        "while read -r line; do case \"$line\" in *'{first}'*) exit 4;; *) echo '{{\"reward\": 1}}';; esac; done"
    );
    let dying = reward::Params {
        command: vec!["sh".into(), "-c".into(), script],
        timeout_s: 120.0,
        ..Default::default()
    };
    let mut how = params(4);
    how.questions = 6;
    how.search.simulations = 4;
    how.max_failures = 0.5;
    let rewards = Rewards::open(&dying, &bench.task).unwrap();
    let dir = bench.collect_for(&how, rewards);
    let trees = trace::read_dir(dir.path()).unwrap();
    let reason = trees[0].failure.as_deref().unwrap_or_default();
    assert!(reason.contains("exit status: 4"), "{reason}");
    assert!(trees[1..].iter().all(|tree| tree.failure.is_none()));
    assert_eq!(trees.len(), 6);
}

#[test]
fn right_solutions_are_drawn_anew_from_their_middle_and_charged() {
    let bench = Bench::new(false);
    let mut how = params(8);
    how.questions = 24;
    let plain = trace::read_dir(bench.collect(&how).path()).unwrap();
    how.search.redraw.texts = 1;
    how.search.redraw.draws = 5;
    let first = bench.collect(&how);
    how.workers = 1;
    let second = bench.collect(&how);
    assert_eq!(files(first.path()), files(second.path()));
    let drawn = trace::read_dir(first.path()).unwrap();
    let mut seen = 0;
    for (plain, drawn) in plain.iter().zip(&drawn) {
        let right = |node: &trace::NodeRecord| node.terminal && node.outcome == Some(1.0);
        let solved = plain.nodes.iter().any(right);
        let agreements: Vec<f32> = drawn.nodes.iter().filter_map(|n| n.agreement).collect();
        assert_eq!(agreements.len(), usize::from(solved));
        assert!(
            agreements
                .iter()
                .all(|a| (0.0..=1.0).contains(a) && (a * 5.0 - (a * 5.0).round()).abs() < 1e-5)
        );
        // The same tree, and the draws on top of its cost.
        assert_eq!(plain.nodes.len(), drawn.nodes.len());
        assert_eq!(plain.forward_tokens < drawn.forward_tokens, solved);
        seen += usize::from(solved);
    }
    assert!(seen > 3, "{seen} of 24 were solved");
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

#[test]
fn a_tree_under_pressure_is_the_tree_with_all_its_slots() {
    let bench = Bench::new(true);
    let mut greedy = params(16);
    greedy.questions = 16;
    greedy.search.noise.fraction = 0.25;
    greedy.search.random_root.share = 0.3;
    same_under_pressure(&bench, &greedy, 38);
    let mut several = greedy.clone();
    several.search.leaves = 5;
    several.search.simulations = 80;
    several.search.tree.lambda = 0.5;
    same_under_pressure(&bench, &several, 5 * 38);
    let mut forgetful = several.clone();
    forgetful.search.memoise = false;
    forgetful.search.leaves = 1;
    same_under_pressure(&bench, &forgetful, 38);
    let mut sampled = several.clone();
    sampled.search.rollout = Rollout::Sampled { temperature: 1.0 };
    sampled.search.leaves = 2;
    same_under_pressure(&bench, &sampled, 2 * 38);
    let mut beam = greedy.clone();
    beam.search.rollout = Rollout::Beam { width: 2 };
    beam.questions = 6;
    same_under_pressure(&bench, &beam, 2 * 38);
}

#[test]
fn drafts_from_other_rollouts_leave_the_tree_as_it_is() {
    let bench = Bench::new(true);
    let mut greedy = params(16);
    greedy.questions = 16;
    greedy.search.random_root.share = 0.3;
    let mut tight = greedy.clone();
    tight.search.slots = 2 * 38;
    tight.search.leaves = 2;
    let mut sampled = tight.clone();
    sampled.search.rollout = Rollout::Sampled { temperature: 0.7 };
    for plain in [greedy, tight, sampled] {
        let mut drafted = plain.clone();
        drafted.search.draft_tokens = 4;
        let collect = |params: &collect::Params| {
            let before = bench.engine.handle().load();
            let trees = trace::read_dir(bench.collect(params).path()).unwrap();
            let after = bench.engine.handle().load();
            let tokens: u64 = trees.iter().map(|t| t.forward_tokens).sum();
            assert_eq!(
                tokens,
                after.tokens - before.tokens,
                "every token is charged"
            );
            (trees, after.rows - before.rows)
        };
        let ((plain, rows), (drafted, fewer)) = (collect(&plain), collect(&drafted));
        assert!(fewer < rows, "no draft was right");
        for (plain, drafted) in plain.iter().zip(drafted) {
            assert!(drafted.forward_tokens >= plain.forward_tokens);
            let forward_tokens = plain.forward_tokens;
            let drafted = TreeRecord {
                forward_tokens,
                ..drafted
            };
            assert_eq!(&drafted, plain);
        }
    }
}

#[test]
fn a_pool_that_holds_no_worst_case_serves_trees_with_a_budget() {
    let narrow = engine::Params {
        kv_slots: 100,
        ..engine::Params::default()
    };
    let bench = Bench::with(false, narrow);
    let mut tight = params(8);
    tight.questions = 8;
    tight.search.slots = 60;
    let mut worst = tight.clone();
    worst.search.slots = 0;
    let (monitor, stop) = (Monitor::silent(), Stop::default());
    let policy = bench.policy();
    let rewards = Arc::new(Rewards::correctness(bench.task.clone()));
    let setting = Setting {
        policy: &policy,
        tokenizer: &bench.tokenizer,
        task: &bench.task,
        rewards: &rewards,
        monitor: &monitor,
        iteration: 1,
        seed: 11,
        stop: &stop,
    };
    let problems = bench.task.train(0..8).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let refused = collect::collect(&setting, &problems, &worst, dir.path());
    let told = refused.unwrap_err().to_string();
    assert!(
        told.contains("engine.kv_slots") && told.contains("`slots`"),
        "{told}"
    );
    let trees = trace::read_dir(bench.collect(&tight).path()).unwrap();
    let plenty = trace::read_dir(Bench::new(false).collect(&worst).path()).unwrap();
    for (tight, plenty) in trees.iter().zip(&plenty) {
        assert_eq!(tight.nodes, plenty.nodes);
    }
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
    let mut recomputed = 0;
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
                let run = |params| runtime.block_on(policy.guided(&prompt, params, 0)).unwrap();
                let slots = leaves * 38;
                let tight = GuidedParams {
                    slots,
                    ..params.clone()
                };
                let tight = run(&tight);
                let (a, b) = (run(&params), run(&params));
                assert_eq!(a, b);
                assert_eq!((&a.completion, a.nodes), (&tight.completion, tight.nodes));
                recomputed += tight.ledger.total() - a.ledger.total();
                assert!((1..=38).contains(&a.completion.tokens.len()));
                assert_eq!(a.ledger.value, 0, "a shared trunk costs nothing");
                assert_eq!(a.ledger.prefill, prompt.len() as u64);
                let stopped = a.completion.tokens.last() == Some(&0);
                assert_eq!(a.completion.finished, stopped);
            }
        }
    }
    assert!(recomputed > 0, "no slot was ever evicted");
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

/// Arithmetic whose written questions are made of what the policy wrote: the model at hand cannot write any.
struct Writes(Arc<dyn Task>);

impl Task for Writes {
    fn name(&self) -> &str {
        "writes"
    }
    fn train(&self, range: Range<usize>) -> Result<Vec<Problem<Train>>, task::Error> {
        self.0.train(range)
    }
    fn dev(&self, limit: usize) -> Result<Vec<Problem<Dev>>, task::Error> {
        self.0.dev(limit)
    }
    fn test(&self, limit: usize) -> Result<Vec<Problem<Test>>, task::Error> {
        self.0.test(limit.min(50))
    }
    fn prompt(&self, question: &str) -> Prompt {
        self.0.prompt(question)
    }
    fn grade(&self, question: &str, gold: &str, completion: &str) -> Grade {
        self.0.grade(question, gold, completion)
    }
    fn answer(&self, completion: &str) -> Option<String> {
        self.0.answer(completion)
    }
    fn imagine(&self, examples: &[&str]) -> Option<Prompt> {
        self.0.imagine(examples)
    }
    fn imagined(&self, completion: &str, finished: bool) -> Option<String> {
        let sum: usize = completion.bytes().map(usize::from).sum();
        match sum % 5 {
            0 => None,
            // A question of the test split, which must be refused.
            1 => Some(self.0.test(1).ok()?[0].question.clone()),
            _ if !finished => None,
            _ => Some(format!(
                "Tom has {} coins. Then Tom finds {} coins. Tom sells {} of the coins. How many coins does Tom \
                 have now?",
                9 + sum % 7,
                2 + sum % 11,
                1 + sum % 6
            )),
        }
    }
}

#[test]
fn imagined_questions_are_voted_on_and_none_is_of_the_test_split() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/arithmetic-tiny");
    let checkpoint = Checkpoint::load(Path::new(dir), &device::open("cpu").unwrap()).unwrap();
    let arithmetic = task::open(&task::Params {
        kind: task::Kind::Arithmetic,
        ..Default::default()
    });
    let task: Arc<dyn Task> = Arc::new(Writes(arithmetic.unwrap()));
    let tokenizer = Arc::new(checkpoint.tokenizer);
    let engine = Engine::start(checkpoint.policy, None, Default::default()).unwrap();
    let policy = Policy::new(engine.handle(), &tokenizer);
    let problems = task.train(0..12).unwrap();
    let imagine = |workers| {
        let mut how = params(workers);
        how.questions = 12;
        how.imagine.share = 1.0;
        how.imagine.votes = 6;
        how.imagine.agreement = 0.5;
        how.sampling.temperature = 0.5;
        how.sampling.max_new_tokens = 100;
        let setting = Setting {
            policy: &policy,
            tokenizer: &tokenizer,
            task: &task,
            rewards: &Arc::new(Rewards::correctness(task.clone())),
            monitor: &Monitor::silent(),
            iteration: 1,
            seed: 3,
            stop: &Stop::default(),
        };
        collect::imagined(&setting, &problems, &how, 12)
            .unwrap()
            .unwrap()
    };
    let made = imagine(1);
    assert_eq!(made, imagine(32));
    let report = &made.report;
    let refused: u64 = report.refused.values().sum();
    assert_eq!((report.wanted, report.kept + refused), (12, report.written));
    assert!(
        report.kept > 0 && report.kept as usize == made.questions.len(),
        "{report:?}"
    );
    assert!(
        report.refused.contains_key(&Refusal::Resembling),
        "{report:?}"
    );
    let forbidden = &task.test(1).unwrap()[0].question;
    for written in &made.questions {
        assert_ne!(&written.question, forbidden);
        assert!(written.gold.parse::<u32>().is_ok(), "{written:?}");
    }
}
