//! Keys and values on a device, through the operations for one, against those in main memory.

use super::{Choose, Engine, Generate, Params, Place, Reply, Request};
use crate::model::{
    Architecture, Calibration, Config, Decoder, HeadKind, HeadShape, Value, ValueHead,
};
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
    decode_with(place, device, None)
}

fn decode_with(place: Place, device: &Device, head: Option<ValueHead>) -> Vec<Reply> {
    let value = head.map(Value::Shared);
    let engine = Engine::start_at(decoder(device), value, Params::default(), place).unwrap();
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

/// A head whose weights are all something, with a calibration.
fn head(shape: HeadShape, device: &Device) -> ValueHead {
    let mut state = 7u32;
    let get = &mut |_: &str, shape: &[usize]| {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        Ok::<_, ()>((0..shape.iter().product()).map(next).collect())
    };
    let head = ValueHead::from_weights(shape, 32, device, get).unwrap();
    head.calibrated(Calibration::Isotonic {
        from: vec![-1.0, -0.1, 0.2, 1.0],
        to: vec![-0.9, -0.5, 0.3, 0.8],
    })
}

#[test]
fn heads_of_every_shape_say_the_same_in_both_places_and_what_their_formula_says() {
    let device = Device::flex();
    for (kind, bins, members) in [
        (HeadKind::Linear, 1, 1),
        (HeadKind::Mlp, 5, 1),
        (HeadKind::Linear, 1, 3),
        (HeadKind::Mlp, 1, 3),
        (HeadKind::Linear, 4, 2),
        (HeadKind::Mlp, 4, 3),
    ] {
        let shape = HeadShape {
            kind,
            width: 6,
            bins,
            members,
        };
        let head = head(shape, &device);
        let host = decode_with(Place::Host { bf16: false }, &device, Some(head.clone()));
        let other = decode_with(Place::Device(DType::F32), &device, Some(head.clone()));
        let mut seen = Vec::new();
        for (host, other) in host.iter().zip(&other) {
            for (a, b) in host.outputs.iter().zip(&other.outputs) {
                assert!((a.value - b.value).abs() < 1e-4, "{shape:?} {a:?} {b:?}");
                assert!((a.spread - b.spread).abs() < 1e-4, "{shape:?} {a:?} {b:?}");
                assert_eq!(a.spread > 0.0, members > 1);
                seen.push(a.value);
            }
        }
        assert!(seen.iter().any(|v| (v - seen[0]).abs() > 0.01), "{shape:?}");
        // The first reply's first value, from the decoder and the formulas.
        let (trunk, tokens) = (decoder(&device), vec![1i32]);
        let tokens = burn::tensor::TensorData::new(tokens, [1, 1]);
        let tokens = burn::tensor::Tensor::<2, burn::tensor::Int>::from_data(tokens, &device);
        let logits = head.logits(trunk.hidden(tokens).reshape([1, 32]));
        let logits: Vec<f64> = crate::model::layout::floats(logits)
            .into_iter()
            .map(f64::from)
            .collect();
        let values: Vec<f32> = logits
            .chunks(bins)
            .map(|own| match own {
                [logit] => (2.0 / (1.0 + (-logit).exp()) - 1.0) as f32,
                own => {
                    let total: f64 = own.iter().map(|x| x.exp()).sum();
                    let middle = |i: usize| (i as f64 + 0.5) * 2.0 / bins as f64 - 1.0;
                    let parts = own.iter().enumerate().map(|(i, x)| x.exp() * middle(i));
                    (parts.sum::<f64>() / total) as f32
                }
            })
            .collect();
        let map = |x: f32| head.readout.calibration.apply(x);
        let mean = map(values.iter().sum::<f32>() / members as f32);
        let mapped: Vec<f32> = values.iter().map(|&v| map(v)).collect();
        let middle = mapped.iter().sum::<f32>() / members as f32;
        let squares = mapped.iter().map(|v| (v - middle).powi(2)).sum::<f32>();
        let spread = (squares / members as f32).sqrt();
        let first = &host[0].outputs[0];
        assert!((first.value - mean).abs() < 1e-5, "{shape:?}");
        assert!((first.spread - spread).abs() < 1e-5, "{shape:?}");
        assert!((first.bound(0.5) - (first.value - 0.5 * first.spread)).abs() < 1e-6);
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
