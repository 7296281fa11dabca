//! Statistics beside those of scipy and statsmodels, losses and advantages beside those of TRL.

use super::*;

/// Numbers in [0, 1) that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() * end as f64) as usize
    }
}

/// What `script` says of `cases`; `None`, with a line that says so, where Python lacks `package`.
fn reference(package: &str, script: &str, cases: &Value) -> Option<Value> {
    let python = python::with(package)?;
    let find = format!("import importlib.util as u, sys; sys.exit(not u.find_spec({package:?}))");
    let found = std::process::Command::new(&python)
        .args(["-c", &find])
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("skipped: {} has no {package}", python.display());
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cases.json");
    fs::write(&file, cases.to_string()).unwrap();
    Some(python::json(&python, script, &[file.as_os_str()]))
}

fn near(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    let apart = (found - expected).abs() / expected.abs().max(1.0);
    assert!(apart <= tolerance, "{what}: {found} instead of {expected}");
}

#[test]
fn tests_and_intervals_are_those_of_scipy_and_statsmodels() {
    let mut numbers = Numbers(7);
    let differences: Vec<Vec<i64>> = (2..15)
        .map(|n| (0..n).map(|_| numbers.below(6) as i64 - 2).collect())
        .collect();
    let counts = [[0, 3], [10, 2], [7, 7], [59, 121], [400, 340]];
    let p = [0.01, 0.04, 0.03, 0.005, 0.6];
    let values = [
        vec![0.532, 0.551, 0.498],
        vec![0.1, 0.4],
        (0..30).map(f64::from).collect(),
    ];
    let mut marks = |seeds: usize, questions: usize| -> Vec<Vec<bool>> {
        let ease: Vec<f64> = (0..questions).map(|_| numbers.next()).collect();
        let mut seed = || ease.iter().map(|e| numbers.next() < *e).collect();
        (0..seeds).map(|_| seed()).collect()
    };
    let right = [marks(1, 120), marks(3, 120), marks(5, 300)];
    let cases = serde_json::json!({
        "differences": differences, "counts": counts, "p": p, "values": values,
        "right": right.iter().map(|case| case.iter().map(|seed| {
            seed.iter().map(|&mark| u8::from(mark)).collect::<Vec<u8>>()
        }).collect::<Vec<_>>()).collect::<Vec<_>>(),
    });
    let Some(found) = reference("statsmodels", "statistics_reference.py", &cases) else {
        return;
    };
    for (index, case) in differences.iter().enumerate() {
        let what = format!("{case:?}");
        near(sign_flip(case), &found["differences"][index], 1e-9, &what);
    }
    for (index, [b, c]) in counts.into_iter().enumerate() {
        let expected = &found["counts"][index];
        near(McNemar::from_counts(b, c).p, expected, 1e-9, "McNemar");
        let all = [vec![1; b as usize], vec![-1; c as usize]].concat();
        near(sign_flip(&all), expected, 1e-9, "McNemar by flips");
    }
    for (index, p) in holm(&p).into_iter().enumerate() {
        near(p, &found["holm"][index], 1e-12, "Holm");
    }
    for (index, values) in values.iter().enumerate() {
        let interval = student(values).unwrap();
        near(
            interval.low,
            &found["values"][index][0],
            1e-6,
            "Student, low",
        );
        near(
            interval.high,
            &found["values"][index][1],
            1e-6,
            "Student, high",
        );
    }
    for (index, right) in right.iter().enumerate() {
        let means = resampled_means(std::slice::from_ref(right), RESAMPLES).remove(0);
        let interval = percentiles(means);
        // Both are draws; a percentile of 10,000 of them is sure to about a twentieth of the spread.
        near(
            interval.low,
            &found["right"][index][0],
            0.012,
            "bootstrap, low",
        );
        near(
            interval.high,
            &found["right"][index][1],
            0.012,
            "bootstrap, high",
        );
    }
}

#[test]
fn policy_losses_and_their_gradients_are_those_of_trl() {
    const VOCABULARY: usize = 9;
    let mut numbers = Numbers(3);
    let mut wants = Vec::new();
    let [mut imitate, mut prefer, mut push] = [(); 3].map(|()| Vec::new());
    for case in 0..90 {
        let logits: Vec<f32> = (0..VOCABULARY)
            .map(|_| 6.0 * numbers.next() as f32 - 3.0)
            .collect();
        let exact: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        let token = numbers.below(VOCABULARY);
        let total: f64 = exact.iter().map(|x| x.exp()).sum();
        let log_prob = exact[token] - total.ln();
        if case % 3 == 0 {
            imitate.push(serde_json::json!({"logits": exact, "token": token}));
            wants.push((0, logits, token, Pull::Imitate));
        } else if case % 3 == 1 {
            let rival = (token + 1 + numbers.below(VOCABULARY - 1)) % VOCABULARY;
            // In 64ths, so that their difference is exact.
            let [chosen, rejected] = [(); 2].map(|()| numbers.below(320) as f32 / -64.0);
            let beta = 0.05 + 2.0 * numbers.next() as f32;
            prefer.push(serde_json::json!({
                "logits": exact, "token": token, "rival": rival, "beta": f64::from(beta),
                "reference": [chosen, rejected],
            }));
            let pull = Pull::Prefer {
                rival: rival as u32,
                reference: chosen - rejected,
                beta,
            };
            wants.push((1, logits, token, pull));
        } else {
            // Ratios from e^-1 to e, inside the clip and outside, for advantages of either sign.
            let old = (log_prob + 2.0 * numbers.next() - 1.0) as f32;
            let advantage = 4.0 * numbers.next() as f32 - 2.0;
            let clip = 0.1 + 0.2 * numbers.next() as f32;
            let kl = if case % 2 == 0 {
                0.0
            } else {
                0.2 * numbers.next() as f32
            };
            let [a, o, c, k] = [advantage, old, clip, kl].map(f64::from);
            push.push(serde_json::json!({
                "logits": exact, "token": token, "advantage": a, "old": o, "clip": c, "kl": k,
            }));
            let pull = Pull::Push {
                advantage,
                old,
                clip,
                kl,
            };
            wants.push((2, logits, token, pull));
        }
    }
    let groups: Vec<Vec<f64>> = (1..20)
        .map(|n| {
            (0..n)
                .map(|_| numbers.below(5) as f64 / 2.0 - 1.0)
                .collect()
        })
        .chain([vec![0.1; 6], vec![1.0; 3]])
        .collect();
    let cases = serde_json::json!({
        "imitate": imitate, "prefer": prefer, "push": push, "groups": groups,
    });
    let Some(found) = reference("trl", "trl_losses.py", &cases) else {
        return;
    };
    let mut seen = [0; 3];
    for (kind, mut logits, token, pull) in wants {
        let name = ["imitate", "prefer", "push"][kind];
        let expected = &found[name][seen[kind]];
        seen[kind] += 1;
        let want = Want {
            token: token as u32,
            pull,
        };
        let what = format!("{want:?}");
        near(want.apply(&mut logits, 1.0), &expected["loss"], 1e-6, &what);
        for (index, slope) in logits.iter().enumerate() {
            near(f64::from(*slope), &expected["gradient"][index], 1e-6, &what);
        }
    }
    assert_eq!(seen, [30; 3]);
    for (returns, expected) in groups.iter().zip(found["groups"].as_array().unwrap()) {
        let once: Vec<(f64, f64)> = returns.iter().map(|&of| (of, 1.0)).collect();
        let advantages = group_advantages(&once);
        assert_eq!(expected.as_array().unwrap().len(), advantages.len());
        for (index, advantage) in advantages.into_iter().enumerate() {
            // TRL's n / (n - 1) is an f32.
            near(advantage, &expected[index], 1e-6, &format!("{returns:?}"));
        }
    }
}
