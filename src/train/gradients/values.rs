//! Gradients of every value head and loss, with siblings ranked and questions resampled.

use super::*;
use crate::model::HeadShape;
use crate::train::draw::Draw;
use crate::train::loss::Criterion;
use crate::train::passes::Drawing;
use crate::train::siblings::Resample;

/// Heads of every shape with the losses that go with them, siblings ranked and questions resampled where
/// there are several members.
fn family() -> Vec<(HeadShape, Criterion)> {
    let shape = |kind, bins, members| HeadShape {
        kind,
        width: 6,
        bins,
        members,
    };
    let criterion = |loss, ranking| Criterion {
        ranking,
        temperature: 0.4,
        ..Criterion::from(loss)
    };
    vec![
        (
            shape(HeadKind::Mlp, 5, 1),
            criterion(ValueLoss::HlGauss, 0.0),
        ),
        (shape(HeadKind::Mlp, 1, 1), criterion(ValueLoss::Bce, 1.5)),
        (shape(HeadKind::Mlp, 1, 3), criterion(ValueLoss::Mse, 0.0)),
        (
            shape(HeadKind::Linear, 5, 2),
            criterion(ValueLoss::HlGauss, 0.8),
        ),
        (
            shape(HeadKind::Mlp, 4, 3),
            criterion(ValueLoss::HlGauss, 0.8),
        ),
    ]
}

/// A net of the family, with weights that are not zero anywhere.
fn member_of_family(shape: HeadShape, criterion: Criterion) -> Trainee {
    let device = Device::flex();
    let mut one = trainee(criterion.loss, LOGITS_AT_ONCE);
    let mut head = ValueHead::shaped(shape, config().hidden_size, 3, &device);
    let dims = head.score.dims();
    let score: Vec<f32> = (0..dims[0] * dims[1])
        .map(|i| 0.4 * ((i * 7) % 5) as f32 - 0.7)
        .collect();
    head.score = Param::from_data(TensorData::new(score, dims), &device);
    one.head = Some(free(head, |_| true));
    one.shared.objective.criterion = criterion;
    one
}

/// One step over six trajectories of two questions, which part after three tokens, cut into `parts`.
fn sibling_passes(members: usize, parts: usize) -> Vec<Batch> {
    let (_, mut trajectories) = examples();
    let trunk = trajectories[5].tokens.clone();
    for (index, example) in trajectories.iter_mut().enumerate() {
        example.question = index as u64 / 3;
        example.tokens[..3].copy_from_slice(&trunk[..3]);
        example.tokens[3] = index as u32;
    }
    let drawing = Drawing {
        draw: Draw::Questions,
        siblings: 3,
        ranked: true,
        resample: Resample::new([0, 1].into_iter(), members, 1),
    };
    let mut all = TokenPasses::new(WEIGHT)
        .drawn(drawing)
        .with_values(trajectories, 6, 1, 0);
    all.parts = parts;
    (0..parts).flat_map(|part| all.pass(0, part)).collect()
}

#[test]
fn gradients_of_every_head_and_loss_match_finite_differences_and_autodiff() {
    for (shape, criterion) in family() {
        let passes = sibling_passes(shape.members, 1);
        assert!(passes[0].pairs.list.len() > 5, "{:?}", passes[0].pairs);
        for by_hand in [false, true] {
            let mut one = member_of_family(shape, criterion);
            one.shared.objective.by_hand = by_hand;
            check_one(&one, &passes);
        }
        for parts in [1, 2] {
            let passes = sibling_passes(shape.members, parts);
            let [(burn, a), (own, b)] = both(member_of_family(shape, criterion), &passes);
            assert!((burn - own).abs() < 1e-5 * burn.abs(), "{burn} and {own}");
            for (index, (a, b)) in a.iter().zip(&b).enumerate() {
                let difference: Vec<f32> = a.iter().zip(b).map(|(x, y)| x - y).collect();
                assert!(
                    norm(&difference) < 1e-6 + 5e-5 * norm(a),
                    "{shape:?}, parameter {index}: {} of {}",
                    norm(&difference),
                    norm(a)
                );
            }
        }
    }
}

#[test]
fn pairs_and_copies_of_the_parts_of_a_step_add_up_to_the_whole() {
    for (shape, criterion) in family() {
        let one = member_of_family(shape, criterion);
        let (whole, grads) = one.passes(&sibling_passes(shape.members, 1));
        let parts = sibling_passes(shape.members, 2);
        assert_eq!(parts.len(), 2, "each question is a part");
        let (sum, in_parts) = one.passes(&parts);
        assert!((whole.loss - sum.loss).abs() < 1e-5);
        assert_same(&flat(&one, &grads), &flat(&one, &in_parts));
    }
}

/// Two of the questions begin alike: in the order of the tokens alone, their trajectories would stand
/// between each other's.
#[test]
fn a_step_is_cut_only_between_questions_whose_trajectories_are_compared() {
    let example = |question, tokens: &[u32], last: f32| ValueExample {
        tokens: tokens.to_vec(),
        first: 1,
        targets: (2..tokens.len()).map(|_| 0.0).chain([last]).collect(),
        weights: vec![4.0; tokens.len() - 1],
        question,
        outcome: last,
        probabilities: Vec::new(),
    };
    let trajectories = vec![
        example(0, &[1, 2, 3, 4], 1.0),
        example(0, &[1, 2, 7, 4], -1.0),
        example(1, &[1, 2, 5, 4, 4, 4], 0.5),
        example(1, &[1, 2, 9, 4, 4, 4], -0.5),
        example(2, &[3, 2, 9, 4], 0.5),
        example(2, &[3, 2, 8, 4], 0.25),
    ];
    let passes = |parts, pieces| {
        let drawing = Drawing {
            siblings: 2,
            ranked: true,
            ..Drawing::default()
        };
        let mut all =
            TokenPasses::new(WEIGHT)
                .drawn(drawing)
                .with_values(trajectories.clone(), 6, 1, 0);
        (all.parts, all.pieces) = (parts, pieces);
        let each = (0..parts).map(|part| all.pass(0, part));
        each.collect::<Vec<Vec<Batch>>>()
    };
    let whole = passes(1, 1).concat();
    assert_eq!(whole[0].pairs.list.len(), 3);
    for (parts, pieces) in [(1, 3), (3, 1), (2, 2), (5, 4)] {
        let cut = passes(parts, pieces);
        assert_eq!(cut.len(), parts);
        let cut = cut.concat();
        let pairs = cut.iter().map(|batch| batch.pairs.list.len());
        assert_eq!(pairs.sum::<usize>(), 3, "{parts} parts, {pieces} pieces");
        assert!(cut.iter().all(|b| b.pairs.total == whole[0].pairs.total));
        let mut met: Vec<u64> = Vec::new();
        for batch in &cut {
            let of: std::collections::BTreeSet<u64> = batch.questions.iter().copied().collect();
            met.extend(of);
        }
        met.sort_unstable();
        assert_eq!(met, [0, 1, 2]);
    }
    // What a part without examples computes is nothing.
    let one = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let empty = one.passes(&[]).0;
    assert_eq!((empty.loss, empty.tokens), (0.0, 0));
}
