//! Every operation against plain tensor operations: the Rust versions always, the CubeCL versions
//! where a GPU feature is built in and a driver is found. For `wgpu` a software one will do (Debian:
//! mesa-vulkan-drivers): `cargo test --features wgpu --lib kernels::ops`.

use super::*;
use burn::tensor::DType;
use burn::tensor::activation::{silu, softmax};

/// Numbers in [-1, 1) from a seed.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The same numbers on `device`, in its type.
fn floats<const D: usize>(shape: [usize; D], seed: u32, on: &Place) -> Tensor<D> {
    let data = TensorData::new(numbers(shape.iter().product(), seed), shape);
    Tensor::<D>::from_data(data, (&on.device, DType::F32)).cast(on.dtype)
}

/// As [`floats`], but always in f32.
fn exact<const D: usize>(shape: [usize; D], seed: u32, on: &Place) -> Tensor<D> {
    let data = TensorData::new(numbers(shape.iter().product(), seed), shape);
    Tensor::<D>::from_data(data, (&on.device, DType::F32))
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_to_vec().unwrap()
}

fn agree(what: &str, on: &Place, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what} on {}", on.name);
    let scale = expected.iter().fold(1.0f32, |m, x| m.max(x.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        let far = (a - b).abs() / scale;
        assert!(
            far <= on.tolerance,
            "{what} on {}: {a} instead of {b} at {at}",
            on.name
        );
    }
}

/// Where a test runs.
struct Place {
    name: String,
    device: Device,
    dtype: DType,
    tolerance: f32,
}

fn host() -> Place {
    Place {
        name: "the host".into(),
        device: Device::flex(),
        dtype: DType::F32,
        tolerance: 2e-6,
    }
}

fn places() -> Vec<Place> {
    let gpus = ["wgpu", "cuda"].into_iter().flat_map(gpu);
    std::iter::once(host()).chain(gpus).collect()
}

/// The GPU behind an API in the types that it computes in; none where it is not built in or there is no
/// driver.
fn gpu(api: &str) -> Vec<Place> {
    let device = match crate::model::device::open(api) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("the kernels are not tested through {api}: {error}");
            return Vec::new();
        }
    };
    let types = [
        ("f32", DType::F32, 2e-6),
        ("f16", DType::F16, 4e-3),
        ("bf16", DType::BF16, 3e-2),
    ];
    types
        .into_iter()
        .filter(|(_, dtype, _)| device.supports_dtype(*dtype))
        .map(|(name, dtype, tolerance)| Place {
            name: format!("{api} in {name}"),
            device: device.clone(),
            dtype,
            tolerance,
        })
        .collect()
}

#[test]
fn the_norm_is_that_of_the_sum() {
    for on in places() {
        for width in [8, 96, 300, 896] {
            let (x, delta) = (exact([5, width], 1, &on), floats([5, width], 2, &on));
            let weight = exact([width], 3, &on);
            let (sum, normed) = add_norm(x.clone(), delta.clone(), weight.clone(), 1e-5);
            let expected = x + delta.cast(DType::F32);
            let mean = expected.clone().powi_scalar(2).mean_dim(1);
            let scaled = expected.clone() / (mean + 1e-5).sqrt() * weight.unsqueeze();
            agree("the sum", &on, &read(sum), &read(expected));
            agree("the norm", &on, &read(normed), &read(scaled));
        }
    }
}

#[test]
fn gate_and_up_meet() {
    for on in places() {
        let x = floats([7, 2 * 130], 4, &on);
        let (gate, up) = (x.clone().narrow(1, 0, 130), x.clone().narrow(1, 130, 130));
        agree("swiglu", &on, &read(swiglu(x)), &read(silu(gate) * up));
    }
}

/// Queries, keys and values by hand, of one token.
fn rotated(row: &[f32], bias: &[f32], position: usize, heads: usize, d: usize) -> Vec<f32> {
    let mut row: Vec<f32> = row.iter().zip(bias).map(|(x, b)| x + b).collect();
    for head in row.chunks_exact_mut(d).take(heads) {
        for i in 0..d / 2 {
            let angle = angle(position, i, d);
            let (a, b) = (head[i], head[i + d / 2]);
            head[i] = a * angle.cos() - b * angle.sin();
            head[i + d / 2] = b * angle.cos() + a * angle.sin();
        }
    }
    row
}

fn angle(position: usize, i: usize, d: usize) -> f32 {
    position as f32 * 10_000f32.powf(-2.0 * i as f32 / d as f32)
}

#[test]
fn rotated_keys_and_values_go_to_their_slots() {
    let (n, h, kv, d, slots) = (6, 4, 2, 16, 20);
    let width = (h + 2 * kv) * d;
    let positions = [0u32, 3, 1, 7, 2, 5];
    let own = [4u32, 19, 0, 7, 8, 11];
    let mut angles = Vec::new();
    for position in 0..8 {
        angles.extend((0..d / 2).map(|i| angle(position, i, d).cos()));
        angles.extend((0..d / 2).map(|i| angle(position, i, d).sin()));
    }
    for on in places() {
        let (qkv, bias) = (floats([n, width], 5, &on), exact([width], 6, &on));
        let pool = floats([slots, 2, kv, d], 7, &on);
        let table = Tensor::<2>::from_data(
            TensorData::new(angles.clone(), [8, d]),
            (&on.device, DType::F32),
        );
        let both = [positions, own].concat();
        let places = indices(both, [2, n], &on.device);
        let (rows, mut expected_pool) = (read(qkv.clone()), read(pool.clone()));
        let bias_row = read(bias.clone());
        let (q, pool) = rotate_and_store(qkv, bias, table, places, pool, h);
        let mut expected_q = Vec::new();
        for i in 0..n {
            let row = &rows[i * width..][..width];
            let row = rotated(row, &bias_row, positions[i] as usize, h + kv, d);
            expected_q.extend_from_slice(&row[..h * d]);
            expected_pool[own[i] as usize * 2 * kv * d..][..2 * kv * d]
                .copy_from_slice(&row[h * d..]);
        }
        agree("queries", &on, &read(q), &expected_q);
        agree("the pool", &on, &read(pool), &expected_pool);
    }
}

/// Attention in plain tensor operations, token by token.
fn reference(q: Tensor<3>, pool: Tensor<4>, rows: &[&[u32]], tokens: &[(u32, u32)]) -> Tensor<2> {
    let [_, h, d] = q.dims();
    let [_, _, kv, _] = pool.dims();
    let (q, pool) = (q.cast(DType::F32), pool.cast(DType::F32));
    let device = q.device();
    let one = |(i, &(row, seen)): (usize, &(u32, u32))| {
        let seen = seen as usize;
        let slots = rows[row as usize][..seen]
            .iter()
            .map(|&s| s as i32)
            .collect();
        let slots = Tensor::<1, Int>::from_data(TensorData::new(slots, [seen]), &device);
        let both = pool.clone().select(0, slots);
        let part = |which| both.clone().narrow(1, which, 1).reshape([seen, kv, d]);
        let q = q.clone().narrow(0, i, 1).reshape([kv, h / kv, d]);
        let keys = part(0).permute([1, 2, 0]);
        let scores = q.matmul(keys) / (d as f32).sqrt();
        softmax(scores, 2)
            .matmul(part(1).permute([1, 0, 2]))
            .reshape([1, h * d])
    };
    Tensor::cat(tokens.iter().enumerate().map(one).collect(), 0)
}

#[test]
fn gathered_attention_is_that_of_plain_tensors() {
    let slots = 700;
    for on in places() {
        for (h, kv, d) in [(4, 2, 8), (14, 2, 64), (9, 3, 64), (2, 1, 96), (4, 4, 32)] {
            let path = |seed: u32, len: usize| -> Vec<u32> {
                let step = 2 * seed + 7;
                (0..len as u32).map(|i| (i * step + seed) % slots).collect()
            };
            let paths = [
                path(1, 1),
                path(2, 130),
                path(3, 64),
                path(4, 300),
                path(5, 77),
            ];
            let rows: Vec<&[u32]> = paths.iter().map(Vec::as_slice).collect();
            let decode: Vec<(u32, u32)> = (0..5u32)
                .map(|i| (i, rows[i as usize].len() as u32))
                .collect();
            // A step with prefill: rows bring one to eleven tokens.
            let mixed: Vec<(u32, u32)> = std::iter::once((0, 1))
                .chain((120..=130).map(|seen| (1, seen)))
                .chain([(2, 64)])
                .chain((293..=300).map(|seen| (3, seen)))
                .chain((1..=6).map(|seen| (4, seen)))
                .collect();
            let pool = floats([slots as usize, 2, kv, d], 8, &on);
            for tokens in [&decode, &mixed] {
                let q = floats([tokens.len(), h, d], 9, &on);
                let paths = Paths::new(&rows, tokens, &on.device);
                let found = attend(q.clone(), pool.clone(), &paths);
                let expected = reference(q, pool.clone(), &rows, tokens);
                agree("attention", &on, &read(found), &read(expected));
            }
        }
    }
}

#[test]
fn a_token_attends_alike_in_any_company() {
    let (h, kv, d) = (6, 2, 32);
    for on in places() {
        let pool = floats([400, 2, kv, d], 10, &on);
        let path: Vec<u32> = (0..300).collect();
        let other: Vec<u32> = (100..180).collect();
        let q = floats([9, h, d], 11, &on);
        let together: Vec<(u32, u32)> =
            (293..=300).map(|seen| (0, seen)).chain([(1, 80)]).collect();
        let paths = Paths::new(&[&path, &other], &together, &on.device);
        let all = read(attend(q.clone(), pool.clone(), &paths));
        for (i, &(row, seen)) in together.iter().enumerate() {
            let row = if row == 0 { &path } else { &other };
            let alone = Paths::new(&[row], &[(0, seen)], &on.device);
            let one = attend(q.clone().narrow(0, i, 1), pool.clone(), &alone);
            assert_eq!(read(one), all[i * h * d..][..h * d], "{} {i}", on.name);
        }
    }
}

#[test]
fn the_best_logits_and_their_mass_are_those_of_a_sort() {
    for on in places() {
        for (vocab, k) in [(40, 40), (1000, 5), (5003, 17)] {
            let mut data = numbers(3 * vocab, 12);
            // Equal ones, so that ids decide; and a row that is far from 0.
            data[7] = 2.0;
            data[30] = 2.0;
            data[11] = 2.0;
            data[vocab..2 * vocab].iter_mut().for_each(|x| *x += 500.0);
            let logits = Tensor::<2>::from_data(
                TensorData::new(data.clone(), [3, vocab]),
                (&on.device, DType::F32),
            );
            let found = read(top(logits, k));
            for (row, found) in data.chunks(vocab).zip(found.chunks(1 + 2 * k)) {
                let mut order: Vec<usize> = (0..vocab).collect();
                order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
                let mass: f64 = row
                    .iter()
                    .map(|&x| f64::from(x - row[order[0]]).exp())
                    .sum();
                let exact = f64::from(row[order[0]]) + mass.ln();
                assert!((f64::from(found[0]) - exact).abs() < 1e-4 * exact.abs().max(1.0));
                let ids: Vec<usize> = found[1 + k..].iter().map(|&id| id as usize).collect();
                assert_eq!(ids, order[..k], "{}", on.name);
                let values: Vec<f32> = order[..k].iter().map(|&id| row[id]).collect();
                assert_eq!(found[1..=k], values, "{}", on.name);
            }
        }
        for broken in [f32::NAN, f32::INFINITY] {
            let mut data = numbers(600, 13);
            data[411] = broken;
            let logits =
                Tensor::<2>::from_data(TensorData::new(data, [1, 600]), (&on.device, DType::F32));
            assert!(!read(top(logits, 2))[0].is_finite(), "{}", on.name);
        }
    }
}

#[test]
fn draws_follow_the_softmax() {
    let vocab = 700;
    for on in places() {
        let row: Vec<f32> = numbers(vocab, 14).iter().map(|x| 3.0 * x).collect();
        let temperature = 0.7f32;
        let weights: Vec<f64> = row
            .iter()
            .map(|x| f64::from(x / temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let uniforms = [0.0f32, 0.123, 0.5, 0.77, 0.999, 0.999_999_94];
        let dice: Vec<f32> = uniforms.iter().flat_map(|&u| [temperature, u]).collect();
        let n = uniforms.len();
        let logits = Tensor::<2>::from_data(
            TensorData::new(row.repeat(n), [n, vocab]),
            (&on.device, DType::F32),
        );
        let dice = Tensor::<2>::from_data(TensorData::new(dice, [n, 2]), (&on.device, DType::F32));
        let found = read(draw(logits, dice));
        for (u, found) in uniforms.iter().zip(found.chunks(2)) {
            let id = found[0] as usize;
            let below: f64 = weights[..id].iter().sum::<f64>() / total;
            let above = below + weights[id] / total;
            let u = f64::from(*u);
            assert!(
                below - 1e-5 <= u && u <= above + 1e-5,
                "{u} in {below}..{above}"
            );
            assert_eq!(found[1], row[id], "{}", on.name);
        }
    }
}

#[test]
fn wide_products_are_those_of_f32() {
    for on in places() {
        let (x, w) = (floats([9, 96], 15, &on), floats([96, 130], 16, &on));
        let expected = x
            .clone()
            .cast(DType::F32)
            .matmul(w.clone().cast(DType::F32));
        let found = multiply_wide(x, w);
        assert_eq!(found.dtype(), DType::F32);
        agree("the product", &on, &read(found), &read(expected));
    }
}

/// What a captured graph needs: the numbers change under whoever holds the tensor.
#[test]
fn numbers_are_written_over_in_place_on_a_gpu() {
    for on in places() {
        let (old, new) = (exact([3, 70], 17, &on), exact([3, 70], 18, &on));
        let held = old.clone();
        let expected = read(new.clone());
        assert_eq!(read(overwrite(old, new)), expected);
        let in_place = read(held) == expected;
        assert_eq!(in_place, on.device != Device::flex(), "{}", on.name);
        let ids = |first: u32| indices((first..first + 5).collect(), [5], &on.device);
        let found = overwrite_ints(ids(0), ids(7)).into_data();
        assert_eq!(found.try_to_vec::<u32>().unwrap(), [7, 8, 9, 10, 11]);
    }
}
