//! A value that is blended with the policy's probabilities is the same wherever a text is met: in a tree,
//! drawn, on a beam. The reference forwards the text token by token and weighs by hand.

use super::*;
use std::collections::HashMap;
use tokenzero::engine::{Request, Session};
use tokenzero::model::{Blend, Calibration};
use tokenzero::search::{self, Actions, BeamParams, Completion, Options, SampleParams, sample};

const BLEND: Blend = Blend {
    bias: 0.2,
    logit: 0.8,
    mean_log_prob: 0.5,
    least_log_prob: 0.3,
    last_log_prob: -0.2,
    entropy: 0.4,
    log_tokens: -0.3,
};

fn bench() -> Bench {
    let mut set = checkpoint(true);
    if let Some(Value::Shared(head)) = &mut set.value {
        // Opinions short of certainty, of which f32 tells few apart.
        head.score = head.score.clone().map(|t| t.mul_scalar(0.1));
        head.readout.calibration = Calibration::Features(BLEND);
    }
    let engine = Engine::start(set.policy, set.value, engine::Params::default()).unwrap();
    Bench {
        engine,
        tokenizer: Arc::new(set.tokenizer),
        task: task::open(&task::Params::default()).unwrap(),
    }
}

/// Values of all texts that were asked for: of a prompt and of what follows it.
struct Reference {
    runtime: tokio::runtime::Runtime,
    session: Session,
    known: HashMap<Vec<u32>, Vec<f64>>,
    /// The largest difference that the blend made.
    moved: f64,
}

impl Reference {
    fn new(bench: &Bench) -> Reference {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let session = runtime
            .block_on(bench.engine.handle().session(4000))
            .unwrap();
        Reference {
            runtime,
            session,
            known: HashMap::new(),
            moved: 0.0,
        }
    }

    /// The value after the prompt, and after each of `tokens` but the last.
    fn values(&mut self, prompt: &[u32], tokens: &[u32]) -> Vec<f64> {
        let key = [prompt, tokens].concat();
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let (mut values, mut log_probs) = (Vec::new(), Vec::<f64>::new());
        let mut slots = Vec::new();
        let mut new = prompt.to_vec();
        for &token in tokens {
            let request = Request {
                context: slots.clone(),
                tokens: std::mem::replace(&mut new, vec![token]),
                top_k: 10_000,
                generate: None,
                ..Request::default()
            };
            let reply = self.runtime.block_on(self.session.run(request)).unwrap();
            slots.extend(&reply.slots);
            let output = reply.last();
            let n = log_probs.len();
            let largest = log_probs.iter().copied().fold(0.0, f64::min);
            let p = f64::from(output.log_probs[0]).exp();
            let z = BLEND.bias
                + BLEND.logit * 2.0 * f64::from(output.value).atanh()
                + BLEND.mean_log_prob * log_probs.iter().sum::<f64>() / n.max(1) as f64
                + BLEND.least_log_prob * largest
                + BLEND.last_log_prob * log_probs.last().copied().unwrap_or(0.0)
                - BLEND.entropy * (p * p.ln() + (1.0 - p) * (1.0 - p).max(1e-300).ln())
                + BLEND.log_tokens * ((1 + n) as f64).ln();
            let value = (z / 2.0).tanh();
            self.moved = self.moved.max((value - f64::from(output.value)).abs());
            values.push(value);
            let rank = output.tokens.iter().position(|&t| t == token).unwrap();
            log_probs.push(f64::from(output.log_probs[rank]).max(-20.0));
        }
        self.session.release(&slots);
        self.known.insert(key, values.clone());
        values
    }

    fn check(&mut self, prompt: &[u32], found: &Completion) {
        let last = *self.values(prompt, &found.tokens).last().unwrap();
        assert!(
            (last - f64::from(found.value)).abs() < 1e-6,
            "{last} {found:?}"
        );
    }
}

#[test]
fn trees_hold_the_values_of_the_blend_and_drawn_texts_the_same() {
    let bench = bench();
    let mut reference = Reference::new(&bench);
    let mut greedy = params(16);
    greedy.questions = 6;
    greedy.samples = 3;
    greedy.search.tree.lambda = 0.5;
    greedy.search.random_root.share = 0.5;
    let mut sampled = greedy.clone();
    sampled.search.rollout = Rollout::Sampled { temperature: 1.5 };
    sampled.search.leaves = 3;
    let mut spans = greedy.clone();
    spans.search.actions = Actions::Span {
        tokens: 6,
        options: Options {
            temperature: 1.5,
            ..Options::default()
        },
    };
    let mut drawn = greedy.clone();
    drawn.samples = 0;
    drawn.draws = 4;
    drawn.sampling.max_new_tokens = 38;
    drawn.sampling.temperature = 1.5;
    for how in [greedy, sampled, spans, drawn] {
        let mut nodes = 0;
        for tree in trace::read_dir(bench.collect(&how).path()).unwrap() {
            let prompt = &tree.prompt[..tree.prompt_len()];
            let ends = (0..tree.nodes.len()).filter(|&node| tree.nodes[node].terminal);
            for end in ends.take(8) {
                let tokens = [&tree.prompt[tree.prompt_len()..], &tree.path(end)].concat();
                let values = reference.values(prompt, &tokens);
                let mut at = tree.nodes[end].parent;
                for value in values.iter().rev() {
                    let Some(index) = at.map(|index| index as usize) else {
                        break;
                    };
                    let found = f64::from(tree.nodes[index].value);
                    assert!((found - value).abs() < 1e-6, "{found} {value}");
                    at = tree.nodes[index].parent;
                    nodes += 1;
                }
            }
        }
        assert!(nodes > 300, "{nodes} nodes");
    }
    assert!(reference.moved > 0.1, "the blend hardly moves a value");
}

#[test]
fn every_way_to_answer_reads_values_through_the_blend() {
    let bench = bench();
    let mut reference = Reference::new(&bench);
    let policy = bench.policy();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let sampling = SampleParams {
        temperature: 1.3,
        max_new_tokens: 38,
        ..SampleParams::default()
    };
    for problem in bench.task.test(4).unwrap() {
        let prompt = bench.task.prompt(&problem.question);
        let prompt = bench.tokenizer.prompt(&prompt.plain, &prompt.messages);
        let prompt = prompt.unwrap();
        for form in [GuidedForm::Whole, GuidedForm::PerToken] {
            let params = GuidedParams {
                form,
                simulations: 12,
                max_new_tokens: 38,
                ..GuidedParams::default()
            };
            let guided = runtime
                .block_on(policy.guided(&prompt, &params, 0))
                .unwrap();
            reference.check(&prompt, &guided.completion);
        }
        let beam = BeamParams {
            max_new_tokens: 38,
            ..BeamParams::default()
        };
        let (answer, _) = runtime.block_on(policy.beam(&prompt, &beam)).unwrap();
        reference.check(&prompt, &answer);
        let (answer, _) = runtime.block_on(policy.greedy(&prompt, 38)).unwrap();
        reference.check(&prompt, &answer);
        let drawn = runtime.block_on(sample(&policy, &prompt, 3, &sampling, 5));
        let drawn = drawn.unwrap().completions;
        drawn.iter().for_each(|text| reference.check(&prompt, text));
        let traced = runtime.block_on(search::trace(&policy, &prompt, 3, &sampling, 5));
        for (text, drawn) in traced.unwrap().0.iter().zip(&drawn) {
            assert_eq!(&text.completion, drawn);
            let values = reference.values(&prompt, &drawn.tokens);
            assert_eq!(values.len(), text.values.len());
            for (value, found) in values.iter().zip(&text.values) {
                assert!((value - f64::from(*found)).abs() < 1e-6, "{value} {found}");
            }
        }
    }
}
