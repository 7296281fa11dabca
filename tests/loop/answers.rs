//! Searches for answers, and evaluations.

use super::*;

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
