//! The passes of a fit: which examples, as which rows and targets.

use super::batch::{
    Rows, Targets, VisitWeight, plan, policy_input, policy_targets, value_input, value_targets,
};
use super::draw::{self, Draw};
use super::example::{PolicyExample, ValueExample};
use super::learner::{Batch, Source};
use super::siblings::{Pairs, Resample};
use crate::model::Decoder;
use crate::model::device::is_cpu;
use burn::module::Module;
use burn::tensor::Tensor;
use std::ops::Range;

/// Makes the passes of a fit, each from its number alone, so that a fit can go on anywhere.
pub(crate) trait Passes: Send + Sync {
    /// Pass `part` of optimiser step `step`, in pieces whose losses and gradients add up to it.
    fn pass(&self, step: usize, part: usize) -> Vec<Batch>;
}

/// Rows that are worth a piece of their own.
const ROWS_IN_A_PIECE: usize = 8;

/// Pieces of a pass, whatever the number of cores: the sum of the gradients must not depend on it.
const PIECES: usize = 4;

/// Above this many parameters a piece keeps all cores busy by itself, and one gradient for each
/// piece would take too much memory.
pub(crate) const SMALL: usize = 1 << 24;

/// Into how many pieces a pass of `rows` rows is cut. The matrices of a small model are too small for
/// its products to use more than one core; then the pieces of a pass are computed side by side.
pub(crate) fn pieces(trunk: &Decoder, rows: usize) -> usize {
    let cpu = is_cpu(&trunk.embedding.val().device().inner());
    piece_count(cpu, trunk.num_params(), rows)
}

/// [`pieces`] of a trunk of `parameters`, on the CPU or elsewhere.
pub(crate) fn piece_count(cpu: bool, parameters: usize, rows: usize) -> usize {
    if cpu && parameters < SMALL {
        (rows / ROWS_IN_A_PIECE).clamp(1, PIECES)
    } else {
        1
    }
}

/// How a question's trajectories go into the steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drawing {
    pub draw: Draw,
    /// Trajectories of a question that stay together.
    pub group: usize,
    /// Whether they are compared.
    pub ranked: bool,
    pub resample: Resample,
}

impl Drawing {
    /// The pairs among `examples`, if they are compared.
    fn pairs(&self, examples: &[&ValueExample], weight: VisitWeight) -> Pairs {
        match self.ranked {
            true => Pairs::of(examples, weight),
            false => Pairs::default(),
        }
    }
}

/// Passes of a trunk: next-token rows, value rows, or both in one pass.
pub(crate) struct TokenPasses {
    pub policy: Vec<PolicyExample>,
    pub policy_plan: Vec<Vec<usize>>,
    pub prompt_weight: f32,
    pub value: Vec<ValueExample>,
    pub value_plan: Vec<Vec<usize>>,
    pub weight: VisitWeight,
    pub drawing: Drawing,
    /// Passes in a step.
    pub parts: usize,
    /// Pieces in a pass.
    pub pieces: usize,
}

impl TokenPasses {
    /// No examples yet; one pass a step, in one piece.
    pub fn new(weight: VisitWeight) -> Self {
        TokenPasses {
            policy: Vec::new(),
            policy_plan: Vec::new(),
            prompt_weight: 0.0,
            value: Vec::new(),
            value_plan: Vec::new(),
            weight,
            drawing: Drawing::default(),
            parts: 1,
            pieces: 1,
        }
    }

    /// With value examples, which are to come, drawn like this.
    pub fn drawn(self, drawing: Drawing) -> Self {
        TokenPasses { drawing, ..self }
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
        let Drawing { draw, group, .. } = self.drawing;
        TokenPasses {
            // Another order than that of the solutions beside them.
            value_plan: draw::order(&examples, batch, steps, seed ^ 0x5a5a, draw, group.max(1)),
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

/// Part `part` of `parts` of a step. The shares are even: none is empty as long as there are as many
/// examples as parts.
fn even(step: &[usize], part: usize, parts: usize) -> &[usize] {
    &step[part * step.len() / parts..(part + 1) * step.len() / parts]
}

fn pick<'a, T>(all: &'a [T], indices: &[usize]) -> Vec<&'a T> {
    indices.iter().map(|&i| &all[i]).collect()
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
    let ids = policy.iter().map(|e| e.question);
    Batch {
        source: Source::Tokens(rows),
        questions: ids.chain(value.iter().map(|e| e.question)).collect(),
        policy: policy_part,
        value: value_part,
        copies: Vec::new(),
        pairs: Pairs::default(),
    }
}

impl TokenPasses {
    /// Share `part` of `parts` of a step. Its targets are divided by the weight of the whole step.
    fn share(&self, step: usize, part: usize, parts: usize) -> Batch {
        let of = |plan: &'_ [Vec<usize>]| plan.get(step).cloned().unwrap_or_default();
        let (policy_step, value_step) = (of(&self.policy_plan), of(&self.value_plan));
        let policy = pick(&self.policy, even(&policy_step, part, parts));
        let value = pick(
            &self.value,
            match self.drawing.group > 1 {
                true => draw::share(&value_step, part, parts, &self.value),
                false => even(&value_step, part, parts),
            },
        );
        let mut batch = make_pass(&policy, self.prompt_weight, &value, self.weight);
        batch.copies = self.drawing.resample.of_targets(&value, self.weight);
        batch.pairs = self.drawing.pairs(&value, self.weight);
        if parts > 1 {
            if let Some(targets) = &mut batch.policy {
                let all = pick(&self.policy, &policy_step);
                targets.total = policy_targets(&all, 0, 0, self.prompt_weight).total;
            }
            let all = pick(&self.value, &value_step);
            if let Some(targets) = &mut batch.value {
                targets.total = value_targets(&all, 0, 0, self.weight).total;
            }
            batch.pairs.total = self.drawing.pairs(&all, self.weight).total;
        }
        batch
    }
}

impl Passes for TokenPasses {
    fn pass(&self, step: usize, part: usize) -> Vec<Batch> {
        (part * self.pieces..(part + 1) * self.pieces)
            .map(|share| self.share(step, share, self.parts * self.pieces))
            .filter(|batch| batch.policy.is_some() || batch.value.is_some())
            .collect()
    }
}

/// Passes over cached hidden states, `[n, hidden]`: a step is a draw of positions, or of the positions
/// of trajectories that stay together.
pub(crate) struct HiddenPasses {
    pub hidden: Tensor<2>,
    pub targets: Targets<f32>,
    pub value: Vec<ValueExample>,
    /// Where the weighted positions of each example are among the targets.
    pub spans: Vec<Range<usize>>,
    /// The question of each position.
    pub questions: Vec<u64>,
    pub weight: VisitWeight,
    pub drawing: Drawing,
    pub plan: HiddenPlan,
}

/// What each step of [`HiddenPasses`] draws.
pub(crate) enum HiddenPlan {
    /// Positions.
    Positions(Vec<Vec<usize>>),
    /// Examples.
    Examples(Vec<Vec<usize>>),
}

impl Passes for HiddenPasses {
    fn pass(&self, step: usize, _: usize) -> Vec<Batch> {
        let mut targets = Targets::empty();
        let (positions, copies, pairs) = match &self.plan {
            HiddenPlan::Positions(plan) => {
                let copies = |&i: &usize| self.drawing.resample.of(self.questions[i]);
                let copies = plan[step].iter().flat_map(copies).copied().collect();
                (plan[step].clone(), copies, Pairs::default())
            }
            HiddenPlan::Examples(plan) => {
                let examples = pick(&self.value, &plan[step]);
                let positions = plan[step].iter().flat_map(|&i| self.spans[i].clone());
                let copies = self.drawing.resample.of_targets(&examples, self.weight);
                (
                    positions.collect(),
                    copies,
                    self.drawing.pairs(&examples, self.weight),
                )
            }
        };
        for i in positions {
            targets.positions.push(i as i32);
            targets.wanted.push(self.targets.wanted[i]);
            targets.weights.push(self.targets.weights[i]);
            targets.total += f64::from(self.targets.weights[i]);
        }
        vec![Batch {
            source: Source::Hidden(Box::new(self.hidden.clone())),
            questions: Vec::new(),
            policy: None,
            value: Some(targets),
            copies,
            pairs,
        }]
    }
}
