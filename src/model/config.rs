//! The shape of a decoder, as a Hugging Face `config.json` states it.

use serde_json::Value;

/// The decoder families that tokenzero reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `Qwen2ForCausalLM`: biases on query, key and value.
    Qwen2,
    /// `LlamaForCausalLM`: no biases.
    Llama,
}

/// Rotary-frequency scaling of Llama 3.1 and later (`rope_type = "llama3"`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    pub factor: f64,
    pub low_freq_factor: f64,
    pub high_freq_factor: f64,
    pub original_max_position_embeddings: f64,
}

/// Shape and constants of a decoder. Field names are those of `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub architecture: Architecture,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: Option<Llama3Scaling>,
    pub tie_word_embeddings: bool,
    /// Whether query, key and value have biases.
    pub attention_bias: bool,
    pub bos_token_id: Option<u32>,
    /// Stop tokens that the configuration itself names.
    pub eos_token_ids: Vec<u32>,
}

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config.json is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("config.json has no `{0}`; a Qwen2 or Llama configuration needs it")]
    Missing(&'static str),
    #[error("config.json: `{key}` is {found}, but {expected} is needed")]
    Invalid {
        key: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error(
        "config.json: model_type `{0}` is not supported; tokenzero reads `qwen2` and `llama` decoders"
    )]
    UnknownModelType(String),
    #[error("config.json: {0} is not supported")]
    Unsupported(String),
}

impl Architecture {
    /// The value of `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Architecture::Qwen2 => "qwen2",
            Architecture::Llama => "llama",
        }
    }

    /// The prefix of the transformers class names (`Qwen2ForCausalLM`).
    pub fn class_prefix(self) -> &'static str {
        match self {
            Architecture::Qwen2 => "Qwen2",
            Architecture::Llama => "Llama",
        }
    }
}

impl Config {
    /// Width of the fused query, key and value projection.
    pub fn qkv_size(&self) -> usize {
        (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim
    }

    /// Floats that the keys and values of one token take in one layer.
    pub fn kv_size(&self) -> usize {
        2 * self.num_key_value_heads * self.head_dim
    }

    /// Number of parameters, a tied head counted once.
    pub fn parameters(&self) -> usize {
        let h = self.hidden_size;
        let qkv = self.qkv_size() * (h + usize::from(self.attention_bias));
        let layer = qkv
            + self.num_attention_heads * self.head_dim * h
            + 3 * h * self.intermediate_size
            + 2 * h;
        let head = if self.tie_word_embeddings { 1 } else { 2 };
        head * self.vocab_size * h + self.num_hidden_layers * layer + h
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// Text that is not JSON, an unknown `model_type`, a missing or impossible size, and features
    /// that the decoder lacks (sliding windows, other rotary scalings, other activations).
    pub fn from_json(text: &str) -> Result<Config, ConfigError> {
        let json: Value = serde_json::from_str(text)?;
        let model_type = json
            .get("model_type")
            .and_then(Value::as_str)
            .ok_or(ConfigError::Missing("model_type"))?;
        let architecture = match model_type {
            "qwen2" => Architecture::Qwen2,
            "llama" => Architecture::Llama,
            other => return Err(ConfigError::UnknownModelType(other.to_string())),
        };
        let hidden_size = size(&json, "hidden_size")?;
        let num_attention_heads = size(&json, "num_attention_heads")?;
        let num_key_value_heads =
            optional_size(&json, "num_key_value_heads")?.unwrap_or(num_attention_heads);
        let head_dim =
            optional_size(&json, "head_dim")?.unwrap_or(hidden_size / num_attention_heads);
        if num_attention_heads % num_key_value_heads != 0 {
            return Err(ConfigError::Invalid {
                key: "num_key_value_heads",
                found: num_key_value_heads.to_string(),
                expected: "a divisor of num_attention_heads",
            });
        }
        if head_dim == 0 || head_dim % 2 != 0 {
            return Err(ConfigError::Invalid {
                key: "head_dim",
                found: head_dim.to_string(),
                expected: "a positive even number",
            });
        }
        reject_unsupported(&json, model_type)?;
        // Newer transformers keep the rotary settings in `rope_parameters`.
        let rope = json
            .get("rope_parameters")
            .filter(|v| v.is_object())
            .or_else(|| json.get("rope_scaling").filter(|v| v.is_object()));
        let rope_theta = number(&json, "rope_theta")
            .or_else(|| rope.and_then(|r| number(r, "rope_theta")))
            .unwrap_or(10_000.0);
        Ok(Config {
            architecture,
            vocab_size: size(&json, "vocab_size")?,
            hidden_size,
            intermediate_size: size(&json, "intermediate_size")?,
            num_hidden_layers: size(&json, "num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings: optional_size(&json, "max_position_embeddings")?
                .unwrap_or(2048),
            rms_norm_eps: number(&json, "rms_norm_eps").unwrap_or(1e-6),
            rope_theta,
            rope_scaling: rope.map(rope_scaling).transpose()?.flatten(),
            tie_word_embeddings: flag(&json, "tie_word_embeddings"),
            attention_bias: match architecture {
                Architecture::Qwen2 => true,
                Architecture::Llama => false,
            },
            bos_token_id: token_ids(&json, "bos_token_id").first().copied(),
            eos_token_ids: token_ids(&json, "eos_token_id"),
        })
    }

    /// The `config.json` of a causal language model of this shape, weights in `dtype`
    /// (`"float32"` or `"bfloat16"`).
    pub fn to_json(&self, dtype: &str) -> Value {
        let mut json = serde_json::json!({
            "architectures": [format!("{}ForCausalLM", self.architecture.class_prefix())],
            "model_type": self.architecture.model_type(),
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tie_word_embeddings,
            "torch_dtype": dtype,
            "use_cache": true,
            "vocab_size": self.vocab_size,
        });
        if self.architecture == Architecture::Qwen2 {
            json["use_sliding_window"] = false.into();
        } else {
            json["attention_bias"] = self.attention_bias.into();
        }
        if let Some(s) = self.rope_scaling {
            json["rope_scaling"] = serde_json::json!({
                "rope_type": "llama3",
                "factor": s.factor,
                "low_freq_factor": s.low_freq_factor,
                "high_freq_factor": s.high_freq_factor,
                "original_max_position_embeddings": s.original_max_position_embeddings as u64,
            });
        }
        if let Some(bos) = self.bos_token_id {
            json["bos_token_id"] = bos.into();
        }
        match self.eos_token_ids.as_slice() {
            [] => {}
            [one] => json["eos_token_id"] = (*one).into(),
            many => json["eos_token_id"] = many.into(),
        }
        json
    }
}

fn reject_unsupported(json: &Value, model_type: &str) -> Result<(), ConfigError> {
    if let Some(act) = json.get("hidden_act").and_then(Value::as_str)
        && act != "silu"
    {
        return Err(ConfigError::Unsupported(format!("hidden_act `{act}`")));
    }
    if flag(json, "use_sliding_window") {
        return Err(ConfigError::Unsupported(
            "sliding-window attention (use_sliding_window = true)".into(),
        ));
    }
    if model_type == "llama" && flag(json, "attention_bias") {
        // It would bias the output projection too.
        return Err(ConfigError::Unsupported("attention_bias = true".into()));
    }
    if flag(json, "mlp_bias") {
        return Err(ConfigError::Unsupported("mlp_bias = true".into()));
    }
    Ok(())
}

fn rope_scaling(rope: &Value) -> Result<Option<Llama3Scaling>, ConfigError> {
    let kind = rope
        .get("rope_type")
        .or_else(|| rope.get("type"))
        .and_then(Value::as_str)
        .unwrap_or("default");
    match kind {
        "default" => Ok(None),
        "llama3" => {
            let get = |key: &'static str| number(rope, key).ok_or(ConfigError::Missing(key));
            Ok(Some(Llama3Scaling {
                factor: get("factor")?,
                low_freq_factor: get("low_freq_factor")?,
                high_freq_factor: get("high_freq_factor")?,
                original_max_position_embeddings: get("original_max_position_embeddings")?,
            }))
        }
        other => Err(ConfigError::Unsupported(format!(
            "rotary scaling `{other}`"
        ))),
    }
}

fn flag(json: &Value, key: &str) -> bool {
    json.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn number(json: &Value, key: &str) -> Option<f64> {
    json.get(key).and_then(Value::as_f64)
}

fn size(json: &Value, key: &'static str) -> Result<usize, ConfigError> {
    optional_size(json, key)?.ok_or(ConfigError::Missing(key))
}

fn optional_size(json: &Value, key: &'static str) -> Result<Option<usize>, ConfigError> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(v) => match v.as_u64() {
            Some(n) if n > 0 => Ok(Some(n as usize)),
            _ => Err(ConfigError::Invalid {
                key,
                found: v.to_string(),
                expected: "a positive whole number",
            }),
        },
    }
}

/// `eos_token_id` and its like: a number, a list of numbers, or null.
pub(crate) fn token_ids(json: &Value, key: &str) -> Vec<u32> {
    let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    match json.get(key) {
        Some(Value::Array(all)) => all.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QWEN: &str = r#"{"model_type":"qwen2","hidden_size":96,"intermediate_size":256,
        "num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":109,
        "rms_norm_eps":1e-6,"rope_theta":10000.0,"tie_word_embeddings":true,"eos_token_id":[0,2]}"#;

    #[test]
    fn reads_and_writes_the_same_shape() {
        let config = Config::from_json(QWEN).unwrap();
        assert_eq!(config.head_dim, 24);
        assert_eq!(config.eos_token_ids, [0, 2]);
        let again = Config::from_json(&config.to_json("float32").to_string()).unwrap();
        assert_eq!(again.parameters(), config.parameters());
        assert_eq!(again.eos_token_ids, config.eos_token_ids);
    }

    #[test]
    fn names_what_is_wrong() {
        let unknown = QWEN.replace("qwen2", "mamba");
        let message = Config::from_json(&unknown).unwrap_err().to_string();
        assert!(message.contains("`mamba`"), "{message}");
        let missing = QWEN.replace("\"vocab_size\":109,", "");
        let message = Config::from_json(&missing).unwrap_err().to_string();
        assert!(message.contains("`vocab_size`"), "{message}");
        let zero = QWEN.replace("\"hidden_size\":96", "\"hidden_size\":-1");
        assert!(Config::from_json(&zero).is_err());
    }

    #[test]
    fn reads_both_spellings_of_rotary_settings() {
        let new = QWEN.replace(
            "\"rope_theta\":10000.0",
            "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":500.0}",
        );
        assert_eq!(Config::from_json(&new).unwrap().rope_theta, 500.0);
        let yarn = QWEN.replace(
            "\"tie_word_embeddings\":true",
            "\"rope_scaling\":{\"type\":\"yarn\"}",
        );
        assert!(Config::from_json(&yarn).is_err());
    }
}
