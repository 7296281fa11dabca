//! The passes of a fit: which examples, as which rows and targets.

use super::batch::{
    Rows, Targets, VisitWeight, plan, policy_input, policy_targets, value_input, value_targets,
};
use super::example::{PolicyExample, ValueExample};
use super::learner::{Batch, Source};
use burn::tensor::Tensor;

/// Makes the passes of a fit, each from its number alone, so that a fit can go on anywhere.
pub(crate) trait Passes: Send + Sync {
    /// Pass `part` of optimiser step `step`.
    fn pass(&self, step: usize, part: usize) -> Batch;
}

/// Passes of a trunk: next-token rows, value rows, or both in one pass.
pub(crate) struct TokenPasses {
    pub policy: Vec<PolicyExample>,
    pub policy_plan: Vec<Vec<usize>>,
    pub prompt_weight: f32,
    pub value: Vec<ValueExample>,
    pub value_plan: Vec<Vec<usize>>,
    pub weight: VisitWeight,
    pub parts: usize,
}

impl TokenPasses {
    /// No examples yet; one pass a step.
    pub fn new(weight: VisitWeight) -> Self {
        TokenPasses {
            policy: Vec::new(),
            policy_plan: Vec::new(),
            prompt_weight: 0.0,
            value: Vec::new(),
            value_plan: Vec::new(),
            weight,
            parts: 1,
        }
    }

    /// With `batch` of `examples` in each of `steps` steps.
    pub fn with_policy(
        self,
        examples: Vec<PolicyExample>,
        batch: usize,
        steps: usize,
        seed: u64,
    ) -> Self {
        let lengths: Vec<usize> = examples.iter().map(|e| e.tokens.len()).collect();
        TokenPasses {
            policy_plan: plan(&lengths, batch, steps, seed),
            policy: examples,
            ..self
        }
    }

    /// With `batch` of `examples` in each of `steps` steps.
    pub fn with_values(
        self,
        examples: Vec<ValueExample>,
        batch: usize,
        steps: usize,
        seed: u64,
    ) -> Self {
        let lengths: Vec<usize> = examples.iter().map(ValueExample::needed).collect();
        TokenPasses {
            // Another order than that of the solutions beside them.
            value_plan: plan(&lengths, batch, steps, seed ^ 0x5a5a),
            value: examples,
            ..self
        }
    }

    /// All value examples, in passes of `batch`.
    pub fn of_values(value: &[&ValueExample], batch: usize, weight: VisitWeight) -> Vec<Batch> {
        let pass = |chunk: &[&ValueExample]| make_pass(&[], 0.0, chunk, weight);
        value.chunks(batch.max(1)).map(pass).collect()
    }

    /// All policy examples, in passes of `batch`.
    pub fn of_policies(policy: &[PolicyExample], batch: usize, prompt_weight: f32) -> Vec<Batch> {
        let weight = VisitWeight {
            cap: 1.0,
            power: 1.0,
        };
        let all: Vec<&PolicyExample> = policy.iter().collect();
        let pass = |chunk: &[&PolicyExample]| make_pass(chunk, prompt_weight, &[], weight);
        all.chunks(batch.max(1)).map(pass).collect()
    }
}

/// The examples of pass `part` of `parts`, and all examples of the step.
fn part_of<'a, T>(
    all: &'a [T],
    plan: &[Vec<usize>],
    step: usize,
    part: usize,
    parts: usize,
) -> (Vec<&'a T>, Vec<&'a T>) {
    let step = plan.get(step).map_or(&[][..], Vec::as_slice);
    let pick = |indices: &[usize]| indices.iter().map(|&i| &all[i]).collect::<Vec<_>>();
    // Even shares: none is empty as long as there are as many examples as parts.
    let share = part * step.len() / parts..(part + 1) * step.len() / parts;
    (pick(&step[share]), pick(step))
}

fn make_pass(
    policy: &[&PolicyExample],
    prompt_weight: f32,
    value: &[&ValueExample],
    weight: VisitWeight,
) -> Batch {
    let mut sequences: Vec<&[u32]> = policy.iter().map(|e| policy_input(e)).collect();
    sequences.extend(value.iter().map(|e| value_input(e)));
    let rows = Rows::new(&sequences);
    let policy_part =
        (!policy.is_empty()).then(|| policy_targets(policy, 0, rows.time, prompt_weight));
    let value_part =
        (!value.is_empty()).then(|| value_targets(value, policy.len(), rows.time, weight));
    Batch {
        source: Source::Tokens(rows),
        policy: policy_part,
        value: value_part,
    }
}

impl Passes for TokenPasses {
    fn pass(&self, step: usize, part: usize) -> Batch {
        let (policy, all_policy) = part_of(&self.policy, &self.policy_plan, step, part, self.parts);
        let (value, all_value) = part_of(&self.value, &self.value_plan, step, part, self.parts);
        let mut batch = make_pass(&policy, self.prompt_weight, &value, self.weight);
        if self.parts > 1 {
            // Every part is divided by the weight of the whole step, so that the parts' gradients
            // add up to that of one big pass.
            if let Some(targets) = &mut batch.policy {
                targets.total = policy_targets(&all_policy, 0, 0, self.prompt_weight).total;
            }
            if let Some(targets) = &mut batch.value {
                targets.total = value_targets(&all_value, 0, 0, self.weight).total;
            }
        }
        batch
    }
}

/// Passes over cached hidden states, `[n, hidden]`: a step is a draw of positions.
pub(crate) struct HiddenPasses {
    pub hidden: Tensor<2>,
    pub targets: Targets<f32>,
    pub plan: Vec<Vec<usize>>,
}

impl Passes for HiddenPasses {
    fn pass(&self, step: usize, _: usize) -> Batch {
        let mut targets = Targets::empty();
        for &i in &self.plan[step] {
            targets.positions.push(i as i32);
            targets.wanted.push(self.targets.wanted[i]);
            targets.weights.push(self.targets.weights[i]);
            targets.total += f64::from(self.targets.weights[i]);
        }
        Batch {
            source: Source::Hidden(self.hidden.clone()),
            policy: None,
            value: Some(targets),
        }
    }
}
