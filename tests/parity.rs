//! Our decoder and engine against transformers: logits of a 64-token prompt, 64 greedy tokens.
//!
//! The pretrained models are looked for in `TOKENZERO_MODELS`, by default
//! `~/.cache/tokenzero/models`; those that are not there are skipped with a line that says so.

mod python;

use burn::tensor::{Int, Tensor, TensorData};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenzero::engine::{Choose, Engine, Generate, Request};
use tokenzero::model::layout::floats;
use tokenzero::model::{Checkpoint, device};

const TEXT: &str = "Natalia sold clips to 48 of her friends in April, and then she sold half as many \
    clips in May. How many clips did Natalia sell altogether in April and May? Let us think step by \
    step. In April she sold 48 clips. In May she sold half as many, which is 24 clips. Altogether \
    she sold 48 + 24 = 72 clips. Weng earns $12 an hour for babysitting. Yesterday, she just did";

fn models() -> PathBuf {
    std::env::var_os("TOKENZERO_MODELS").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_default();
            Path::new(&home).join(".cache/tokenzero/models")
        },
        PathBuf::from,
    )
}

/// Logits within 1e-3 and the same 64 greedy tokens.
fn compare(dir: &Path, prompt: Option<Vec<u32>>) {
    if !dir.is_dir() {
        eprintln!("skipped: {} is not there", dir.display());
        return;
    }
    let Some(python) = python::with("transformers") else {
        return;
    };
    let checkpoint = Checkpoint::load(dir, &device::open("cpu").unwrap()).unwrap();
    let prompt = prompt.unwrap_or_else(|| {
        let mut tokens = checkpoint.tokenizer.encode(TEXT).unwrap();
        assert!(tokens.len() >= 64);
        tokens.truncate(64);
        tokens
    });
    let tokens = serde_json::to_string(&prompt).unwrap();
    let args = [dir.as_os_str(), tokens.as_ref(), "64".as_ref()];
    let theirs = python::json(&python, "transformers_parity.py", &args);

    let n = prompt.len();
    let ids: Vec<i32> = prompt.iter().map(|&t| t as i32).collect();
    let ids =
        Tensor::<2, Int>::from_data(TensorData::new(ids, [1, n]), &device::open("cpu").unwrap());
    let hidden_size = checkpoint.config().hidden_size;
    let hidden = checkpoint.policy.hidden(ids).reshape([n, hidden_size]);
    let ours = floats(
        checkpoint
            .policy
            .logits(hidden.slice([n - 8..n, 0..hidden_size])),
    );
    let expected: Vec<f64> = theirs["logits"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|x| x.as_f64().unwrap())
        .collect();
    assert_eq!(ours.len(), expected.len());
    let largest = ours
        .iter()
        .zip(&expected)
        .map(|(a, b)| (f64::from(*a) - b).abs())
        .fold(0.0, f64::max);
    eprintln!("{}: largest logit difference {largest:.2e}", dir.display());
    assert!(largest <= 1e-3, "{largest}");

    let engine = Engine::start(checkpoint.policy, None, Default::default()).unwrap();
    let handle = engine.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let reply = runtime.block_on(async {
        let session = handle.session(n + 64).await.unwrap();
        let generate = Generate {
            draft: None,
            choose: Choose::Greedy,
            max_new_tokens: 64,
            stop: Arc::from([]),
            until: None,
            record: false,
        };
        let request = Request {
            context: Vec::new(),
            tokens: prompt,
            top_k: 1,
            generate: Some(generate),
            ..Request::default()
        };
        session.run(request).await.unwrap()
    });
    let expected: Vec<u32> = theirs["generated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_u64().unwrap() as u32)
        .collect();
    assert_eq!(reply.generated, expected);
}

#[test]
fn countdown_tiny() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/countdown-tiny");
    // No sentence of this vocabulary is 64 tokens long: any tokens do for parity.
    let prompt = (0..64u32).map(|i| 12 + (i * 37 + i * i) % 90).collect();
    compare(Path::new(dir), Some(prompt));
}

#[test]
fn arithmetic_tiny() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/arithmetic-tiny");
    compare(Path::new(dir), None);
}

#[test]
fn qwen_2_5_coder_0_5b() {
    compare(&models().join("qwen2.5-coder-0.5b-instruct"), None);
}

#[test]
fn smollm2_135m() {
    compare(&models().join("smollm2-135m-instruct"), None);
}
