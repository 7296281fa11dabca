//! Rewards of a program, and right solutions drawn anew.

use super::*;

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
