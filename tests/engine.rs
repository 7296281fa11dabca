//! The engine against a plain forward pass, and against itself alone.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenzero::engine::{
    Choose, Draft, Engine, Error, Finish, Generate, Output, Params, Reply, Request, Texts,
};
use tokenzero::model::layout::floats;
use tokenzero::model::{Architecture, Config, Decoder, HeadKind, Value, ValueHead};

fn config() -> Config {
    Config {
        architecture: Architecture::Qwen2,
        vocab_size: 61,
        hidden_size: 48,
        intermediate_size: 80,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 12,
        max_position_embeddings: 256,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: false,
        attention_bias: true,
        bos_token_id: None,
        eos_token_ids: vec![0],
    }
}

fn decoder() -> Decoder {
    // Seed 3 gives texts of many lengths; the head is untied so that they are not repetitions.
    let mut decoder = Decoder::init(&config(), 3, &Device::flex());
    // The embedding's own scale would give near-equal logits, whose order rounding decides.
    decoder.head = decoder.head.map(|head| head.map(|t| t.mul_scalar(40.0)));
    decoder
}

fn prompts() -> Vec<Vec<u32>> {
    (0..50u32)
        .map(|i| {
            let length = 1 + (i * 7) % 23;
            (0..length)
                .map(|t| 1 + (i * 13 + t * 5 + t * t) % 60)
                .collect()
        })
        .collect()
}

fn request(tokens: Vec<u32>, choose: Choose) -> Request {
    Request {
        context: Vec::new(),
        tokens,
        top_k: 5,
        generate: Some(Generate {
            draft: None,
            choose,
            max_new_tokens: 40,
            stop: Arc::from([0u32, 7]),
            until: None,
            record: true,
        }),
        ..Request::default()
    }
}

/// Runs all requests, `together` or one after the other.
fn run(engine: &Engine, requests: Vec<Request>, together: bool) -> Vec<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = engine.handle();
    runtime.block_on(async {
        let mut replies = Vec::new();
        if !together {
            for request in requests {
                let session = handle.session(100).await.unwrap();
                replies.push(session.run(request).await.unwrap());
            }
            return replies;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (index, request) in requests.into_iter().enumerate() {
            let handle = handle.clone();
            tasks.spawn(async move {
                let session = handle.session(100).await.unwrap();
                (index, session.run(request).await.unwrap())
            });
        }
        let mut done = tasks.join_all().await;
        done.sort_by_key(|d| d.0);
        done.into_iter().map(|d| d.1).collect()
    })
}

/// Logits after the last token, by a pass over the whole sequence.
fn logits(decoder: &Decoder, tokens: &[u32]) -> Vec<f32> {
    let n = tokens.len();
    let ids: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, n]), &Device::flex());
    let hidden = decoder.hidden(ids).reshape([n, config().hidden_size]);
    floats(decoder.logits(hidden.slice([n - 1..n, 0..config().hidden_size])))
}

fn greedy(decoder: &Decoder, prompt: &[u32]) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..40 {
        let logits = logits(decoder, &tokens);
        let best = (0..logits.len())
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)))
            .unwrap() as u32;
        tokens.push(best);
        if best == 0 || best == 7 {
            break;
        }
    }
    tokens[prompt.len()..].to_vec()
}

#[test]
fn batched_single_and_uncached_decoding_agree_on_50_prompts() {
    let decoder = decoder();
    let engine = Engine::start(decoder.clone(), None, Params::default()).unwrap();
    let requests = || {
        prompts()
            .into_iter()
            .map(|p| request(p, Choose::Greedy))
            .collect()
    };
    let together = run(&engine, requests(), true);
    let alone = run(&engine, requests(), false);
    let mut stopped = 0;
    for ((prompt, a), b) in prompts().iter().zip(&together).zip(&alone) {
        assert_eq!(a.generated, b.generated);
        assert_eq!(a.generated, greedy(&decoder, prompt));
        // Not merely the same tokens: the same bits, so that traces cannot depend on neighbours.
        assert_eq!(a.outputs, b.outputs);
        assert_eq!(a.log_probs, b.log_probs);
        stopped += usize::from(a.finish == Finish::Stop);
    }
    assert!((5..=50).contains(&stopped), "{stopped} of 50 stopped");
}

#[test]
fn outputs_are_those_of_a_full_pass() {
    let decoder = decoder();
    let engine = Engine::start(decoder.clone(), None, Params::default()).unwrap();
    let prompt = prompts()[9].clone();
    let reply = run(
        &engine,
        vec![request(prompt.clone(), Choose::Greedy)],
        false,
    )
    .remove(0);
    let mut tokens = prompt;
    for (index, output) in reply.outputs.iter().enumerate() {
        let logits = logits(&decoder, &tokens);
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((f64::from(output.log_sum_exp) - sum.ln()).abs() < 1e-4);
        for (token, log_prob) in output.tokens.iter().zip(&output.log_probs) {
            let expected = logits[*token as usize] - sum.ln() as f32;
            assert!((log_prob - expected).abs() < 1e-4);
        }
        tokens.push(reply.generated[index]);
    }
}

#[test]
fn draws_do_not_depend_on_the_batch() {
    let engine = Engine::start(decoder(), None, Params::default()).unwrap();
    let requests = || {
        let draw = |(seed, p): (usize, Vec<u32>)| {
            let choose = Choose::Sample {
                temperature: 1.0,
                top_p: 0.95,
                seed: seed as u64,
            };
            request(p, choose)
        };
        prompts().into_iter().enumerate().map(draw).collect()
    };
    let together = run(&engine, requests(), true);
    let alone = run(&engine, requests(), false);
    assert!(
        together
            .iter()
            .zip(&alone)
            .all(|(a, b)| a.generated == b.generated)
    );
    let greedy = run(
        &engine,
        prompts()
            .into_iter()
            .map(|p| request(p, Choose::Greedy))
            .collect(),
        true,
    );
    assert!(
        greedy
            .iter()
            .zip(&alone)
            .any(|(a, b)| a.generated != b.generated)
    );
}

/// What a reply says, apart from where its keys and values lie and what wrong drafts cost.
fn said(reply: &Reply) -> (&[u32], &[f32], &[Output], Finish, usize) {
    let (generated, log_probs) = (&reply.generated, &reply.log_probs);
    let slots = reply.slots.len();
    (generated, log_probs, &reply.outputs, reply.finish, slots)
}

#[test]
fn drafts_change_nothing_but_the_steps() {
    let chosen = [
        Choose::Greedy,
        Choose::Sample {
            temperature: 1.0,
            top_p: 1.0,
            seed: 5,
        },
    ];
    for choose in chosen {
        let requests = |drafts: &[Option<Draft>]| -> Vec<Request> {
            let drafts = drafts.iter().cloned().map(|draft| draft.map(Arc::new));
            let plain = prompts().into_iter().map(|p| request(p, choose));
            plain.zip(drafts).map(|(r, d)| r.drafted(d)).collect()
        };
        let engine = Engine::start(decoder(), None, Params::default()).unwrap();
        let plain = run(&engine, requests(&vec![None; 50]), true);
        let draft = |prompt: &[u32], reply: &Reply, wrong: usize, tokens| {
            let mut text = [prompt, &reply.generated].concat();
            for at in (wrong..text.len()).step_by(wrong.max(1)) {
                text[at] = (text[at] + 1) % 61;
            }
            let mut texts = Texts::default();
            texts.add(text.into_iter().chain([3, 4, 5]));
            Some(Draft {
                texts: Arc::new(texts),
                before: Vec::new(),
                tokens,
            })
        };
        // Right to the end and beyond, wrong at every fifth token, and whatever repeats in the text.
        for (wrong, tokens, narrow) in [(999, 6, false), (5, 3, false), (5, 7, true), (1, 4, false)]
        {
            let engine = Engine::start(
                decoder(),
                None,
                Params {
                    max_step_tokens: if narrow { 9 } else { 1024 },
                    ..Params::default()
                },
            )
            .unwrap();
            let drafts: Vec<Option<Draft>> = prompts()
                .iter()
                .zip(&plain)
                .map(|(prompt, reply)| draft(prompt, reply, wrong, tokens))
                .collect();
            for together in [true, false] {
                let before = engine.handle().load();
                let drafted = run(&engine, requests(&drafts), together);
                let after = engine.handle().load();
                for (drafted, plain) in drafted.iter().zip(&plain) {
                    assert_eq!(said(drafted), said(plain));
                }
                let of = |count: fn(&Reply) -> usize| drafted.iter().map(count).sum::<usize>();
                let forwarded = of(|r| r.slots.len()) + of(|r| r.rejected);
                assert_eq!(after.tokens - before.tokens, forwarded as u64);
                let decoded = of(|r| r.generated.len()) as u64;
                let rows = after.rows - before.rows;
                if wrong == 999 && !narrow {
                    assert!(rows < decoded / 2, "{rows} row steps for {decoded} tokens");
                }
                if wrong == 5 {
                    assert!(of(|r| r.rejected) > 100, "hardly a draft was wrong");
                }
            }
        }
    }
}

#[test]
fn a_branch_shares_its_prefix_and_gives_its_slots_back() {
    let decoder = decoder();
    let engine = Engine::start(decoder.clone(), None, Params::default()).unwrap();
    let handle = engine.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let prompt = vec![5, 9, 11, 3];
    runtime.block_on(async {
        let session = handle.session(64).await.unwrap();
        let expand = |context, tokens| Request {
            context,
            tokens,
            top_k: 3,
            generate: None,
            ..Request::default()
        };
        let root = session.run(expand(vec![], prompt.clone())).await.unwrap();
        for branch in [20u32, 21, 22] {
            let reply = session
                .run(expand(root.slots.clone(), vec![branch]))
                .await
                .unwrap();
            let full: Vec<u32> = prompt.iter().copied().chain([branch]).collect();
            let expected = logits(&decoder, &full);
            let best = reply.last().tokens[0] as usize;
            assert!(expected.iter().all(|x| *x <= expected[best] + 1e-5));
        }
        let before = handle.load().tokens;
        assert_eq!(before, 4 + 3, "the prefix was forwarded once");
        drop(session);
        let session = handle.session(64).await.unwrap();
        session.run(expand(vec![], prompt.clone())).await.unwrap();
        // The answer is on its way a moment before the count.
        let counted = |slots| handle.load().live_slots == slots;
        let start = Instant::now();
        while !counted(4) && start.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
        assert!(counted(4), "the first session's slots came back");
    });
}

#[test]
fn a_value_trunk_of_its_own_sees_the_same_tokens() {
    let device = Device::flex();
    let trunk = Decoder::init(&config(), 8, &device);
    let mut head = ValueHead::init(HeadKind::Linear, 48, 0, 0, &device);
    head.score = head.score.map(|t| t.ones_like().mul_scalar(0.05));
    let value = Value::Separate {
        trunk: trunk.clone(),
        head: head.clone(),
    };
    let engine = Engine::start(decoder(), Some(value), Params::default()).unwrap();
    let prompt = prompts()[12].clone();
    let reply = run(
        &engine,
        vec![request(prompt.clone(), Choose::Greedy)],
        false,
    )
    .remove(0);
    let mut tokens = prompt;
    for (index, output) in reply.outputs.iter().enumerate() {
        let n = tokens.len();
        let ids: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, n]), &device);
        let hidden = trunk.hidden(ids).reshape([n, 48]).slice([n - 1..n, 0..48]);
        let expected = floats(head.members(hidden))[0];
        assert!((output.value - expected).abs() < 1e-5);
        tokens.push(reply.generated[index]);
    }
    assert_eq!(engine.handle().nets(), 2);
}

#[test]
fn requests_that_cannot_be_served_are_refused_with_a_reason() {
    let params = Params {
        kv_slots: 128,
        ..Params::default()
    };
    let engine = Engine::start(decoder(), None, params).unwrap();
    let handle = engine.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert!(matches!(
            handle.session(129).await.err(),
            Some(Error::SessionTooLarge {
                needed: 129,
                capacity: 128
            })
        ));
        let session = handle.session(100).await.unwrap();
        let run = |tokens| session.run(request(tokens, Choose::Greedy));
        assert_eq!(run(vec![]).await.err(), Some(Error::Empty));
        assert_eq!(
            run(vec![3, 61]).await.err(),
            Some(Error::UnknownToken {
                token: 61,
                vocab: 61
            })
        );
        assert!(matches!(
            run(vec![1; 230]).await.err(),
            Some(Error::TooLong { .. })
        ));
        assert!(run(vec![1; 20]).await.is_ok());
    });
    drop(engine);
    let gone = runtime.block_on(async {
        let session = handle.session(10).await.unwrap();
        session.run(request(vec![1], Choose::Greedy)).await.err()
    });
    assert_eq!(gone, Some(Error::Stopped));
}
