//! Keys and values on a device, through the operations for one, against those in main memory.

mod mean;

use super::{
    Choose, Engine, Finish, Generate, Graphs, Load, Output, Params, Place, Reply, Request, Until,
};
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

/// The GPUs behind the APIs that are built in and find a driver.
fn gpus() -> Vec<Device> {
    let open = |api| match crate::model::device::open(api) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("not tested through {api}: {error}");
            None
        }
    };
    ["wgpu", "cuda"].into_iter().filter_map(open).collect()
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
                        draft: None,
                        choose: Choose::Greedy,
                        max_new_tokens: 20,
                        stop: Arc::from([0u32]),
                        until: None,
                        record: true,
                    }),
                    ..Request::default()
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
    for device in gpus() {
        agree(decode(Place::Device(DType::F32), &device));
    }
}

/// Rows of many lengths: greedy ones and draws, with stop tokens and without.
fn rows() -> Vec<Request> {
    (0..14u32)
        .map(|index| Request {
            context: Vec::new(),
            tokens: (0..=index % 5).map(|t| 1 + (t * 7 + index) % 39).collect(),
            top_k: 1 + index as usize % 4,
            generate: Some(Generate {
                choose: match index % 3 {
                    0 => Choose::Greedy,
                    1 => Choose::Sample {
                        temperature: 0.8,
                        top_p: 1.0,
                        seed: u64::from(index),
                    },
                    _ => Choose::Sample {
                        temperature: 1.5,
                        top_p: 1.0,
                        seed: 40 + u64::from(index),
                    },
                },
                max_new_tokens: [1, 2, 4, 5, 8, 9, 17][index as usize % 7],
                stop: match index % 2 {
                    0 => Arc::from([]),
                    _ => (0..8).collect(),
                },
                until: (index % 5 == 4).then(|| {
                    Until(Arc::new(|written: &[u32]| {
                        written.len() > 2 && written[2] < 30
                    }))
                }),
                record: index % 4 != 3,
                draft: None,
            }),
            ..Request::default()
        })
        .collect()
}

/// A value net with a trunk of its own.
fn value(device: &Device) -> Value {
    let mut head = ValueHead::init(HeadKind::Linear, 32, 0, 0, device);
    head.score = head.score.map(|score| score.add_scalar(0.1));
    Value::Separate {
        trunk: decoder(device),
        head,
    }
}

/// What becomes of `requests` twice over, in a pool that holds no slot more than they can need; behind
/// each reply what the engine says after its last token, which reads all of its slots.
fn replies(
    place: Place,
    device: &Device,
    how: (usize, Graphs),
    requests: &[Request],
) -> (Vec<(Reply, Output)>, Load) {
    replies_with(value(device), place, device, how, requests)
}

fn replies_with(
    value: Value,
    place: Place,
    device: &Device,
    (queued_steps, graphs): (usize, Graphs),
    requests: &[Request],
) -> (Vec<(Reply, Output)>, Load) {
    let most = |r: &Request| {
        r.tokens.len()
            + r.generate
                .as_ref()
                .map_or(0, |g| g.max_new_tokens.max(1) - 1)
    };
    let slots = requests.iter().map(most).sum::<usize>();
    let params = Params {
        queued_steps,
        graphs,
        kv_slots: slots + requests.len(),
        ..Params::default()
    };
    let engine = Engine::start_at(decoder(device), Some(value), params, place).unwrap();
    let handle = engine.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..2 {
            let session = Arc::new(handle.session(handle.capacity()).await.unwrap());
            let ask = |requests: Vec<Request>| {
                let session = session.clone();
                async move {
                    let mut tasks = tokio::task::JoinSet::new();
                    for (index, request) in requests.into_iter().enumerate() {
                        let session = session.clone();
                        tasks.spawn(async move { (index, session.run(request).await.unwrap()) });
                    }
                    let mut done = tasks.join_all().await;
                    done.sort_by_key(|d| d.0);
                    done.into_iter().map(|d| d.1).collect::<Vec<Reply>>()
                }
            };
            let replies = ask(requests.to_vec()).await;
            let after = |reply: &Reply| Request {
                context: reply.slots.clone(),
                tokens: vec![reply.generated.last().copied().unwrap_or(1)],
                top_k: 5,
                generate: None,
                ..Request::default()
            };
            let after = ask(replies.iter().map(after).collect()).await;
            let after = after.iter().map(|reply| reply.last().clone());
            all.extend(replies.into_iter().zip(after));
        }
        (all, handle.load())
    })
}

/// Which product a device picks depends on the number of rows, and with it the last digits. Rows enter as
/// they come, and in a queue those at their end stay.
const NEAR: f32 = 1e-5;

/// The same tokens and ends, and the same numbers give or take `tolerance`.
fn same(found: &[(Reply, Output)], expected: &[(Reply, Output)], tolerance: f32) {
    let near = |a: &[f32], b: &[f32]| {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= tolerance, "{a} instead of {b}");
        }
    };
    assert_eq!(found.len(), expected.len());
    for ((a, a_after), (b, b_after)) in found.iter().zip(expected) {
        assert_eq!(a.generated, b.generated);
        assert_eq!(a.finish, b.finish);
        assert_eq!(a.slots.len(), b.slots.len());
        near(&a.log_probs, &b.log_probs);
        assert_eq!(a.outputs.len(), b.outputs.len());
        let outputs = a.outputs.iter().chain([a_after]);
        for (a, b) in outputs.zip(b.outputs.iter().chain([b_after])) {
            assert_eq!(a.tokens, b.tokens);
            near(&a.log_probs, &b.log_probs);
            near(
                &[a.log_sum_exp, a.value, a.spread],
                &[b.log_sum_exp, b.value, b.spread],
            );
        }
    }
}

#[test]
fn queued_steps_change_no_reply() {
    let run = |device: &Device, steps| {
        let how = (steps, Graphs::Off);
        replies(Place::Device(DType::F32), device, how, &rows())
    };
    let device = Device::flex();
    let (plain, load) = run(&device, 1);
    for finish in [Finish::Stop, Finish::Length] {
        let count = plain.iter().filter(|r| r.0.finish == finish).count();
        assert!(count >= 4, "{count} end by {finish:?}");
    }
    for steps in [2, 4, 8, 64] {
        let (queued, queued_load) = run(&device, steps);
        same(&queued, &plain, NEAR);
        assert_eq!(queued_load.tokens, load.tokens);
    }
    for device in gpus() {
        let (one, _) = run(&device, 1);
        same(&one, &plain, 1e-4);
        for steps in [4, 8] {
            same(&run(&device, steps).0, &one, NEAR);
        }
    }
}

#[test]
fn a_nucleus_which_the_host_cuts_is_the_same_beside_queues() {
    let device = Device::flex();
    let mut requests = rows();
    let run = |steps, requests: &[Request]| {
        let how = (steps, Graphs::Off);
        replies(Place::Device(DType::F32), &device, how, requests).0
    };
    if let Some(generate) = &mut requests[4].generate {
        generate.choose = Choose::Sample {
            temperature: 1.0,
            top_p: 0.8,
            seed: 3,
        };
    }
    same(&run(8, &requests), &run(1, &requests), NEAR);
}

/// Four steps run although the row ends in the second: that is what a queue is.
#[test]
fn a_row_goes_on_unseen_within_a_queue() {
    let device = Device::flex();
    let mut request = rows().swap_remove(6);
    request.tokens.truncate(1);
    let run = |steps, request: &Request| {
        let requests = std::slice::from_ref(request);
        let how = (steps, Graphs::Off);
        replies(Place::Device(DType::F32), &device, how, requests)
    };
    let free = run(1, &request).0.swap_remove(0).0;
    let second = free.generated[1];
    assert_ne!(free.generated[0], second);
    let until = Until(Arc::new(move |written: &[u32]| written.contains(&second)));
    for (stop, until, finish) in [
        (Arc::from([second]), None, Finish::Stop),
        (Arc::from([]), Some(until), Finish::Length),
    ] {
        let generate = request.generate.as_mut().unwrap();
        (generate.stop, generate.until) = (stop, until);
        // Twice over, and one step each time for the question after it.
        for (queued, steps) in [(1, 2), (4, 4), (8, 8)] {
            let (replies, load) = run(queued, &request);
            // One row is alone in every step: nothing differs by a bit.
            same(&replies, &run(1, &request).0, 0.0);
            assert_eq!(replies[0].0.generated, free.generated[..2]);
            assert_eq!(replies[0].0.finish, finish);
            assert_eq!(replies[0].0.slots.len(), 2);
            assert_eq!(load.steps, 2 * (steps + 1));
            assert_eq!(load.tokens, 2 * (2 + 1));
        }
    }
}

/// What a replay is given and leaves, where the device runs the step again instead.
#[test]
fn captured_steps_change_no_reply() {
    let compare = |device: &Device| {
        let run = |steps, graphs| {
            let place = Place::Device(DType::F32);
            replies(place, device, (steps, graphs), &rows()).0
        };
        let plain = run(1, Graphs::Off);
        for steps in [1, 4] {
            for graphs in [Graphs::Auto, Graphs::Always] {
                same(&run(steps, graphs), &plain, NEAR);
            }
        }
    };
    compare(&Device::flex());
    for device in gpus() {
        compare(&device);
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

/// The numbers of all members come back from queues and from captured steps.
#[test]
fn heads_of_several_members_say_the_same_in_queues_and_captured_steps() {
    let compare = |device: &Device| {
        for (kind, bins, members) in [(HeadKind::Linear, 1, 3), (HeadKind::Mlp, 4, 2)] {
            let shape = HeadShape {
                kind,
                width: 6,
                bins,
                members,
            };
            let run = |how| {
                let value = Value::Shared(head(shape, device));
                replies_with(value, Place::Device(DType::F32), device, how, &rows()).0
            };
            let plain = run((1, Graphs::Off));
            let spreads = plain.iter().flat_map(|reply| &reply.0.outputs);
            assert!(spreads.filter(|output| output.spread > 0.01).count() > 20);
            for how in [(4, Graphs::Off), (1, Graphs::Always), (4, Graphs::Always)] {
                same(&run(how), &plain, NEAR);
            }
        }
    };
    compare(&Device::flex());
    for device in gpus() {
        compare(&device);
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
                draft: None,
                choose: Choose::Greedy,
                max_new_tokens: 100,
                stop: Arc::from([]),
                until: None,
                record: false,
            }),
            ..Request::default()
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
