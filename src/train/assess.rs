//! Judges a value on held-out trajectories.

use super::batch::VisitWeight;
use super::example::ValueExample;
use super::learner::{Source, hidden_states};
use super::loss::{Criterion, value_of};
use super::metrics::{Scored, auc, brier, ece, explained_variance, ranking, reliability};
use super::passes::{TokenPasses, reading};
use super::report::Assessment;
use crate::model::{Calibration, Decoder, Readout, ValueHead};
use burn::tensor::{Int, Tensor, TensorData};

/// Rows in a pass.
const ROWS: usize = 64;

/// Values of `examples` at every position that has a target, in their order: one list for each.
///
/// `trunk` and `head` are the pair that a search would use; neither needs autodiff.
pub fn values(trunk: &Decoder, head: &ValueHead, examples: &[ValueExample]) -> Vec<Vec<f64>> {
    logits(trunk, head, examples)
        .into_iter()
        .map(|row| each_value(&head.readout, &row))
        .collect()
}

/// The value at each position of a trajectory, from the logits of all its positions.
fn each_value(readout: &Readout, logits: &[f64]) -> Vec<f64> {
    let one = |logits: &[f64]| {
        let members = logits.chunks_exact(readout.bins).map(value_of);
        let mean = members.sum::<f64>() / readout.members as f64;
        match &readout.calibration {
            Calibration::None | Calibration::Features(_) => mean,
            map => map.apply(mean as f32).into(),
        }
    };
    logits.chunks_exact(readout.outputs()).map(one).collect()
}

/// The logits at every position that has a target, one after the other: a list for each example.
fn logits(trunk: &Decoder, head: &ValueHead, examples: &[ValueExample]) -> Vec<Vec<f64>> {
    let device = trunk.embedding.val().device();
    let every: Vec<&ValueExample> = examples.iter().collect();
    let mut all = vec![Vec::new(); examples.len()];
    // Every position counts here, visited or not.
    let weight = VisitWeight {
        cap: 1.0,
        power: 0.0,
    };
    for chunk in reading(trunk, &every, ROWS) {
        let rows: Vec<&ValueExample> = chunk.iter().map(|&i| &examples[i]).collect();
        for batch in TokenPasses::of_values(&rows, rows.len(), weight) {
            let Source::Tokens(tokens) = &batch.source else {
                continue;
            };
            let hidden = hidden_states(trunk, tokens, &device);
            let mut positions = Vec::new();
            for (row, example) in rows.iter().enumerate() {
                let start = row * tokens.time + example.first;
                positions.extend((0..example.targets.len()).map(|i| (start + i) as i32));
            }
            let n = positions.len();
            let at = Tensor::<1, Int>::from_data(TensorData::new(positions, [n]), &device);
            let found = crate::model::layout::floats(head.logits(hidden.select(0, at)));
            let mut found = found.into_iter().map(f64::from);
            for (&i, example) in chunk.iter().zip(&rows) {
                let count = example.targets.len() * head.readout.outputs();
                all[i] = found.by_ref().take(count).collect();
            }
        }
    }
    all
}

/// Judges a value net on `examples`, which should be of questions that no fit saw.
pub fn assess(
    trunk: &Decoder,
    head: &ValueHead,
    examples: &[ValueExample],
    criterion: impl Into<Criterion>,
    weight: VisitWeight,
) -> Assessment {
    let (criterion, readout) = (criterion.into(), &head.readout);
    let logits = logits(trunk, head, examples);
    let (mut total, mut weights) = (0.0, 0.0);
    let mut items = Vec::new();
    let mut by_depth: [Vec<Scored>; 4] = Default::default();
    for (example, row) in examples.iter().zip(&logits) {
        let found = each_value(readout, row);
        let positions = row.chunks_exact(readout.outputs()).zip(&found);
        let targets = example.targets.iter().zip(&example.weights);
        for ((logits, &value), (&target, &visits)) in positions.zip(targets) {
            let w = f64::from(weight.of(visits));
            let members = logits.chunks_exact(readout.bins);
            let loss: f64 = members.map(|x| criterion.of(x, f64::from(target))).sum();
            total += w * loss / readout.members as f64;
            weights += w;
            items.push((value, f64::from(target), w));
        }
        let last = found.len() - 1;
        let places = [0, last / 3, 2 * last / 3, last];
        for (depth, place) in by_depth.iter_mut().zip(places) {
            depth.push(Scored {
                question: example.question,
                score: found[place],
                correct: example.outcome > 0.0,
            });
        }
    }
    let scores = |items: &[Scored]| -> Vec<(f64, bool)> {
        items.iter().map(|s| (s.score, s.correct)).collect()
    };
    let pooled: Vec<(f64, bool)> = by_depth.iter().flat_map(|d| scores(d)).collect();
    let probabilities: Vec<(f64, bool)> = pooled.iter().map(|s| ((s.0 + 1.0) / 2.0, s.1)).collect();
    let bins = reliability(&probabilities);
    Assessment {
        trajectories: examples.len(),
        loss: (weights > 0.0).then(|| total / weights),
        brier: brier(&probabilities),
        ece: ece(&bins),
        explained_variance: explained_variance(&items),
        reliability: bins,
        auc: auc(&pooled),
        auc_by_depth: by_depth.each_ref().map(|d| auc(&scores(d))),
        ranking: by_depth.each_ref().map(|d| ranking(d)),
    }
}
