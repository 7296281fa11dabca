//! How far a policy has moved from another, and how sure it is.

use super::batch::{Rows, policy_input};
use super::example::PolicyExample;
use super::learner::{LOGITS_AT_ONCE, hidden_states};
use crate::model::Decoder;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Rows in a pass.
const ROWS: usize = 16;

/// Two policies compared on solutions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Mean KL divergence of the policy's next-token distribution from the base's, in nats.
    pub kl_to_base: f64,
    /// Mean entropy of the policy's next-token distribution, in nats.
    pub entropy: f64,
    /// Solution tokens that the means are over.
    pub positions: usize,
}

/// Compares `policy` with `base` at the solution tokens of the first of `examples`, as many as have
/// about `positions` tokens; `None` without examples. Neither net needs autodiff.
pub fn drift(
    policy: &Decoder,
    base: &Decoder,
    examples: &[PolicyExample],
    positions: usize,
) -> Option<Drift> {
    let mut count = 0;
    let taken: Vec<&PolicyExample> = examples
        .iter()
        .take_while(|example| {
            let goes_on = count < positions;
            count += example.tokens.len() - example.first;
            goes_on
        })
        .collect();
    let mut sum = Drift {
        kl_to_base: 0.0,
        entropy: 0.0,
        positions: 0,
    };
    for chunk in taken.chunks(ROWS) {
        add(&mut sum, policy, base, chunk);
    }
    let mean = |total: f64| total / sum.positions as f64;
    (sum.positions > 0).then(|| Drift {
        kl_to_base: mean(sum.kl_to_base),
        entropy: mean(sum.entropy),
        positions: sum.positions,
    })
}

fn add(sum: &mut Drift, policy: &Decoder, base: &Decoder, examples: &[&PolicyExample]) {
    let device = policy.embedding.val().device();
    let inputs: Vec<&[u32]> = examples.iter().map(|e| policy_input(e)).collect();
    let rows = Rows::new(&inputs);
    let wanted: Vec<i32> = examples
        .iter()
        .enumerate()
        .flat_map(|(row, e)| (e.first - 1..e.tokens.len() - 1).map(move |p| (row, p)))
        .map(|(row, position)| (row * rows.time + position) as i32)
        .collect();
    let states = [policy, base].map(|net| hidden_states(net, &rows, &device));
    let piece = (LOGITS_AT_ONCE / policy.config().vocab_size).max(1);
    for at in wanted.chunks(piece) {
        let data = TensorData::new(at.to_vec(), [at.len()]);
        let at = Tensor::<1, Int>::from_data(data, &device);
        let [ours, theirs] = [(policy, &states[0]), (base, &states[1])]
            .map(|(net, states)| log_softmax(net.logits(states.clone().select(0, at.clone())), 1));
        let p = ours.clone().exp();
        let total = |x: Tensor<2>| f64::from(x.sum().into_scalar::<f32>());
        sum.entropy -= total(p.clone() * ours.clone());
        sum.kl_to_base += total(p * (ours - theirs));
    }
    sum.positions += wanted.len();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::floats;
    use crate::train::gradients::config;
    use burn::tensor::Device;

    fn net(seed: u64) -> Decoder {
        Decoder::init(&config(), seed, &Device::flex())
    }

    /// Logits after each prefix of `tokens`, by a pass of its own.
    fn logits(net: &Decoder, tokens: &[u32]) -> Vec<f64> {
        let tokens: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
        let data = TensorData::new(tokens.clone(), [1, tokens.len()]);
        let hidden = net.hidden(Tensor::from_data(data, &Device::flex()));
        let [_, time, width] = hidden.dims();
        let all = net.logits(hidden.reshape([time, width]));
        let vocab = net.config().vocab_size;
        floats(all)[(time - 1) * vocab..]
            .iter()
            .map(|&x| f64::from(x))
            .collect()
    }

    #[test]
    fn drift_equals_sums_by_hand() {
        let (policy, base) = (net(1), net(2));
        let example = |tokens: &[u32], first| PolicyExample {
            tokens: tokens.to_vec(),
            first,
            weight: 0.3,
            question: 0,
            aims: Vec::new(),
        };
        let examples = [example(&[1, 2, 3, 4, 5], 2), example(&[6, 5, 4], 1)];
        let (mut kl, mut entropy) = (0.0, 0.0);
        for e in &examples {
            for end in e.first..e.tokens.len() {
                let log_probs = |net: &Decoder| -> Vec<f64> {
                    let logits = logits(net, &e.tokens[..end]);
                    let sum = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
                    logits.iter().map(|x| x - sum).collect()
                };
                let (ours, theirs) = (log_probs(&policy), log_probs(&base));
                for (p, q) in ours.iter().zip(&theirs) {
                    kl += p.exp() * (p - q);
                    entropy -= p.exp() * p;
                }
            }
        }
        let found = drift(&policy, &base, &examples, 100).unwrap();
        assert_eq!(found.positions, 5);
        assert!((found.kl_to_base - kl / 5.0).abs() < 1e-5, "{found:?} {kl}");
        assert!((found.entropy - entropy / 5.0).abs() < 1e-5, "{found:?}");
        assert!(kl > 1e-4);
        let same = drift(&policy, &policy, &examples, 1).unwrap();
        assert_eq!((same.kl_to_base, same.positions), (0.0, 3));
        assert_eq!(drift(&policy, &base, &[], 9), None);
    }
}
