//! Fits of value nets and heads.

use super::*;

#[test]
fn a_value_net_learns_a_tiny_set_by_heart() {
    let monitor = quiet();
    let params = fit_value::Params {
        kind: Kind::Trunk,
        loss: ValueLoss::Mse,
        steps: 300,
        lr: 3e-3,
        weight_decay: 0.0,
        validation: 0.0,
        ..Default::default()
    };
    let examples = trajectories();
    let (trunk, head, _) = fit_value(
        &model(),
        &head(),
        &examples,
        &params,
        &Context::new(&monitor),
    )
    .unwrap();
    let found = values(&trunk, &head, &examples);
    let (mut error, mut n) = (0.0, 0.0);
    for (row, example) in found.iter().zip(&examples) {
        for (v, t) in row.iter().zip(&example.targets) {
            error += (v - f64::from(*t)).powi(2);
            n += 1.0;
        }
    }
    assert!(error / n < 1e-3, "{}", error / n);
}

fn shaped(bins: usize, members: usize) -> ValueHead {
    let shape = HeadShape {
        kind: HeadKind::Mlp,
        width: 32,
        bins,
        members,
    };
    ValueHead::shaped(shape, 32, 2, &device())
}

#[test]
fn histogram_losses_are_those_of_the_published_code() {
    let Some(python) = python::with("torch") else {
        return;
    };
    let mut cases = Vec::new();
    for (bins, ratio) in [(2, 0.5), (21, 0.75), (51, 0.75), (51, 2.0)] {
        for target in [-1.0, -0.37, 0.0, 0.5, 0.993, 1.0] {
            let logits: Vec<f64> = (0..bins)
                .map(|i| ((i * 7) % 11) as f64 / 4.0 - 1.2)
                .collect();
            cases.push((logits, target, ratio));
        }
    }
    let given = serde_json::to_string(&cases).unwrap();
    let found = python::json(&python, "hl_gauss.py", &[OsStr::new(&given)]);
    let found: Vec<(f64, Vec<f64>)> = serde_json::from_value(found).unwrap();
    assert_eq!(found.len(), cases.len());
    for ((logits, target, sigma), (loss, gradient)) in cases.into_iter().zip(found) {
        let criterion = Criterion {
            sigma,
            ..ValueLoss::HlGauss.into()
        };
        let own = criterion.of(&logits, target);
        assert!((own - loss).abs() < 1e-9, "{target}: {own} and {loss}");
        for (a, b) in criterion.slopes(&logits, target).iter().zip(gradient) {
            assert!((a - b).abs() < 1e-9, "{target}: {a} and {b}");
        }
    }
}

#[test]
fn a_distribution_over_returns_learns_a_tiny_set_by_heart() {
    let monitor = quiet();
    let params = fit_value::Params {
        kind: Kind::Trunk,
        loss: ValueLoss::HlGauss,
        steps: 300,
        lr: 3e-3,
        weight_decay: 0.0,
        validation: 0.0,
        ..Default::default()
    };
    let (examples, context) = (trajectories(), Context::new(&monitor));
    let (trunk, head, _) =
        fit_value(&model(), &shaped(21, 1), &examples, &params, &context).unwrap();
    for (row, example) in values(&trunk, &head, &examples).iter().zip(&examples) {
        for (v, t) in row.iter().zip(&example.targets) {
            assert!((v - f64::from(*t)).abs() < 0.1, "{v} instead of {t}");
        }
    }
    let wrong = fit_value::Params {
        loss: ValueLoss::Bce,
        ..params
    };
    let error = fit_value(&model(), &shaped(21, 1), &examples, &wrong, &context).unwrap_err();
    assert!(error.to_string().contains("head with bins"), "{error}");
}

#[test]
fn members_of_an_ensemble_go_their_own_ways_and_agree_where_they_were_trained() {
    let monitor = quiet();
    for kind in [Kind::Head, Kind::Trunk] {
        let params = fit_value::Params {
            kind,
            steps: 150,
            lr: 1e-2,
            draw: Draw::Balanced,
            siblings: 2,
            ranking: 0.5,
            validation: 0.0,
            ..Default::default()
        };
        let fit = || {
            let context = Context::new(&monitor);
            fit_value(&model(), &shaped(1, 3), &trajectories(), &params, &context).unwrap()
        };
        let (_, head, report) = fit();
        assert_eq!(bits(&head.weights()), bits(&fit().1.weights()));
        assert!(report.train_loss < 0.9, "{report:?}");
        let score = &head.weights()[2];
        assert_eq!(score.shape, [3, 32]);
        let member = |i: usize| &score.data[i * 32..(i + 1) * 32];
        assert!(member(0) != member(1) && member(1) != member(2));
    }
}

#[test]
fn a_calibrated_head_says_what_its_map_makes_of_it() {
    let monitor = quiet();
    let fit = |members: usize, calibrate| {
        let params = fit_value::Params {
            steps: 30,
            lr: 1e-2,
            validation: 0.5,
            calibrate,
            ..Default::default()
        };
        let context = Context::new(&monitor);
        let (trunk, head, report) = fit_value(
            &model(),
            &shaped(1, members),
            &trajectories(),
            &params,
            &context,
        )
        .unwrap();
        (values(&trunk, &head, &trajectories()), head, report)
    };
    for members in [1, 2] {
        let (plain, _, report) = fit(members, Calibrate::None);
        assert!(report.calibration.is_none());
        for how in [Calibrate::Temperature, Calibrate::Isotonic] {
            let (calibrated, head, report) = fit(members, how);
            let map = report.calibration.unwrap().map;
            // Scaled and shifted logits of one member need no map of their own.
            let folded = members == 1 && how == Calibrate::Temperature;
            assert_eq!(head.readout.calibration == Calibration::None, folded);
            for (a, b) in plain.concat().iter().zip(calibrated.concat()) {
                let expected = f64::from(map.apply(*a as f32));
                assert!((expected - b).abs() < 1e-5, "{how:?}: {expected} and {b}");
            }
            assert!(plain.concat() != calibrated.concat());
        }
    }
}

#[test]
fn a_head_on_a_frozen_trunk_learns_and_the_trunk_stays() {
    let monitor = quiet();
    let params = fit_value::Params {
        kind: Kind::Head,
        steps: 200,
        lr: 1e-2,
        validation: 0.4,
        ..Default::default()
    };
    let start = model();
    let (trunk, fitted, report) = fit_value(
        &start,
        &head(),
        &trajectories(),
        &params,
        &Context::new(&monitor),
    )
    .unwrap();
    assert_eq!(bits(&start.weights()), bits(&trunk.weights()));
    assert_ne!(bits(&head().weights()), bits(&fitted.weights()));
    // An untrained head says 0 everywhere: a cross-entropy of ln 2.
    assert!(report.train_loss < 0.6, "{report:?}");
    let value = report.value.unwrap();
    assert!(value.trajectories > 0 && value.brier.is_some(), "{value:?}");
    assert!((report.valid_loss.unwrap() - value.loss.unwrap()).abs() < 1e-4);
    // Both trajectories of a question share nothing but the chance to be told apart.
    assert!(
        value
            .ranking
            .iter()
            .flatten()
            .all(|r| (0.0..=1.0).contains(r))
    );
}
