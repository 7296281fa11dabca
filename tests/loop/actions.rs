//! Searches that move by spans and steps, and other judges of leaves.

use super::*;
use tokenzero::model::weights::StoredType;
use tokenzero::search::{Actions, Judge, Options, Prior};
use tokenzero::tree::{Gate, Width};

fn span(options: Options) -> Actions {
    Actions::Span { tokens: 6, options }
}

fn step() -> Actions {
    Actions::Step {
        stop: vec!["\n".into()],
        max_tokens: 12,
        options: Options::default(),
    }
}

/// The rest of a solution at once.
fn whole() -> Actions {
    Actions::Step {
        stop: Vec::new(),
        max_tokens: 0,
        options: Options {
            prior: Prior::Equal,
            ..Options::default()
        },
    }
}

/// Has everything in `search` that is drawn on, several leaves in flight, and a share of random roots.
pub fn everything_drawn(search: &mut tokenzero::search::Params, random_roots: f32) {
    search.noise.fraction = 0.25;
    search.random_root.share = random_roots;
    search.rollout = Rollout::Sampled { temperature: 1.0 };
    search.judges = vec![
        Judge::Rollout { weight: 1.0 },
        Judge::Confidence { weight: 0.5 },
    ];
    search.leaves = 3;
}

#[test]
fn options_and_judges_do_not_depend_on_the_number_of_workers() {
    let spans = {
        let mut many = params(64);
        many.questions = 24;
        many.search.actions = span(Options {
            min_distance: 0.2,
            ..Options::default()
        });
        everything_drawn(&mut many.search, 0.6);
        many
    };
    let mut steps = spans.clone();
    steps.search.actions = step();
    steps.search.rollout = Rollout::Greedy;
    steps.search.playout_cap.share = 0.5;
    let mut gated = spans.clone();
    gated.search.actions = Actions::Token;
    gated.search.tree.gate = Gate::Unsure { below: 0.9 };
    gated.search.tree.plain = 0.2;
    gated.search.tree.width = Width::Spread {
        least: 1,
        factor: 4.0,
    };
    for many in [spans, steps, gated] {
        let one = collect::Params {
            workers: 1,
            ..many.clone()
        };
        let bench = Bench::new(true);
        let (a, b) = (bench.collect(&many), bench.collect(&one));
        assert_eq!(files(a.path()), files(b.path()));
        let trees = trace::read_dir(a.path()).unwrap();
        assert_eq!(trees.len(), 24);
        let cap = &many.search.playout_cap;
        let full = trees.iter().filter(|t| t.simulations == 24).count();
        let cheap = trees.iter().filter(|t| t.simulations == cap.simulations);
        assert_eq!(full + cheap.count(), 24);
        assert_eq!(full == 24, cap.share == 1.0);
    }
}

#[test]
fn a_tree_of_options_under_pressure_is_the_tree_with_all_its_slots() {
    let bench = Bench::new(true);
    let mut spans = params(16);
    spans.questions = 12;
    spans.search.simulations = 40;
    spans.search.actions = span(Options::default());
    spans.search.random_root.share = 0.3;
    // A solution, and 4 options of 6 tokens and one more each.
    same_under_pressure(&bench, &spans, 38 + 4 * 7);
}

#[test]
fn several_leaves_of_options_share_what_a_tree_may_hold() {
    let bench = Bench::new(true);
    let mut several = params(16);
    several.questions = 12;
    several.search.simulations = 160;
    several.search.leaves = 2;
    several.search.rollout = Rollout::Sampled { temperature: 1.5 };
    several.search.tree.lambda = 0.5;
    several.search.top_k = 16;
    several.search.actions = span(Options {
        temperature: 1.5,
        ..Options::default()
    });
    same_under_pressure(&bench, &several, 2 * (38 + 4 * 7));
}

#[test]
fn steps_under_pressure_leave_the_tree_as_it_is() {
    let bench = Bench::new(true);
    let mut steps = params(16);
    steps.questions = 12;
    steps.search.simulations = 160;
    steps.search.tree.lambda = 0.0;
    steps.search.actions = Actions::Step {
        stop: vec!["\n".into()],
        max_tokens: 8,
        options: Options {
            temperature: 1.5,
            ..Options::default()
        },
    };
    same_under_pressure(&bench, &steps, 38 + 4 * 9);
}

/// A greedy rollout is the same whoever plays it.
#[test]
fn a_player_with_the_policys_weights_leaves_the_same_tree() {
    let bench = Bench::new(true);
    let mut own = params(16);
    own.questions = 12;
    own.search.memoise = false;
    own.search.tree.lambda = 0.5;
    let mut player = own.clone();
    player.search.player = TINY.into();
    let (own, player) = (bench.collect(&own), bench.collect(&player));
    let (own, player) = (
        trace::read_dir(own.path()).unwrap(),
        trace::read_dir(player.path()).unwrap(),
    );
    for (a, b) in own.iter().zip(&player) {
        assert_eq!(visited(a), visited(b));
        assert!(a.forward_tokens < b.forward_tokens, "texts are read anew");
    }
}

/// A reward model that is the value net itself judges as it does, and costs the texts that it reads.
#[test]
fn a_reward_model_with_the_value_nets_weights_answers_the_same() {
    let bench = Bench::new(true);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reward");
    checkpoint(true).save(&path, StoredType::F32).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let reward = Judge::Reward {
        path: path.to_str().unwrap().into(),
        weight: 1.0,
    };
    for (form, judges) in [
        (GuidedForm::Whole, vec![reward.clone()]),
        (
            GuidedForm::PerToken,
            vec![Judge::Value { weight: 1.0 }, reward],
        ),
    ] {
        let value = GuidedParams {
            form,
            simulations: 15,
            max_new_tokens: 38,
            ..GuidedParams::default()
        };
        let judged = GuidedParams {
            judges,
            ..value.clone()
        };
        let policy = bench.policy();
        let aided = policy.with_aides(
            vec![(path.to_str().unwrap().into(), true)],
            &bench.tokenizer,
        );
        let aided = aided.unwrap();
        for problem in bench.task.test(5).unwrap() {
            let prompt = bench.task.prompt(&problem.question);
            let prompt = bench.tokenizer.prompt(&prompt.plain, &prompt.messages);
            let prompt = prompt.unwrap();
            let a = runtime.block_on(policy.guided(&prompt, &value, 1)).unwrap();
            let b = runtime.block_on(aided.guided(&prompt, &judged, 1)).unwrap();
            assert_eq!(a.completion.tokens, b.completion.tokens);
            assert_eq!(a.nodes, b.nodes);
            assert_eq!(b.ledger.prefill, a.ledger.prefill + prompt.len() as u64 - 1);
            assert_eq!(b.ledger.rollout, a.ledger.rollout);
            assert!(
                b.ledger.value > 15,
                "each leaf is read with the prompt's last token"
            );
            let unopened = runtime.block_on(policy.guided(&prompt, &judged, 1));
            assert!(unopened.is_err());
        }
    }
    let nobody = bench
        .policy()
        .with_aides(vec![(TINY.into(), true)], &bench.tokenizer);
    let error = nobody.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("no value net"), "{error}");
}

/// Visited nodes where no simulation of a tree ended are inside options.
#[test]
fn simulations_of_a_span_search_end_at_its_boundaries() {
    let bench = Bench::new(true);
    let mut spans = params(16);
    spans.questions = 12;
    spans.search.actions = span(Options::default());
    for tree in trace::read_dir(bench.collect(&spans).path()).unwrap() {
        let ends = |n: usize| {
            let below = tree.nodes.iter().filter(|c| c.parent == Some(n as u32));
            tree.nodes[n].visits - below.map(|c| c.visits).sum::<u32>()
        };
        let mut boundaries = 0;
        for n in 0..tree.nodes.len() {
            let depth = tree.path(n).len();
            if ends(n) > 0 {
                boundaries += 1;
                assert!(depth % 6 == 0 || tree.nodes[n].terminal, "at {depth}");
            }
            let taken: f32 = tree.nodes[n].child_priors.iter().sum();
            let inner = tree.nodes[n].visits > ends(n);
            assert!(
                !inner || (taken - 1.0).abs() < 1e-5,
                "priors add up to {taken}"
            );
        }
        assert!(boundaries > 1);
    }
}

#[test]
fn every_token_of_every_search_is_charged_and_answers_repeat() {
    let bench = Bench::new(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let problems = bench.task.test(4).unwrap();
    let confidence = vec![
        Judge::Value { weight: 1.0 },
        Judge::Confidence { weight: 1.0 },
    ];
    let rollout = vec![Judge::Rollout { weight: 1.0 }];
    let mut searches = Vec::new();
    for form in [GuidedForm::Whole, GuidedForm::PerToken] {
        for actions in [Actions::Token, span(Options::default()), step(), whole()] {
            for judges in [Vec::new(), confidence.clone(), rollout.clone()] {
                searches.push(GuidedParams {
                    form,
                    actions: actions.clone(),
                    judges,
                    simulations: 12,
                    leaves: 2,
                    max_new_tokens: 38,
                    ..GuidedParams::default()
                });
            }
        }
    }
    let mut sampled = searches[3].clone();
    sampled.rollout = Rollout::Sampled { temperature: 0.7 };
    sampled.judges = confidence;
    sampled.stop_variance = 0.01;
    searches.push(sampled);
    for problem in &problems {
        let prompt = bench.task.prompt(&problem.question);
        let prompt = bench.tokenizer.prompt(&prompt.plain, &prompt.messages);
        let prompt = prompt.unwrap();
        for params in &searches {
            let policy = bench.policy();
            let run = |seed| {
                let before = policy.engine.load().tokens;
                let found = runtime
                    .block_on(policy.guided(&prompt, params, seed))
                    .unwrap();
                assert_eq!(policy.engine.load().tokens - before, found.ledger.total());
                found
            };
            let (a, b) = (run(7), run(7));
            assert_eq!(a, b, "{params:?}");
            let text = &a.completion;
            assert!((1..=38).contains(&text.tokens.len()), "{params:?}");
            assert_eq!(text.finished, text.tokens.last() == Some(&0));
            run(8);
        }
    }
}

#[test]
fn a_budget_ends_a_search_by_options() {
    let bench = Bench::new(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let problems = bench.task.test(6).unwrap();
    for actions in [span(Options::default()), step()] {
        let params = GuidedParams {
            actions,
            simulations: 400,
            max_forward_tokens: 150,
            max_new_tokens: 38,
            ..GuidedParams::default()
        };
        for problem in &problems {
            let prompt = bench.task.prompt(&problem.question);
            let prompt = bench.tokenizer.prompt(&prompt.plain, &prompt.messages);
            let policy = bench.policy();
            let found = runtime.block_on(policy.guided(&prompt.unwrap(), &params, 1));
            let ledger = found.unwrap().ledger;
            // One option of 12 tokens whatever is left, the token at its end, and the answer's end.
            let most = 150 + 13 + 1 + 38;
            assert!(ledger.total() <= most, "{}", ledger.total());
        }
    }
}
