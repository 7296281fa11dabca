//! Gradients and states by hand beside those of autodiff and of separate sequences.

use super::*;

#[test]
fn gradients_by_hand_are_those_of_autodiff() {
    let device = Device::flex();
    let shapes = [
        config(),
        Config {
            architecture: Architecture::Llama,
            vocab_size: 70,
            hidden_size: 48,
            intermediate_size: 40,
            num_hidden_layers: 3,
            num_attention_heads: 6,
            num_key_value_heads: 2,
            head_dim: 12,
            tie_word_embeddings: false,
            attention_bias: false,
            ..config()
        },
    ];
    for (config, kind) in shapes.iter().zip([HeadKind::Mlp, HeadKind::Linear]) {
        for last_layers in [0, 1] {
            for parts in [1, 3] {
                let mut one = trainee(ValueLoss::Bce, 7 * 11);
                let mut trunk = Decoder::init(config, 1, &device);
                trunk.embedding = trunk.embedding.map(|e| e.mul_scalar(25.0));
                one.trunk = Some(crate::train::fit::free_last_layers(trunk, last_layers));
                let mut head = ValueHead::init(kind, config.hidden_size, 6, 3, &device);
                let n = head.score.dims()[0];
                let score: Vec<f32> = (0..n).map(|i| 0.3 * (i % 7) as f32 - 0.7).collect();
                head.score = Param::from_data(TensorData::new(score, [n, 1]), &device);
                one.head = Some(free(head, |_| true));
                let [(burn, a), (own, b)] = both(one, &passes(true, true, parts));
                assert!((burn - own).abs() < 1e-5 * burn.abs(), "{burn} and {own}");
                assert!(a.iter().filter(|g| norm(g) > 1e-4).count() > 8);
                assert_close(&a, &b, 5e-5);
            }
        }
    }
}

/// A state that several sequences share gets the sum of their gradients: those of the step are those of
/// a pass for each sequence.
#[test]
fn shared_beginnings_give_the_gradients_of_separate_sequences() {
    let device = Device::flex();
    let config = Config {
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        ..config()
    };
    for (policy, value) in [(true, true), (true, false), (false, true)] {
        for last_layers in [0, 2] {
            let mut one = trainee(ValueLoss::Bce, 7 * 11);
            let mut trunk = Decoder::init(&config, 1, &device);
            trunk.embedding = trunk.embedding.map(|e| e.mul_scalar(25.0));
            one.trunk = Some(crate::train::fit::free_last_layers(trunk, last_layers));
            let mut head = ValueHead::init(HeadKind::Mlp, 24, 6, 3, &device);
            let score = (0..6).map(|i| 0.3 * i as f32 - 0.7).collect::<Vec<_>>();
            head.score = Param::from_data(TensorData::new(score, [6, 1]), &device);
            one.head = Some(free(head, |_| true));
            let (solutions, trajectories) = siblings();
            let count = (usize::from(policy) + usize::from(value)) * trajectories.len();
            let batches = |parts| {
                let all = (solutions.clone(), trajectories.clone());
                passes_over(all, policy, value, parts)
            };
            let rows = |batches: &[Batch]| -> Vec<usize> {
                let rows = |batch: &Batch| match &batch.source {
                    Source::Tokens(rows) => rows.rows,
                    Source::Hidden(_) => 0,
                };
                batches.iter().map(rows).collect()
            };
            assert_eq!(rows(&batches(1)), [count]);
            assert_eq!(rows(&batches(count)), vec![1; count]);

            one.shared.objective.by_hand = true;
            let (together, a) = one.passes(&batches(1));
            let (apart, b) = one.passes(&batches(count));
            let a = flat(&one, &a);
            assert!(a.iter().filter(|g| norm(g) > 1e-4).count() > 8);
            assert!((together.loss - apart.loss).abs() < 1e-6 * apart.loss.abs());
            assert_close(&a, &flat(&one, &b), 1e-5);
            let [(burn, c), _] = both(one, &batches(1));
            assert!((burn - together.loss).abs() < 1e-5 * burn.abs());
            assert_close(&c, &a, 5e-5);

            assert_eq!(apart.tokens, apart.sequence_tokens);
            assert_eq!(together.sequence_tokens, apart.sequence_tokens);
            let inputs = solutions.iter().filter(|_| policy).map(policy_input);
            let inputs = inputs.chain(trajectories.iter().filter(|_| value).map(value_input));
            let beginnings: std::collections::BTreeSet<&[u32]> = inputs
                .flat_map(|line| (1..=line.len()).map(|end| &line[..end]))
                .collect();
            assert_eq!(together.tokens, beginnings.len() as u64);
            let prefix = |e: &ValueExample| -> usize {
                let learned = e.weights.iter().enumerate().filter(|(_, w)| **w > 0.0);
                learned.map(|(i, _)| e.first + i + 1).sum()
            };
            let prefixes: usize = trajectories.iter().filter(|_| value).map(prefix).sum();
            assert_eq!(together.prefix_tokens, prefixes as u64);
        }
    }
}

#[test]
fn hidden_states_by_hand_are_those_of_the_decoder() {
    let trunk = trainee(ValueLoss::Bce, 1).trunk.unwrap().valid();
    for examples in [examples(), siblings()] {
        let batch = passes_over(examples, true, false, 1).remove(0);
        let Source::Tokens(rows) = &batch.source else {
            panic!("rows of tokens")
        };
        hidden_states_agree(&trunk, rows);
    }
}

fn hidden_states_agree(trunk: &Decoder, rows: &Rows) {
    let own = crate::train::backward::hidden(trunk, rows);
    let tokens = Tensor::<2, burn::tensor::Int>::from_data(
        TensorData::new(rows.tokens.clone(), [rows.rows, rows.time]),
        &Device::flex(),
    );
    let width = trunk.config().hidden_size;
    let burn = crate::model::layout::floats(trunk.hidden(tokens));
    for (row, length) in rows.lengths.iter().enumerate() {
        for at in row * rows.time * width..(row * rows.time + length) * width {
            assert!((own[at] - burn[at]).abs() < 1e-5);
        }
    }
}

#[test]
fn states_for_a_head_are_those_of_separate_sequences_in_the_order_of_their_lengths() {
    let trunk = trainee(ValueLoss::Bce, 1).trunk.unwrap().valid();
    let device = Device::flex();
    let mut examples = siblings().1;
    examples.reverse();
    examples.swap(1, 7);
    let States {
        hidden,
        targets,
        spans,
        taken,
    } = hidden_positions(&trunk, &examples, WEIGHT);
    let mut sorted: Vec<&ValueExample> = examples.iter().collect();
    sorted.sort_by_key(|e| e.needed());
    let (mut states, mut wanted) = (Vec::new(), Vec::new());
    for batch in TokenPasses::of_values(&sorted, 1, WEIGHT) {
        let Source::Tokens(rows) = &batch.source else {
            panic!("rows of tokens")
        };
        let tokens: Vec<i32> = rows.tokens.clone();
        let tokens = TensorData::new(tokens, [1, rows.time]);
        let all = crate::model::layout::floats(trunk.hidden(Tensor::from_data(tokens, &device)));
        let targets = batch.value.unwrap();
        for &at in &targets.positions {
            states.extend_from_slice(&all[at as usize * 8..][..8]);
        }
        wanted.extend(targets.wanted);
    }
    assert_eq!(targets.wanted, wanted);
    for (span, example) in spans.iter().zip(&examples) {
        let own = value_targets(&[example], 0, 0, WEIGHT).wanted;
        assert_eq!(targets.wanted[span.clone()], own);
    }
    let found = crate::model::layout::floats(hidden);
    assert_eq!(found.len(), states.len());
    assert!(found.iter().zip(&states).all(|(a, b)| (a - b).abs() < 1e-5));
    let inputs: Vec<&[u32]> = examples.iter().map(value_input).collect();
    assert_eq!(taken.tokens, distinct(&inputs) as u64);
    assert!(2 * taken.tokens < taken.sequence_tokens);
}

#[test]
fn pieces_of_a_net_whose_weights_are_packed_by_all_threads_do_not_wait_for_each_other() {
    // Its gates and ups are more numbers than one thread packs.
    let config = Config {
        hidden_size: 256,
        intermediate_size: 640,
        num_attention_heads: 4,
        head_dim: 64,
        ..config()
    };
    let mut one = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let device = Device::flex();
    one.trunk = Some(free(Decoder::init(&config, 1, &device), |_| true));
    one.head = Some(free(
        ValueHead::init(HeadKind::Linear, 256, 0, 3, &device),
        |_| true,
    ));
    one.shared.objective.by_hand = true;
    let batches = passes(true, true, 6);
    for _ in 0..3 {
        assert!(one.passes(&batches).0.loss.is_finite());
    }
}
