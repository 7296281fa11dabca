//! Models that are missing or damaged.

use super::*;

pub(super) fn models(b: &mut Bench) {
    let missing = b.path("nowhere");
    b.case(
        "no such model",
        &[
            "generate",
            "--model",
            missing.to_str().unwrap(),
            "1 2 3 make 6",
        ],
    );
    let remove =
        |name: &'static str| move |dir: &Path| std::fs::remove_file(dir.join(name)).unwrap();
    b.damaged_model("no config.json", remove("config.json"));
    b.damaged_model("no tokenizer.json", remove("tokenizer.json"));
    b.damaged_model("no weights", remove("model.safetensors"));
    b.damaged_model("a config that is no JSON", |dir| {
        std::fs::write(dir.join("config.json"), "{\"model_type\": \"qwen2\",").unwrap();
    });
    b.damaged_model("an unknown model type", |dir| {
        edit(dir.join("config.json"), |c| {
            c["model_type"] = json!("mamba")
        });
    });
    b.damaged_model("a config without a field", |dir| {
        edit(dir.join("config.json"), |c| {
            c.as_object_mut().unwrap().remove("hidden_size");
        });
    });
    b.damaged_model("a config of impossible sizes", |dir| {
        edit(dir.join("config.json"), |c| {
            c["num_hidden_layers"] = json!(4_000_000_000u64)
        });
    });
    b.damaged_model("a config with no heads", |dir| {
        edit(dir.join("config.json"), |c| {
            c["num_key_value_heads"] = json!(0)
        });
    });
    b.damaged_model("weights of other shapes", |dir| {
        edit(dir.join("config.json"), |c| {
            c["intermediate_size"] = json!(128)
        });
    });
    b.damaged_model("more layers than weights", |dir| {
        edit(dir.join("config.json"), |c| {
            c["num_hidden_layers"] = json!(6)
        });
    });
    b.damaged_model("truncated weights", |dir| {
        let path = dir.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    b.damaged_model("empty weights", |dir| {
        std::fs::write(dir.join("model.safetensors"), "").unwrap();
    });
    b.damaged_model("a header of impossible length", |dir| {
        let path = dir.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
    });
    b.damaged_model("weights of integers", |dir| {
        edit_header(dir.join("model.safetensors"), "\"F32\"", "\"I32\"");
    });
    b.damaged_model("an index that names a missing shard", |dir| {
        std::fs::remove_file(dir.join("model.safetensors")).unwrap();
        let index =
            json!({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
    b.damaged_model("an index that leaves the folder", |dir| {
        std::fs::remove_file(dir.join("model.safetensors")).unwrap();
        let index = json!({"weight_map": {"model.norm.weight": "../../secret.safetensors"}});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
    b.damaged_model("a tokenizer that is no JSON", |dir| {
        std::fs::write(dir.join("tokenizer.json"), "not json").unwrap();
    });
    b.damaged_model("a tokenizer without a stop token", |dir| {
        edit(dir.join("tokenizer_config.json"), |c| {
            c["eos_token"] = Value::Null
        });
        edit(dir.join("config.json"), |c| c["eos_token_id"] = Value::Null);
        edit(dir.join("generation_config.json"), |c| {
            c["eos_token_id"] = Value::Null
        });
    });
    b.damaged_model("a vocabulary larger than the embedding", |dir| {
        edit(dir.join("tokenizer.json"), |t| {
            t["added_tokens"].as_array_mut().unwrap().push(json!({
                "id": 5000, "content": "<far>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true
            }));
        });
    });
    b.damaged_model("a chat template that does not parse", |dir| {
        edit(dir.join("tokenizer_config.json"), |c| {
            c["chat_template"] = json!("{% for message in messages %}{{ message.content }}");
        });
    });
    b.damaged_model("a chat template that never ends", |dir| {
        edit(dir.join("tokenizer_config.json"), |c| {
            c["chat_template"] = json!(
                "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
            );
        });
    });
    let tiny = "checkpoints/countdown-tiny";
    b.case(
        "a search without a value net",
        &[
            "generate",
            "--model",
            tiny,
            "--simulations",
            "4",
            "1 2 3 make 6",
        ],
    );
    b.case(
        "words the model has no tokens for",
        &["generate", "--model", tiny, "hello there"],
    );
    b.case(
        "a prompt longer than the model",
        &["generate", "--model", tiny, &"7 ".repeat(600)],
    );
}
