//! How large the networks of a run are, and which part of them each fit moves.

use crate::model::{Config, HeadKind};
use crate::recipe::{Mode, Recipe};
use crate::train::fit_policy::Method;
use crate::train::fit_value::Kind;
use serde::Serialize;

/// Bytes of a number: weights, gradients, keys and values are f32 throughout.
pub(super) const FLOAT: f64 = 4.0;

/// A fit of the train phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    Joint,
    Value,
    Policy,
}

/// The fits of an iteration, in their order: a value trunk of its own learns before the policy moves,
/// a head on the policy's trunk after it.
pub(super) fn fits(recipe: &Recipe) -> Vec<Fit> {
    match (recipe.learn.mode, recipe.value.kind) {
        (Mode::Joint, _) => vec![Fit::Joint],
        (Mode::Separate, Kind::Trunk) => vec![Fit::Value, Fit::Policy],
        (Mode::Separate, Kind::Head) => vec![Fit::Policy, Fit::Value],
    }
}

/// Sizes of a model and of the nets around it, in numbers of f32.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub config: Config,
    /// The policy.
    pub policy: f64,
    /// A value trunk of its own, where the recipe trains one.
    pub trunk: f64,
    /// The value head.
    pub head: f64,
    /// One layer.
    layer: f64,
}

impl Shape {
    pub fn of(config: &Config, recipe: &Recipe) -> Shape {
        let (hidden, vocab) = (config.hidden_size as f64, config.vocab_size as f64);
        let policy = config.parameters() as f64;
        let untied = match config.tie_word_embeddings {
            true => 0.0,
            false => vocab * hidden,
        };
        let layers = config.num_hidden_layers.max(1) as f64;
        let (bins, heads) = (recipe.learn.bins as f64, recipe.learn.heads as f64);
        let head = match recipe.learn.head {
            HeadKind::Linear => hidden * bins * heads,
            HeadKind::Mlp => (hidden + 1.0 + bins) * recipe.learn.head_width as f64 * heads,
        };
        let own = recipe.learn.mode == Mode::Separate && recipe.value.kind == Kind::Trunk;
        Shape {
            policy,
            trunk: if own { policy - untied } else { 0.0 },
            head,
            layer: (policy - untied - vocab * hidden - hidden) / layers,
            config: config.clone(),
        }
    }

    /// Bytes of one token's keys and values in one transformer.
    pub fn slot_bytes(&self) -> f64 {
        slot_bytes(&self.config)
    }

    /// Layers that gradients reach in `fit`; all for 0.
    pub fn moved_layers(&self, fit: Fit, recipe: &Recipe) -> f64 {
        let all = self.config.num_hidden_layers;
        let last = match fit {
            Fit::Joint => recipe.joint.last_layers,
            Fit::Value if recipe.value.kind == Kind::Head => return 0.0,
            Fit::Value => recipe.value.last_layers,
            Fit::Policy if recipe.policy.method == Method::LastLayers => recipe.policy.last_layers,
            Fit::Policy => 0,
        };
        (if last == 0 { all } else { last.min(all) }) as f64
    }

    /// Numbers that `fit` moves, its head included.
    pub fn moved(&self, fit: Fit, recipe: &Recipe) -> f64 {
        let head = if fit == Fit::Policy { 0.0 } else { self.head };
        let whole = match fit {
            Fit::Value => self.trunk,
            Fit::Joint | Fit::Policy => self.policy,
        };
        if fit == Fit::Policy && recipe.policy.method == Method::Lora {
            return self.adapters(recipe.policy.lora_rank);
        }
        let layers = self.moved_layers(fit, recipe);
        let all = layers as usize == self.config.num_hidden_layers;
        head + if all { whole } else { layers * self.layer }
    }

    /// Numbers of low-rank adapters on the four matrices of every layer.
    fn adapters(&self, rank: usize) -> f64 {
        let c = &self.config;
        let (hidden, inner) = (c.hidden_size, c.intermediate_size);
        let attended = c.num_attention_heads * c.head_dim;
        let sides =
            (hidden + c.qkv_size()) + (attended + hidden) + (hidden + 2 * inner) + (inner + hidden);
        (c.num_hidden_layers * rank * sides) as f64
    }
}

/// Bytes of one token's keys and values in a transformer.
pub(super) fn slot_bytes(config: &Config) -> f64 {
    (config.num_hidden_layers * config.kv_size()) as f64 * FLOAT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Shape as Small;

    fn config() -> Config {
        Small {
            layers: 4,
            hidden: 96,
            heads: 4,
            kv_heads: 2,
            intermediate: 256,
            context: 512,
        }
        .config(109, 0)
    }

    #[test]
    fn what_a_fit_moves() {
        let mut recipe = Recipe::default();
        let shape = Shape::of(&config(), &recipe);
        assert_eq!(shape.policy, config().parameters() as f64);
        assert_eq!((shape.trunk, shape.head), (0.0, 96.0));
        assert_eq!(shape.slot_bytes(), 4.0 * 96.0 * 4.0);
        assert_eq!(shape.moved(Fit::Joint, &recipe), shape.policy + 96.0);
        recipe.joint.last_layers = 1;
        let one = shape.moved(Fit::Joint, &recipe) - 96.0;
        assert!((4.0 * one + 110.0 * 96.0 - shape.policy).abs() < 0.5);

        recipe.learn.mode = Mode::Separate;
        assert_eq!(fits(&recipe), [Fit::Policy, Fit::Value]);
        assert_eq!(shape.moved(Fit::Value, &recipe), 96.0, "a head alone");
        recipe.value.kind = Kind::Trunk;
        assert_eq!(fits(&recipe), [Fit::Value, Fit::Policy]);
        let shape = Shape::of(&config(), &recipe);
        assert_eq!(shape.trunk, shape.policy);
        recipe.policy.method = Method::Lora;
        assert!(shape.moved(Fit::Policy, &recipe) < shape.policy);
    }
}
