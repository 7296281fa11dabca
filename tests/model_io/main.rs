//! Model directories: what transformers makes of ours, what we make of its, and what is said about
//! damaged ones. Tests that need Python's transformers (`TOKENZERO_PYTHON`, else `python3`) or
//! downloaded models (`TOKENZERO_MODELS`) say so and pass where they are absent.

mod checkpoints;
mod exports;
#[allow(dead_code, reason = "shared with tests that read JSON from one file")]
#[path = "../python/mod.rs"]
mod python;
mod text;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use burn::tensor::{Device, Int, Tensor, TensorData};
use tokenzero::model::calibration::Calibration;
use tokenzero::model::checkpoint::Checkpoint;
use tokenzero::model::config::Config;
use tokenzero::model::decoder::Decoder;
use tokenzero::model::make_tokenizer;
use tokenzero::model::tokenizer::Tokenizer;
use tokenzero::model::value::{HeadKind, HeadShape, Value, ValueHead};
use tokenzero::task::countdown;

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
    shaped(HeadShape::plain(kind, 20), hidden)
}

fn shaped(shape: HeadShape, hidden: usize) -> ValueHead {
    let get = &mut |name: &str, shape: &[usize]| Ok::<_, ()>(random(9, name, shape));
    ValueHead::from_weights(shape, hidden, &Device::flex(), get).unwrap()
}

/// Three members with seven bins each, calibrated.
fn ensemble(kind: HeadKind, hidden: usize, calibration: Calibration) -> ValueHead {
    let shape = HeadShape {
        kind,
        width: 20,
        bins: 7,
        members: 3,
    };
    let mut head = shaped(shape, hidden).calibrated(calibration);
    // Enough for values that differ.
    head.score = head.score.map(|score| score.mul_scalar(8.0));
    head
}

fn isotonic() -> Calibration {
    Calibration::Isotonic {
        from: vec![-1.0, -0.05, 0.05, 1.0],
        to: vec![-1.0, -0.3, 0.4, 1.0],
    }
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
    head.logits(hidden(trunk)).into_data().try_to_vec().unwrap()
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
