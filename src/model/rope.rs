//! Rotary position embeddings in split halves (Su et al., 2021, in the layout of GPT-NeoX and
//! Hugging Face: dimension `i` is paired with `i + head_dim / 2`).

use super::config::{Config, Llama3Scaling};
use std::f64::consts::PI;

/// The rotary frequencies of one decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    inverse_frequencies: Vec<f32>,
}

impl Rope {
    /// The `head_dim / 2` frequencies that `config` asks for.
    pub fn new(config: &Config) -> Rope {
        let d = config.head_dim;
        let inverse_frequencies = (0..d / 2)
            .map(|i| {
                let f = config.rope_theta.powf(-((2 * i) as f64) / d as f64);
                config.rope_scaling.map_or(f, |s| scale_llama3(f, &s)) as f32
            })
            .collect();
        Rope {
            inverse_frequencies,
        }
    }

    /// Number of frequencies, `head_dim / 2`.
    pub fn half(&self) -> usize {
        self.inverse_frequencies.len()
    }

    /// Appends cosines and sines of `position`, `head_dim / 2` of each.
    pub fn extend(&self, position: usize, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        for f in &self.inverse_frequencies {
            let (s, c) = (position as f32 * f).sin_cos();
            cos.push(c);
            sin.push(s);
        }
    }

    /// Cosines and sines of the positions `0..positions`, each `[positions, head_dim / 2]`.
    pub fn table(&self, positions: usize) -> (Vec<f32>, Vec<f32>) {
        let mut cos = Vec::with_capacity(positions * self.half());
        let mut sin = Vec::with_capacity(positions * self.half());
        for position in 0..positions {
            self.extend(position, &mut cos, &mut sin);
        }
        (cos, sin)
    }
}

/// Frequency scaling of Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, and
/// those between interpolated.
fn scale_llama3(frequency: f64, s: &Llama3Scaling) -> f64 {
    let wavelength = 2.0 * PI / frequency;
    let context = s.original_max_position_embeddings;
    if wavelength < context / s.high_freq_factor {
        frequency
    } else if wavelength > context / s.low_freq_factor {
        frequency / s.factor
    } else {
        let smooth =
            (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
        (1.0 - smooth) * frequency / s.factor + smooth * frequency
    }
}
