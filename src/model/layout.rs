//! Between Hugging Face's tensors (`[out, in]`, one per projection) and ours (`[in, out]`, query,
//! key and value fused, gate and up fused).

use super::config::Config;
use super::decoder::{Decoder, Layer, Projection, RmsNorm, matrix, vector};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

/// One named tensor in Hugging Face layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// Supplies the tensor of a name and a shape, in Hugging Face layout.
pub type Get<'a, E> = &'a mut dyn FnMut(&str, &[usize]) -> Result<Vec<f32>, E>;

/// Reads layer `index` through `get`.
pub(super) fn read_layer<E>(
    config: &Config,
    index: usize,
    device: &Device,
    get: Get<'_, E>,
) -> Result<Layer, E> {
    let p = format!("model.layers.{index}");
    let (h, ff, d) = (
        config.hidden_size,
        config.intermediate_size,
        config.head_dim,
    );
    let q = config.num_attention_heads * d;
    let kv = config.num_key_value_heads * d;
    let qkv_parts = [("q_proj", q), ("k_proj", kv), ("v_proj", kv)];
    let mut qkv = Vec::with_capacity(h * config.qkv_size());
    let mut bias = Vec::new();
    for (name, out) in qkv_parts {
        qkv.extend(get(&format!("{p}.self_attn.{name}.weight"), &[out, h])?);
        if config.attention_bias {
            bias.extend(get(&format!("{p}.self_attn.{name}.bias"), &[out])?);
        }
    }
    let mut gate_up = get(&format!("{p}.mlp.gate_proj.weight"), &[ff, h])?;
    gate_up.extend(get(&format!("{p}.mlp.up_proj.weight"), &[ff, h])?);
    let linear = |data: &[f32], out: usize, input: usize| Projection {
        weight: matrix(transpose(data, out, input), [input, out], device),
        bias: None,
    };
    let mut norm = |name: &str| -> Result<RmsNorm, E> {
        Ok(RmsNorm {
            weight: vector(get(&format!("{p}.{name}.weight"), &[h])?, device),
            epsilon: config.rms_norm_eps,
        })
    };
    let attention_norm = norm("input_layernorm")?;
    let mlp_norm = norm("post_attention_layernorm")?;
    let output = linear(
        &get(&format!("{p}.self_attn.o_proj.weight"), &[h, q])?,
        h,
        q,
    );
    let down = linear(&get(&format!("{p}.mlp.down_proj.weight"), &[h, ff])?, h, ff);
    let mut qkv = linear(&qkv, config.qkv_size(), h);
    qkv.bias = config.attention_bias.then(|| vector(bias, device));
    Ok(Layer {
        attention_norm,
        qkv,
        output,
        mlp_norm,
        gate_up: linear(&gate_up, 2 * ff, h),
        down,
    })
}

/// Every tensor of `decoder` in Hugging Face's order and layout.
pub(super) fn write_decoder(decoder: &Decoder) -> Vec<Weight> {
    let config = decoder.config();
    let d = config.head_dim;
    let q = config.num_attention_heads * d;
    let kv = config.num_key_value_heads * d;
    let ff = config.intermediate_size;
    let mut out = Vec::new();
    out.push(whole("model.embed_tokens.weight", &decoder.embedding));
    for (index, layer) in decoder.layers.iter().enumerate() {
        let p = format!("model.layers.{index}");
        out.push(norm(
            format!("{p}.input_layernorm.weight"),
            &layer.attention_norm,
        ));
        let parts = [("q_proj", q), ("k_proj", kv), ("v_proj", kv)];
        out.extend(split(&format!("{p}.self_attn"), &layer.qkv, &parts));
        out.extend(split(
            &format!("{p}.self_attn"),
            &layer.output,
            &[("o_proj", config.hidden_size)],
        ));
        out.push(norm(
            format!("{p}.post_attention_layernorm.weight"),
            &layer.mlp_norm,
        ));
        let parts = [("gate_proj", ff), ("up_proj", ff)];
        out.extend(split(&format!("{p}.mlp"), &layer.gate_up, &parts));
        out.extend(split(
            &format!("{p}.mlp"),
            &layer.down,
            &[("down_proj", config.hidden_size)],
        ));
    }
    out.push(norm("model.norm.weight".into(), &decoder.norm));
    if let Some(head) = &decoder.head {
        out.push(whole("lm_head.weight", head));
    }
    out
}

fn norm(name: String, norm: &RmsNorm) -> Weight {
    Weight {
        name,
        shape: norm.weight.val().dims().to_vec(),
        data: floats(norm.weight.val()),
    }
}

fn whole(name: &str, param: &Param<Tensor<2>>) -> Weight {
    Weight {
        name: name.into(),
        shape: param.val().dims().to_vec(),
        data: floats(param.val()),
    }
}

/// Takes a fused projection apart: `parts` are the names and output sizes, in order.
fn split(prefix: &str, projection: &Projection, parts: &[(&str, usize)]) -> Vec<Weight> {
    let [input, out] = projection.weight.val().dims();
    let weight = transpose(&floats(projection.weight.val()), input, out);
    let bias = projection.bias.as_ref().map(|b| floats(b.val()));
    let mut at = 0;
    let mut all = Vec::new();
    for &(name, size) in parts {
        all.push(Weight {
            name: format!("{prefix}.{name}.weight"),
            shape: vec![size, input],
            data: weight[at * input..(at + size) * input].to_vec(),
        });
        if let Some(bias) = &bias {
            all.push(Weight {
                name: format!("{prefix}.{name}.bias"),
                shape: vec![size],
                data: bias[at..at + size].to_vec(),
            });
        }
        at += size;
    }
    all
}

/// The values of a tensor in row-major order, as f32 whatever its type.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    match tensor.into_data_as::<f32>().try_into_vec::<f32>() {
        Ok(floats) => floats,
        Err(_) => unreachable!("the data was just converted to f32"),
    }
}

/// `[rows, columns]` to `[columns, rows]`, in blocks that stay in the cache.
pub(super) fn transpose(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0.0; data.len()];
    out.par_chunks_mut(BLOCK * rows)
        .enumerate()
        .for_each(|(block, chunk)| {
            let first = block * BLOCK;
            for row0 in (0..rows).step_by(BLOCK) {
                for (c, line) in chunk.chunks_mut(rows).enumerate() {
                    for row in row0..(row0 + BLOCK).min(rows) {
                        line[row] = data[row * columns + first + c];
                    }
                }
            }
        });
    out
}
