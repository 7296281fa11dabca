//! Mean hidden states beside those of a plain forward pass.

use super::*;
use crate::engine::Slot;
use crate::model::layout::floats;
use burn::tensor::{Int, Tensor, TensorData};

/// Mean of the final hidden states of `text` from one token on, without an engine.
fn directly(decoder: &Decoder, text: &[u32], from: usize) -> Vec<f32> {
    let ids: Vec<i32> = text.iter().map(|&t| t as i32).collect();
    let device = decoder.embedding.val().device();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, text.len()]), &device);
    let hidden = decoder.hidden(ids);
    let [_, _, width] = hidden.dims();
    let hidden = floats(hidden);
    let rows = hidden.chunks_exact(width).skip(from);
    let count = (text.len() - from) as f64;
    let mut mean = vec![0.0f64; width];
    for row in rows {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x) / count;
        }
    }
    mean.into_iter().map(|x| x as f32).collect()
}

/// Rows with and without a text of their own, which ask for a mean from several tokens on or for none.
fn asking() -> Vec<Request> {
    let ways = [None, Some(0), Some(1), Some(3)];
    let several = rows().into_iter().enumerate().flat_map(|(index, row)| {
        ways.map(|mean_from| Request {
            tokens: (0..4 + index as u32 % 9)
                .map(|t| 1 + (t * 11 + index as u32) % 39)
                .collect(),
            generate: row.generate.clone().filter(|_| index % 4 != 1),
            mean_from,
            ..row.clone()
        })
    });
    several.collect()
}

fn check(place: Place, device: &Device) {
    // Prompts are cut into several steps.
    let params = Params {
        max_step_tokens: 7,
        ..Params::default()
    };
    let decoder = decoder(device);
    let engine = Engine::start_at(decoder.clone(), None, params, place).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = engine.handle();
    let before: Vec<u32> = (0..5).map(|t| 3 + t * 5).collect();
    let replies: Vec<(Request, Reply)> = runtime.block_on(async {
        let session = Arc::new(handle.session(8000).await.unwrap());
        let prefill = Request {
            tokens: before.clone(),
            top_k: 1,
            ..Request::default()
        };
        let context: Vec<Slot> = session.run(prefill).await.unwrap().slots;
        let mut tasks = tokio::task::JoinSet::new();
        for (index, mut request) in asking().into_iter().enumerate() {
            request.context = context.clone();
            let session = session.clone();
            tasks.spawn(async move {
                let reply = session.run(request.clone()).await.unwrap();
                (index, request, reply)
            });
        }
        let mut done = tasks.join_all().await;
        done.sort_by_key(|d| d.0);
        done.into_iter().map(|d| (d.1, d.2)).collect()
    });
    let mut ended = 0;
    for alike in replies.chunks_exact(4) {
        let plain = &alike[0].1;
        assert!(plain.mean.is_empty());
        for (request, reply) in alike {
            assert_eq!(reply.generated, plain.generated);
            assert_eq!(reply.finish, plain.finish);
            if matches!(place, Place::Host { .. }) {
                assert_eq!(reply.outputs, plain.outputs, "asking changes nothing else");
                assert_eq!(reply.log_probs, plain.log_probs);
            }
            let Some(from) = request.mean_from else {
                continue;
            };
            let text = [before.as_slice(), &request.tokens, &reply.generated].concat();
            assert_eq!(reply.slots.len(), text.len() - before.len());
            let expected = directly(&decoder, &text, before.len() + from);
            assert_eq!(reply.mean.len(), expected.len());
            for (a, b) in reply.mean.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-5, "{a}, {b}");
            }
            ended += usize::from(reply.finish == Finish::Stop);
        }
    }
    assert!(ended > 0, "a stop token has a state as well");
}

#[test]
fn a_mean_is_that_of_a_plain_forward_pass() {
    check(Place::Host { bf16: false }, &Device::flex());
    check(Place::Device(DType::F32), &Device::flex());
}
