//! Shapes of published models, to be filled with random weights.

use crate::model::{Architecture, Config};

/// Name, architecture, vocabulary, hidden, intermediate, layers, heads, key-value heads, head size,
/// context, rotary base, tied head.
type Row = (&'static str, Architecture, [usize; 7], usize, f64, bool);

const SHAPES: &[Row] = &[
    (
        "countdown-tiny",
        Architecture::Qwen2,
        [111, 96, 256, 4, 4, 2, 24],
        128,
        1e4,
        true,
    ),
    (
        "smollm2-135m",
        Architecture::Llama,
        [49_152, 576, 1536, 30, 9, 3, 64],
        8192,
        1e5,
        true,
    ),
    (
        "qwen2.5-0.5b",
        Architecture::Qwen2,
        [151_936, 896, 4864, 24, 14, 2, 64],
        32_768,
        1e6,
        true,
    ),
    (
        "llama-3.2-1b",
        Architecture::Llama,
        [128_256, 2048, 8192, 16, 32, 8, 64],
        131_072,
        5e5,
        true,
    ),
    (
        "qwen2.5-1.5b",
        Architecture::Qwen2,
        [151_936, 1536, 8960, 28, 12, 2, 128],
        32_768,
        1e6,
        true,
    ),
    (
        "qwen2.5-7b",
        Architecture::Qwen2,
        [152_064, 3584, 18_944, 28, 28, 4, 128],
        32_768,
        1e6,
        false,
    ),
];

/// The names that [`shape`] knows.
pub fn names() -> Vec<&'static str> {
    SHAPES.iter().map(|row| row.0).collect()
}

/// The shape called `name`.
pub fn shape(name: &str) -> Option<Config> {
    let &(_, architecture, sizes, context, rope_theta, tied) =
        SHAPES.iter().find(|row| row.0 == name)?;
    let [
        vocab,
        hidden,
        intermediate,
        layers,
        heads,
        kv_heads,
        head_dim,
    ] = sizes;
    Some(Config {
        architecture,
        vocab_size: vocab,
        hidden_size: hidden,
        intermediate_size: intermediate,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim,
        max_position_embeddings: context,
        rms_norm_eps: 1e-6,
        rope_theta,
        rope_scaling: None,
        tie_word_embeddings: tied,
        attention_bias: architecture == Architecture::Qwen2,
        bos_token_id: None,
        eos_token_ids: vec![0],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_on_the_models_cards() {
        for (name, millions) in [
            ("smollm2-135m", 134.5),
            ("qwen2.5-0.5b", 494.0),
            ("llama-3.2-1b", 1235.8),
            ("qwen2.5-1.5b", 1543.7),
            ("qwen2.5-7b", 7615.6),
        ] {
            let parameters = shape(name).unwrap().parameters() as f64 / 1e6;
            assert!((parameters - millions).abs() < 0.1, "{name}: {parameters}");
        }
        assert_eq!(shape("gpt-5"), None);
        assert!(names().iter().all(|name| shape(name).is_some()));
    }
}
