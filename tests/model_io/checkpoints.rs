//! Checkpoints come back as they were saved, or are refused with the reason.

use super::*;
use serde_json::json;
use tokenzero::model::card::Card;
use tokenzero::model::export::{ExportError, export_policy, export_value};
use tokenzero::model::weights::StoredType::{Bf16, F32};

#[test]
fn a_checkpoint_comes_back_as_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("iter-0001");
    let config = &configs()[1];
    let h = config.hidden_size;
    let values = [
        None,
        Some(Value::Shared(head(HeadKind::Linear, h))),
        Some(Value::Shared(head(HeadKind::Mlp, h))),
        Some(Value::Separate {
            trunk: decoder(config, 2),
            head: head(HeadKind::Linear, h),
        }),
        Some(Value::Separate {
            trunk: decoder(config, 2),
            head: head(HeadKind::Mlp, h),
        }),
        Some(Value::Shared(ensemble(HeadKind::Mlp, h, isotonic()))),
        Some(Value::Separate {
            trunk: decoder(config, 2),
            head: ensemble(HeadKind::Linear, h, isotonic()),
        }),
    ];
    // Each replaces the one before, whose files must not linger.
    for value in values {
        let saved = checkpoint(config, value);
        saved.save(&dir, F32).unwrap();
        let loaded = Checkpoint::load(&dir, &Device::flex()).unwrap();
        assert_eq!(loaded.config(), config);
        assert_eq!(loaded.policy.weights(), saved.policy.weights());
        assert_eq!(
            loaded.tokenizer.encode("1 make 2\n").unwrap(),
            [10, 2, 11, 1]
        );
        match (&loaded.value, &saved.value) {
            (None, None) => {}
            (Some(Value::Shared(a)), Some(Value::Shared(b))) => {
                assert_eq!(a.weights(), b.weights());
                assert_eq!(a.readout, b.readout);
            }
            (
                Some(Value::Separate { trunk: t, head: a }),
                Some(Value::Separate { trunk: u, head: b }),
            ) => {
                assert_eq!(a.weights(), b.weights());
                assert_eq!(a.readout, b.readout);
                assert_eq!(value_logits(t, a), value_logits(u, b));
            }
            _ => panic!("another kind of value net came back"),
        }
        let beside = std::fs::read_dir(dir.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "temporary folders were left");
    }
}

#[test]
fn half_the_bytes_load_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = tiny();
    tiny.save(&dir.path().join("half"), Bf16).unwrap();
    let loaded = Checkpoint::load(&dir.path().join("half"), &Device::flex()).unwrap();
    let (ours, theirs) = (policy_logits(&tiny.policy), policy_logits(&loaded.policy));
    let difference = (ours.iter().zip(&theirs)).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(difference > 0.0 && difference < 0.1, "{difference}");
}

#[test]
fn an_interrupted_save_changes_nothing_and_the_next_one_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, beside) = (dir.path().join("c"), dir.path().join(".c.partial"));
    tiny().save(&dir, F32).unwrap();
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("model.safetensors"), "half a file").unwrap();
    Checkpoint::load(&dir, &Device::flex()).unwrap();
    tiny().save(&dir, F32).unwrap();
    assert!(!beside.exists());
    Checkpoint::load(&dir, &Device::flex()).unwrap();
}

#[test]
fn an_export_does_not_overwrite() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("mine.txt");
    std::fs::write(&kept, "mine").unwrap();
    let result = export_policy(&tiny(), dir.path(), &Card::default(), F32);
    assert!(matches!(result, Err(ExportError::Occupied(_))));
    assert!(kept.exists());
    let result = export_value(&tiny(), &dir.path().join("v"), &Card::default(), F32);
    assert!(matches!(result, Err(ExportError::NoValue)));
    assert!(!dir.path().join("v").exists());
}

/// Saves a checkpoint, lets `damage` at it, and expects an error that says all of `words`.
#[track_caller]
fn assert_refused(words: &[&str], damage: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("c");
    let value = Value::Shared(head(HeadKind::Linear, configs()[0].hidden_size));
    checkpoint(&configs()[0], Some(value))
        .save(&dir, F32)
        .unwrap();
    damage(&dir);
    let message = match Checkpoint::load(&dir, &Device::flex()) {
        Ok(_) => panic!("a damaged checkpoint was loaded"),
        Err(error) => error.to_string(),
    };
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn damaged_checkpoints_are_refused_with_the_place_and_the_reason() {
    let truncate = |name: &'static str, to: usize| {
        move |dir: &Path| {
            let path = dir.join(name);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..to.min(bytes.len() - 1)]).unwrap();
        }
    };
    let remove =
        |name: &'static str| move |dir: &Path| std::fs::remove_file(dir.join(name)).unwrap();
    assert_refused(
        &["c/model.safetensors", "truncated"],
        truncate("model.safetensors", usize::MAX),
    );
    assert_refused(
        &["c/model.safetensors", "truncated"],
        truncate("model.safetensors", 100),
    );
    assert_refused(&["c/model.safetensors"], truncate("model.safetensors", 0));
    assert_refused(
        &["value/head.safetensors"],
        truncate("value/head.safetensors", 90),
    );
    assert_refused(
        &["no weights here", "model.safetensors"],
        remove("model.safetensors"),
    );
    assert_refused(&["no tokenizer.json"], remove("tokenizer.json"));
    assert_refused(&["c/tokenizer.json"], truncate("tokenizer.json", 500));
    assert_refused(&["config.json"], remove("config.json"));
    assert_refused(&["value/value.json"], remove("value/value.json"));
    assert_refused(&["value.json", "cubic"], |dir| {
        edit(&dir.join("value/value.json"), "linear", "cubic");
    });
    assert_refused(&["embed_tokens.weight", "[111, 32]", "[112, 32]"], |dir| {
        edit(
            &dir.join("config.json"),
            "\"vocab_size\": 111",
            "\"vocab_size\": 112",
        );
    });
    assert_refused(&["`model.layers.2.", "missing"], |dir| {
        edit(
            &dir.join("config.json"),
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
        );
    });
    assert_refused(&["110", "100 embeddings", "tokenizer.json"], |dir| {
        edit(
            &dir.join("config.json"),
            "\"vocab_size\": 111",
            "\"vocab_size\": 100",
        );
    });
    assert_refused(&["mamba", "c"], |dir| {
        edit(&dir.join("config.json"), "\"qwen2\"", "\"mamba\"");
    });
    assert_refused(&["model.norm.weight", "I32", "BF16"], |dir| {
        // Same size, so that nothing but the type is wrong; the header is padded with spaces.
        let path = dir.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let name = b"\"model.norm.weight\":{\"dtype\":\"F32\"";
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
        bytes[at + name.len() - 4] = b'I';
        std::fs::write(&path, bytes).unwrap();
    });
    assert_refused(&["which token ends a text"], |dir| {
        edit(
            &dir.join("generation_config.json"),
            "\"eos_token_id\": 0,",
            "",
        );
        edit(
            &dir.join("config.json"),
            "\"eos_token_id\": 0",
            "\"unused\": 0",
        );
        edit(
            &dir.join("tokenizer_config.json"),
            "\"eos_token\": \"<eos>\"",
            "\"eos_token\": null",
        );
    });
    assert_refused(&["index.json", "model-00002-of-00002.safetensors"], |dir| {
        std::fs::rename(
            dir.join("model.safetensors"),
            dir.join("model-00001-of-00002.safetensors"),
        )
        .unwrap();
        let index = json!({"weight_map": {
            "model.norm.weight": "model-00001-of-00002.safetensors",
            "model.embed_tokens.weight": "model-00002-of-00002.safetensors",
        }});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
}
