//! Exports give the same numbers in transformers.

use super::*;
use serde_json::json;
use std::path::PathBuf;
use tokenzero::model::card::Card;
use tokenzero::model::checkpoint::load_value;
use tokenzero::model::export::{export_policy, export_value};
use tokenzero::model::weights::StoredType::F32;

#[track_caller]
fn assert_close(ours: &[f32], theirs: &str) {
    let theirs: Vec<f32> = serde_json::from_str(theirs).unwrap();
    assert_eq!(ours.len(), theirs.len());
    let scale = ours.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    assert!(scale > 0.1, "the logits are too small to compare: {scale}");
    let difference = (ours.iter().zip(&theirs)).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(difference < 1e-4, "{difference}");
}

/// Runs exported models, each a kind and a directory, and compares their logits with ours.
#[track_caller]
fn compare_logits(python: &OsStr, models: &[(&str, PathBuf)], ours: &[Vec<f32>]) {
    let tokens = json!(TOKENS).to_string();
    let mut args = vec![tokens.as_str()];
    for (kind, dir) in models {
        args.extend([kind, dir.to_str().unwrap()]);
    }
    let output = run(python, "transformers_logits.py", &args, String::new());
    assert_eq!(output.lines().count(), ours.len());
    for (ours, theirs) in ours.iter().zip(output.lines()) {
        assert_close(ours, theirs);
    }
}

#[test]
fn exported_policies_give_the_same_logits_in_transformers() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut models, mut ours) = (Vec::new(), Vec::new());
    for (i, config) in configs().iter().enumerate() {
        let out = dir.path().join(i.to_string());
        let checkpoint = checkpoint(config, None);
        export_policy(&checkpoint, &out, &Card::default(), F32).unwrap();
        ours.push(policy_logits(&checkpoint.policy));
        models.push(("policy", out));
    }
    compare_logits(&python, &models, &ours);
}

#[test]
fn exported_value_nets_give_the_same_logits_in_transformers() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut models, mut ours) = (Vec::new(), Vec::new());
    for (i, config) in configs().iter().enumerate() {
        let (kind, name) = [(HeadKind::Linear, "linear"), (HeadKind::Mlp, "mlp")][i % 2];
        let head = match i {
            0 | 1 => head(kind, config.hidden_size),
            _ => ensemble(kind, config.hidden_size, isotonic()),
        };
        let value = match i {
            0 | 1 => Value::Shared(head),
            _ => Value::Separate {
                trunk: decoder(config, 2),
                head,
            },
        };
        let out = dir.path().join(i.to_string());
        let checkpoint = checkpoint(config, Some(value));
        export_value(&checkpoint, &out, &Card::default(), F32).unwrap();
        let logits = match checkpoint.value.as_ref().unwrap() {
            Value::Shared(head) => value_logits(&checkpoint.policy, head),
            Value::Separate { trunk, head } => value_logits(trunk, head),
        };
        // And it serves as a value net again.
        match load_value(&out, config, &Device::flex()).unwrap() {
            Value::Shared(_) => panic!("an exported net has its own trunk"),
            Value::Separate { trunk, head } => assert_eq!(value_logits(&trunk, &head), logits),
        }
        ours.push(logits);
        models.push((name, out));
    }
    compare_logits(&python, &models, &ours);
}

#[test]
fn exported_ensembles_are_read_as_their_card_says() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = &configs()[0];
    let temperature = Calibration::Temperature {
        scale: 1.5,
        bias: -0.25,
    };
    let mut ours = Vec::new();
    let mut folders = Vec::new();
    for kind in [HeadKind::Linear, HeadKind::Mlp] {
        for map in [isotonic(), temperature.clone(), Calibration::None] {
            let head = ensemble(kind, config.hidden_size, map);
            let members = head.members(hidden(&decoder(config, 1)));
            let members: Vec<f32> = members.into_data().try_to_vec().unwrap();
            let merged = members.chunks(3).map(|m| head.readout.merge(m).value);
            ours.push(merged.collect::<Vec<f32>>());
            let out = dir.path().join(ours.len().to_string());
            let checkpoint = checkpoint(config, Some(Value::Shared(head)));
            export_value(&checkpoint, &out, &Card::default(), F32).unwrap();
            folders.push(out.display().to_string());
        }
    }
    let tokens = json!(TOKENS).to_string();
    let mut args = vec![tokens.as_str()];
    args.extend(folders.iter().map(String::as_str));
    let output = run(&python, "card_values.py", &args, String::new());
    assert_eq!(output.lines().count(), ours.len());
    for (ours, theirs) in ours.iter().zip(output.lines()) {
        assert_close(ours, theirs);
    }
}
