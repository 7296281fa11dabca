//! Model directories: what transformers makes of ours, what we make of its, and what is said about
//! damaged ones. Tests that need Python's transformers (`TOKENZERO_PYTHON`, else `python3`) or
//! downloaded models (`TOKENZERO_MODELS`) say so and pass where they are absent.

#[allow(dead_code, reason = "shared with tests that read JSON from one file")]
mod python;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::{Value as Json, json};
use tokenzero::model::card::Card;
use tokenzero::model::checkpoint::{Checkpoint, load_value};
use tokenzero::model::config::Config;
use tokenzero::model::decoder::Decoder;
use tokenzero::model::export::{ExportError, export_policy, export_value};
use tokenzero::model::make_tokenizer;
use tokenzero::model::tokenizer::Tokenizer;
use tokenzero::model::value::{HeadKind, Value, ValueHead};
use tokenzero::model::weights::StoredType::{Bf16, F32};
use tokenzero::task::{Message, arithmetic, countdown};

const QWEN: &str = r#"{"model_type":"qwen2","hidden_size":32,"intermediate_size":48,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":111,
    "max_position_embeddings":256,"rms_norm_eps":1e-6,"rope_theta":10000.0,
    "tie_word_embeddings":true,"eos_token_id":0}"#;

/// Every family and option: tied and untied heads, grouped queries, a head size of its own, scaled
/// rotary frequencies.
fn configs() -> Vec<Config> {
    let llama = QWEN.replace("qwen2", "llama");
    let untied = |text: &str| {
        text.replace(
            "\"tie_word_embeddings\":true",
            "\"tie_word_embeddings\":false",
        )
    };
    let wide = |text: &str| text.replace("\"vocab_size\"", "\"head_dim\":12,\"vocab_size\"");
    let scaled = llama.replace(
        "\"vocab_size\"",
        r#""rope_scaling":{"rope_type":"llama3","factor":8.0,
        "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32},"vocab_size""#,
    );
    let all = [
        QWEN.to_string(),
        wide(&untied(QWEN)),
        llama.clone(),
        wide(&untied(&llama)),
        scaled,
    ];
    let parse = |text: &String| Config::from_json(text).unwrap();
    all.iter().map(parse).collect()
}

/// Random numbers that depend on the tensor's name, biases and norms included.
fn random(seed: u64, name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state = name
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let scale = if shape.len() == 2 {
        (3.0 / shape[1] as f32).sqrt()
    } else {
        0.3
    };
    let centre = if name.contains("norm") { 1.0 } else { 0.0 };
    let next = |_| {
        state = (state ^ (state >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (state >> 27);
        let unit = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
        centre + scale * unit
    };
    (0..shape.iter().product()).map(next).collect()
}

fn decoder(config: &Config, seed: u64) -> Decoder {
    let get = &mut |name: &str, shape: &[usize]| Ok::<_, ()>(random(seed, name, shape));
    Decoder::from_weights(config, &Device::flex(), get).unwrap()
}

fn head(kind: HeadKind, hidden: usize) -> ValueHead {
    let get = &mut |name: &str, shape: &[usize]| Ok::<_, ()>(random(9, name, shape));
    ValueHead::from_weights(kind, hidden, 20, &Device::flex(), get).unwrap()
}

fn words() -> Tokenizer {
    make_tokenizer::word_level(&countdown::vocabulary()).unwrap()
}

fn checkpoint(config: &Config, value: Option<Value>) -> Checkpoint {
    Checkpoint {
        policy: decoder(config, 1),
        value,
        tokenizer: words(),
    }
}

fn tiny() -> Checkpoint {
    checkpoint(&configs()[0], None)
}

const TOKENS: [i32; 12] = [10, 13, 18, 20, 2, 44, 1, 20, 8, 10, 5, 110];

fn hidden(decoder: &Decoder) -> Tensor<2> {
    let data = TensorData::new(TOKENS.to_vec(), [1, TOKENS.len()]);
    let tokens = Tensor::<2, Int>::from_data(data, &Device::flex());
    decoder
        .hidden(tokens)
        .reshape([TOKENS.len(), decoder.config().hidden_size])
}

fn policy_logits(decoder: &Decoder) -> Vec<f32> {
    let logits = decoder.logits(hidden(decoder));
    logits.into_data().try_to_vec().unwrap()
}

fn value_logits(trunk: &Decoder, head: &ValueHead) -> Vec<f32> {
    head.logit(hidden(trunk)).into_data().try_to_vec().unwrap()
}

fn run(python: &OsStr, script: &str, args: &[&str], input: String) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/python")
        .join(script);
    let mut child = Command::new(python)
        .arg(script)
        .args(args)
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}");
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

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
        let head = head(kind, config.hidden_size);
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

/// Compares tokens, decoded text and rendered chats of `requests` with transformers'.
fn compare_text(python: &OsStr, class: &str, dir: &Path, tokenizer: &Tokenizer, requests: &[Json]) {
    let input: String = requests.iter().map(|r| format!("{r}\n")).collect();
    let output = run(
        python,
        "transformers_text.py",
        &[class, dir.to_str().unwrap()],
        input,
    );
    let answers: Vec<Json> = output
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(answers.len(), requests.len());
    for (request, answer) in requests.iter().zip(&answers) {
        let text = request["text"].as_str().unwrap();
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(json!(ids), answer["ids"], "{text}");
        assert_eq!(json!(tokenizer.decode(&ids)), answer["decoded"], "{text}");
        if let Some(messages) = request.get("messages") {
            let messages: Vec<Message> = serde_json::from_value(messages.clone()).unwrap();
            let rendered = tokenizer.render(&messages).unwrap().unwrap();
            assert_eq!(json!(rendered), answer["rendered"]);
            let ids = tokenizer.prompt("", &messages).unwrap();
            assert_eq!(json!(ids), answer["rendered_ids"], "{rendered}");
        }
    }
}

#[test]
fn chats_of_real_models_equal_transformers() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let models = match (
        std::env::var_os("TOKENZERO_MODELS"),
        std::env::var_os("HOME"),
    ) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(home)) => Path::new(&home).join(".cache/tokenzero/models"),
        (None, None) => PathBuf::new(),
    };
    let questions = questions();
    assert_eq!(questions.len(), 200);
    for (model, stop) in [
        ("qwen2.5-coder-0.5b-instruct", vec![151_645, 151_643]),
        ("smollm2-135m-instruct", vec![2, 0]),
    ] {
        let dir = models.join(model);
        if !dir.join("tokenizer.json").exists() {
            println!(
                "skipped: {model} is not in {} (set TOKENZERO_MODELS)",
                models.display()
            );
            continue;
        }
        let tokenizer = Tokenizer::load(&dir).unwrap();
        assert_eq!(tokenizer.stop_tokens(), stop);
        let mut requests: Vec<Json> = Vec::new();
        for (i, question) in questions.iter().enumerate() {
            let user = json!({"role": "user", "content": question});
            let system = json!({"role": "system", "content": "Answer with 1,000 or “#### n”.\n"});
            let said = json!({"role": "assistant", "content": "  12 é\n\n"});
            let messages = match i % 3 {
                0 => json!([user]),
                1 => json!([system, user]),
                _ => json!([user, said, user]),
            };
            requests.push(json!({"text": question, "messages": messages}));
        }
        compare_text(&python, "AutoTokenizer", &dir, &tokenizer, &requests);
    }
}

/// 200 questions: of GSM8K's test split where `TOKENZERO_GSM8K` names its folder, else generated.
fn questions() -> Vec<String> {
    let Some(folder) = std::env::var_os("TOKENZERO_GSM8K") else {
        println!("TOKENZERO_GSM8K does not name a folder: generated questions instead");
        return arithmetic::tokenizer_text(1, 200);
    };
    let text = std::fs::read_to_string(Path::new(&folder).join("test.jsonl")).unwrap();
    let question = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        row["question"].as_str().unwrap().to_string()
    };
    text.lines().take(200).map(question).collect()
}

#[test]
fn tiny_tokenizers_equal_pythons() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let class = "PreTrainedTokenizerFast";
    let save = |tokenizer: &Tokenizer| {
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        dir
    };
    let request = |text: &str| json!({ "text": text });

    let tokenizer = words();
    let texts = [
        "1 4 9 11 make 35\n",
        "11 * 1 = 11 left 4 9 11\n35 = 35\n#### 35",
        "35 > 12 <eos>",
    ];
    let requests: Vec<Json> = texts.into_iter().map(request).collect();
    compare_text(
        &python,
        class,
        save(&tokenizer).path(),
        &tokenizer,
        &requests,
    );

    let texts = arithmetic::tokenizer_text(7, 5000);
    let tokenizer = make_tokenizer::byte_level(texts, &arithmetic::RARE_WORDS).unwrap();
    let mut texts = arithmetic::tokenizer_text(8, 100);
    texts.push(" Tom wins 12 beads; he doubles them.\n\n Ünïcode 3½ <|endoftext|>".into());
    let requests: Vec<Json> = texts.iter().map(|t| request(t)).collect();
    compare_text(
        &python,
        class,
        save(&tokenizer).path(),
        &tokenizer,
        &requests,
    );
}

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
                assert_eq!(a.weights(), b.weights())
            }
            (
                Some(Value::Separate { trunk: t, head: a }),
                Some(Value::Separate { trunk: u, head: b }),
            ) => {
                assert_eq!(a.weights(), b.weights());
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
    assert_refused(&["c/config.json"], remove("config.json"));
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
