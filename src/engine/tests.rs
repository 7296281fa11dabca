//! Keys and values on a device, through the operations for one, against those in main memory.

use super::{Choose, Engine, Generate, Params, Place, Reply, Request};
use crate::model::{Architecture, Config, Decoder};
use burn::tensor::{DType, Device};
use std::sync::Arc;

fn decoder(device: &Device) -> Decoder {
    let config = Config {
        architecture: Architecture::Llama,
        vocab_size: 40,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: false,
        attention_bias: false,
        bos_token_id: None,
        eos_token_ids: vec![0],
    };
    let mut decoder = Decoder::init(&config, 5, device);
    decoder.head = decoder.head.map(|head| head.map(|t| t.mul_scalar(40.0)));
    decoder
}

fn decode(place: Place, device: &Device) -> Vec<Reply> {
    let engine = Engine::start_at(decoder(device), None, Params::default(), place).unwrap();
    let handle = engine.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..12u32 {
            let handle = handle.clone();
            tasks.spawn(async move {
                let session = handle.session(80).await.unwrap();
                let request = Request {
                    context: Vec::new(),
                    tokens: (0..=index).map(|t| 1 + (t * 7 + index) % 39).collect(),
                    top_k: 4,
                    generate: Some(Generate {
                        choose: Choose::Greedy,
                        max_new_tokens: 20,
                        stop: Arc::from([0u32]),
                        until: None,
                        record: true,
                    }),
                };
                (index, session.run(request).await.unwrap())
            });
        }
        let mut done = tasks.join_all().await;
        done.sort_by_key(|d| d.0);
        done.into_iter().map(|d| d.1).collect()
    })
}

#[test]
fn both_places_of_keys_and_values_give_the_same_texts() {
    let host = decode(Place::Host { bf16: false }, &Device::flex());
    let agree = |other: Vec<Reply>| {
        for (host, other) in host.iter().zip(&other) {
            assert_eq!(host.generated, other.generated);
            for (a, b) in host.outputs.iter().zip(&other.outputs) {
                assert!((a.log_sum_exp - b.log_sum_exp).abs() < 1e-4);
                assert_eq!(a.tokens, b.tokens);
                for (a, b) in a.log_probs.iter().zip(&b.log_probs) {
                    assert!((a - b).abs() < 1e-4);
                }
            }
        }
    };
    agree(decode(Place::Device(DType::F32), &Device::flex()));
    #[cfg(feature = "wgpu")]
    match crate::model::device::open("wgpu") {
        Ok(device) => agree(decode(Place::Device(DType::F32), &device)),
        Err(error) => eprintln!("not tested on a GPU: {error}"),
    }
}

#[test]
fn whoever_waits_for_a_panicked_engine_learns_why() {
    let engine = Engine::start(decoder(&Device::flex()), None, Params::default()).unwrap();
    let handle = engine.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let started = std::time::Instant::now();
    runtime.block_on(async {
        let request = || Request {
            context: Vec::new(),
            tokens: vec![1, 2, 3],
            top_k: 1,
            generate: Some(Generate {
                choose: Choose::Greedy,
                max_new_tokens: 100,
                stop: Arc::from([]),
                until: None,
                record: false,
            }),
        };
        let session = handle.session(110).await.unwrap();
        let (ended, ()) = tokio::join!(session.run(request()), async { handle.panic() });
        for ended in [ended, session.run(request()).await] {
            let error = ended.unwrap_err().to_string();
            assert!(error.contains("asked to panic"), "{error}");
        }
    });
    assert!(started.elapsed().as_secs() < 2);
}
