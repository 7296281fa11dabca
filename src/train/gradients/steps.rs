//! Steps that are cut, rounded or not finite.

use super::*;

/// The gradients of all matrices, one after the other.
fn all_gradients(trainee: &Trainee, grads: &GradientsParams) -> Vec<f32> {
    struct Collect<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = self.0.get::<D>(param.id).unwrap();
            assert_eq!(
                grad.dtype(),
                DType::F32,
                "gradients are those of the masters"
            );
            self.1.extend(grad.into_data().try_to_vec::<f32>().unwrap());
        }
    }
    let mut all = Collect(grads, Vec::new());
    trainee.visit(&mut all);
    all.1
}

#[test]
fn passes_in_bfloat16_have_the_gradients_of_f32_up_to_its_rounding() {
    let batch = &passes(true, true, 1)[0];
    let exact = trainee(ValueLoss::Bce, 1 << 20);
    let mut rounded = exact.clone();
    rounded.trunk = rounded.trunk.map(|t| t.computing_in(DType::BF16));
    let (a, b) = (exact.pass(batch), rounded.pass(batch));
    assert_ne!(a.0.loss, b.0.loss, "nothing was computed in bfloat16");
    assert!(
        (a.0.loss - b.0.loss).abs() < 0.01 * a.0.loss,
        "{} {}",
        a.0.loss,
        b.0.loss
    );
    let (a, b) = (all_gradients(&exact, &a.1), all_gradients(&rounded, &b.1));
    let square = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let error = square(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / square(&mut a.iter().copied());
    assert!(error > 1e-5 && error < 0.03, "relative error {error}");
}

#[test]
fn a_step_whose_gradient_is_not_finite_is_skipped_and_five_in_a_row_end_the_fit() {
    use burn_train::TrainStep;
    let bits = |trainee: &Trainee| {
        let data = trainee.trunk.as_ref().unwrap().embedding.val().into_data();
        data.try_to_vec::<f32>().unwrap()
    };
    let batches = passes(true, true, 1);
    let mut trainee = trainee(ValueLoss::Mse, 1 << 20);
    let before = bits(&trainee);
    let mut optimiser = crate::train::optimiser::adamw(&crate::train::optimiser::Settings {
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.1,
    });
    let shared = trainee.shared.clone();
    for skipped in 1..=5 {
        let mut grads = trainee.step(batches.clone()).grads;
        let embedding = trainee.trunk.as_ref().unwrap().embedding.id;
        let grad = grads.remove::<2>(embedding).unwrap();
        grads.register(embedding, grad.div_scalar(0.0));
        trainee = trainee.optimize(&mut optimiser, 1e-3.into(), grads);
        let history = shared.history.lock().unwrap();
        assert_eq!(history.steps.iter().filter(|s| s.skipped).count(), skipped);
        let state = shared.state.lock().unwrap();
        assert_eq!(state.failure.is_some(), skipped == 5);
        assert!(state.questions.is_empty(), "they are those of one step");
    }
    assert_eq!(bits(&trainee), before);
    let error = shared
        .state
        .lock()
        .unwrap()
        .failure
        .take()
        .unwrap()
        .to_string();
    assert!(error.contains("questions [0, 1, 2"), "{error}");
}

#[test]
fn the_parts_of_a_step_add_up_to_the_whole() {
    let trainee = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let (whole, grads) = trainee.pass(&passes(true, true, 1)[0]);
    let expected = flat(&trainee, &grads);
    for parts in [2, 3, 6] {
        let mut sum: Vec<Vec<f32>> = expected.iter().map(|g| vec![0.0; g.len()]).collect();
        let mut loss = 0.0f64;
        for batch in passes(true, true, parts) {
            let (report, grads) = trainee.pass(&batch);
            loss += report.loss;
            for (total, g) in sum.iter_mut().zip(flat(&trainee, &grads)) {
                total.iter_mut().zip(g).for_each(|(t, x)| *t += x);
            }
        }
        assert!((loss - whole.loss).abs() < 1e-5);
        assert_same(&expected, &sum);
    }
}

#[test]
fn logits_in_pieces_give_the_same_gradient() {
    let batch = passes(true, true, 1).remove(0);
    let whole = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let (report, grads) = whole.pass(&batch);
    // Four positions at a time.
    let pieces = trainee(ValueLoss::Bce, 4 * 11);
    let (report_in_pieces, grads_in_pieces) = pieces.pass(&batch);
    assert!((report.loss - report_in_pieces.loss).abs() < 1e-5);
    assert!(global_norm(&whole, &grads) > 0.1);
    assert_same(&flat(&whole, &grads), &flat(&pieces, &grads_in_pieces));
}

/// Pieces keep the texts of a question together where they can, and a text of either kind is in one.
#[test]
fn a_step_is_cut_between_questions() {
    let mut all = TokenPasses::new(WEIGHT);
    let (mut solutions, mut trajectories) = (Vec::new(), Vec::new());
    for question in 0..8u64 {
        let (policy, value) = siblings();
        for (mut p, mut v) in policy.into_iter().zip(value).take(5) {
            for tokens in [&mut p.tokens, &mut v.tokens] {
                tokens[1] = 2 + question as u32;
            }
            (p.question, v.question) = (question, question);
            solutions.push(p);
            trajectories.push(v);
        }
    }
    all = all
        .with_policy(solutions, 40, 1, 0)
        .with_values(trajectories, 40, 1, 0);
    all.pieces = 4;
    let pieces = all.pass(0, 0);
    let mut questions: Vec<u64> = Vec::new();
    for piece in &pieces {
        let of: std::collections::BTreeSet<u64> = piece.questions.iter().copied().collect();
        assert_eq!((piece.questions.len(), of.len()), (20, 2));
        questions.extend(of);
    }
    questions.sort_unstable();
    assert_eq!(questions, [0, 1, 2, 3, 4, 5, 6, 7]);
    // Fewer questions than pieces: then within them.
    all.pieces = 16;
    let pieces = all.pass(0, 0);
    assert_eq!(pieces.len(), 16);
    assert!(pieces.iter().all(|piece| piece.questions.len() < 10));
}
