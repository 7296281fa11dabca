//! Trees within a budget of slots, and drafts.

use super::*;

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
