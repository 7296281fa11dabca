//! The passes of a fit: which examples, as which rows and targets.

use super::batch::{
    Rows, Targets, VisitWeight, policy_input, policy_targets, value_input, value_targets,
};
use super::draw::{self, Draw};
use super::example::{PolicyExample, ValueExample};
use super::learner::{Batch, Source};
use super::plan::{plan_beside, plan_together};
use super::siblings::{Pairs, Resample};
use super::trie::{shared, sorted};
use crate::model::Decoder;
use crate::model::device::is_cpu;
use burn::module::Module;
use burn::tensor::Tensor;
use std::collections::HashMap;
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

/// How a question's examples go into the steps.
#[derive(Debug, Clone)]
pub(crate) struct Drawing {
    pub draw: Draw,
    /// Examples of a question that are drawn together; 0 for all.
    pub siblings: usize,
    /// Whether trajectories are compared.
    pub ranked: bool,
    pub resample: Resample,
}

impl Default for Drawing {
    fn default() -> Self {
        Drawing {
            draw: Draw::Trajectories,
            siblings: 1,
            ranked: false,
            resample: Resample::default(),
        }
    }
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

    /// With examples, which are to come, drawn like this.
    pub fn drawn(self, drawing: Drawing) -> Self {
        TokenPasses { drawing, ..self }
    }

    /// With `batch` of `examples` in each of `steps` steps. Where siblings are drawn together, those of
    /// the step's trajectories come first.
    pub fn with_policy(
        self,
        examples: Vec<PolicyExample>,
        batch: usize,
        steps: usize,
        seed: u64,
    ) -> Self {
        let lengths: Vec<usize> = examples.iter().map(|e| e.tokens.len()).collect();
        let questions: Vec<u64> = examples.iter().map(|e| e.question).collect();
        let of = |step: &Vec<usize>| step.iter().map(|&i| self.value[i].question).collect();
        let siblings = self.drawing.siblings;
        TokenPasses {
            policy_plan: match siblings == 1 || self.value.is_empty() {
                true => plan_together(&lengths, &questions, siblings, batch, steps, seed),
                false => {
                    let beside: Vec<_> = self.value_plan.iter().map(of).collect();
                    plan_beside(&questions, &beside, batch, seed)
                }
            },
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
        let Drawing { draw, siblings, .. } = self.drawing;
        // Another order than that of the solutions beside them.
        let seed = seed ^ 0x5a5a;
        TokenPasses {
            value_plan: draw::order(&examples, batch, steps, seed, draw, siblings),
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

/// An example of a step.
#[derive(Clone, Copy)]
enum Item<'a> {
    Policy(&'a PolicyExample),
    Value(&'a ValueExample),
}

impl<'a> Item<'a> {
    fn input(self) -> &'a [u32] {
        match self {
            Item::Policy(example) => policy_input(example),
            Item::Value(example) => value_input(example),
        }
    }

    fn question(self) -> u64 {
        match self {
            Item::Policy(example) => example.question,
            Item::Value(example) => example.question,
        }
    }
}

/// The examples of either kind, in their order.
fn apart<'a>(items: &[Item<'a>]) -> (Vec<&'a PolicyExample>, Vec<&'a ValueExample>) {
    let (mut policy, mut value) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Policy(example) => policy.push(*example),
            Item::Value(example) => value.push(*example),
        }
    }
    (policy, value)
}

/// Cuts `items`, which are in the order of their tokens, into `shares` of about as many new tokens, none
/// empty while there are enough items. A cut goes between two questions, unless the next such place
/// is more than a quarter of a share away: siblings that part compute twice what they share. Where they
/// are to stay `whole`, it always does, even if that leaves a share empty.
fn cut(items: &[Item<'_>], shares: usize, whole: bool) -> Vec<Range<usize>> {
    let mut before = vec![0];
    for (i, item) in items.iter().enumerate() {
        let again = i
            .checked_sub(1)
            .map_or(0, |last| shared(items[last].input(), item.input()));
        before.push(before[i] + item.input().len() - again);
    }
    let total = before[items.len()];
    let mut ends = vec![0];
    for share in 1..shares {
        let least = (ends[share - 1] + 1).min(items.len());
        let most = match whole {
            true => items.len(),
            false => (items.len() + share).saturating_sub(shares).max(least),
        };
        let off = |i: &usize| (before[*i] * shares).abs_diff(total * share);
        let between = |&i: &usize| {
            let pair = items.get(i.wrapping_sub(1)).zip(items.get(i));
            pair.is_none_or(|(a, b)| a.question() != b.question())
        };
        let near = |i: &usize| whole || 4 * off(i) <= total;
        let place = (least..=most).filter(between).min_by_key(off).filter(near);
        ends.push(place.or((least..=most).min_by_key(off)).unwrap_or(least));
    }
    ends.push(items.len());
    ends.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Indices of `examples` for passes of up to `rows` rows without gradients. On the CPU those of a
/// question share a pass; elsewhere those of like length do, which saves padding.
pub(crate) fn reading(trunk: &Decoder, examples: &[&ValueExample], rows: usize) -> Vec<Vec<usize>> {
    if !is_cpu(&trunk.embedding.val().device().inner()) {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|&i| examples[i].needed());
        return order.chunks(rows).map(<[usize]>::to_vec).collect();
    }
    let inputs: Vec<&[u32]> = examples.iter().map(|e| value_input(e)).collect();
    let order = sorted(&inputs);
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for tree in order.chunk_by(|&a, &b| examples[a].question == examples[b].question) {
        match passes.last_mut() {
            Some(last) if last.len() + tree.len() <= rows => last.extend(tree),
            _ => passes.extend(tree.chunks(rows).map(<[usize]>::to_vec)),
        }
    }
    passes
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
    /// The examples of a step, in the order of their tokens, so that siblings stand together; those that
    /// are compared do even where another question begins like theirs.
    fn step(&self, step: usize) -> Vec<Item<'_>> {
        fn of(plan: &[Vec<usize>], step: usize) -> &[usize] {
            plan.get(step).map_or(&[], Vec::as_slice)
        }
        let policy = of(&self.policy_plan, step).iter();
        let value = of(&self.value_plan, step).iter();
        let mut items: Vec<Item<'_>> = policy.map(|&i| Item::Policy(&self.policy[i])).collect();
        items.extend(value.map(|&i| Item::Value(&self.value[i])));
        items.sort_by_key(|item| item.input());
        if self.drawing.ranked {
            let mut firsts: HashMap<u64, usize> = HashMap::new();
            for (place, item) in items.iter().enumerate() {
                firsts.entry(item.question()).or_insert(place);
            }
            items.sort_by_key(|item| firsts[&item.question()]);
        }
        items
    }

    /// A pass over `some` of a step's examples. Its targets are divided by the weight of `all`.
    fn share(&self, some: &[Item<'_>], all: &[Item<'_>]) -> Batch {
        let (policy, value) = apart(some);
        let mut batch = make_pass(&policy, self.prompt_weight, &value, self.weight);
        batch.copies = self.drawing.resample.of_targets(&value, self.weight);
        batch.pairs = self.drawing.pairs(&value, self.weight);
        if some.len() < all.len() {
            let (all_policy, all_value) = apart(all);
            if let Some(targets) = &mut batch.policy {
                targets.total = policy_targets(&all_policy, 0, 0, self.prompt_weight).total;
            }
            if let Some(targets) = &mut batch.value {
                targets.total = value_targets(&all_value, 0, 0, self.weight).total;
            }
            batch.pairs.total = self.drawing.pairs(&all_value, self.weight).total;
        }
        batch
    }
}

impl Passes for TokenPasses {
    fn pass(&self, step: usize, part: usize) -> Vec<Batch> {
        let all = self.step(step);
        let whole = self.drawing.ranked;
        let part = &all[cut(&all, self.parts, whole).swap_remove(part)];
        cut(part, self.pieces, whole)
            .into_iter()
            .map(|piece| self.share(&part[piece], &all))
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
                let examples: Vec<_> = plan[step].iter().map(|&i| &self.value[i]).collect();
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
