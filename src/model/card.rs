//! The model card: README.md of an exported model.

use minijinja::{Environment, Value, context};

/// What a model card states. The caller knows the run; this module knows the form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    /// The heading, such as `countdown-tiny after 3 iterations`.
    pub title: String,
    /// The model that the run started from: a Hub name, or what the bundled one is called.
    pub base_model: Option<String>,
    /// The licence, as the Hub spells it: `apache-2.0`.
    pub licence: Option<String>,
    /// Data sets, Hub names where they have one.
    pub datasets: Vec<String>,
    /// One sentence or more on the data: splits, counts, where it comes from.
    pub data: String,
    /// The resolved recipe, TOML.
    pub recipe: String,
    /// Evaluation results.
    pub metrics: Vec<Metric>,
}

/// One row of the card's table.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Such as `greedy`.
    pub method: String,
    /// Share of right answers, 0 to 1, and its 95% interval.
    pub accuracy: f64,
    pub low: f64,
    pub high: f64,
    /// Questions.
    pub total: u64,
    /// Forward tokens a question, the value net's included.
    pub forward_tokens: f64,
}

/// What the card describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Policy,
    /// A value net with a linear head.
    LinearValue,
    /// A value net with an MLP head.
    MlpValue,
}

const TEMPLATE: &str = r#"---
library_name: transformers
pipeline_tag: {{ "text-generation" if subject == "policy" else "token-classification" }}
{% if licence %}
license: {{ licence | tojson }}
{% endif %}
{% if base_model and "/" in base_model %}
base_model: {{ base_model | tojson }}
{% endif %}
{% if datasets %}
datasets:
{% for name in datasets %}
- {{ name | tojson }}
{% endfor %}
{% endif %}
tags:
- tokenzero
- mcts
{% if subject != "policy" %}
- value-model
{% endif %}
---

# {{ title }}

{% if subject == "policy" %}
A language model that was fine-tuned on its own successful tree searches by tokenzero.

```python
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

# AutoTokenizer replaces the pre-tokenizer of Qwen2 models by Qwen's; this reads the one saved here.
tokenizer = PreTrainedTokenizerFast.from_pretrained(DIR)
model = AutoModelForCausalLM.from_pretrained(DIR)
```
{% else %}
A value net trained by tokenzero on tree searches: for each prefix of a solution, the logit of ending
in a right answer. `tanh(logit / 2)` is the expected return in (-1, 1), `sigmoid(logit)` the
probability. The logit at a position judges the text up to and including that token.

{% if subject == "linear" %}
```python
import torch
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast.from_pretrained(DIR)
model = AutoModelForTokenClassification.from_pretrained(DIR).eval()
logits = model(torch.tensor([tokens])).logits[..., 0]  # [1, time]
value = torch.tanh(logits / 2)
```
{% else %}
The trunk is a plain decoder; the head is an MLP in `head.safetensors`: `inner.weight`
`[hidden, width]`, `inner.bias` `[width]`, `score.weight` `[1, width]`, `score.bias` `[1]`, with an
exact GELU between.

```python
import torch
from safetensors.torch import load_file
from transformers import AutoModel, PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast.from_pretrained(DIR)
trunk = AutoModel.from_pretrained(DIR).eval()
head = load_file(f"{DIR}/head.safetensors")
hidden = trunk(torch.tensor([tokens])).last_hidden_state
hidden = torch.nn.functional.gelu(hidden @ head["inner.weight"] + head["inner.bias"])
logits = (hidden @ head["score.weight"].T + head["score.bias"])[..., 0]  # [1, time]
value = torch.tanh(logits / 2)
```
{% endif %}
{% endif %}

## Base model

{{ base_model or "None: trained from random weights." }}

## Data

{{ data or "Not stated." }}

## Results

{% if metrics %}
| method | accuracy | 95% interval | questions | forward tokens a question |
|---|---|---|---|---|
{% for m in metrics %}
| {{ m.method }} | {{ m.accuracy }}% | {{ m.low }}% to {{ m.high }}% | {{ m.total }} | {{ m.forward_tokens }} |
{% endfor %}
{% else %}
Not evaluated.
{% endif %}

## Licence

{{ licence or "Not stated. The licences of the base model and of the data apply." }}

## Recipe

````toml
{{ recipe }}
````
"#;

impl Card {
    /// The text of README.md.
    pub fn render(&self, subject: Subject) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        let syntax = minijinja::syntax::SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()?;
        environment.set_syntax(syntax);
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let metrics: Vec<Value> = (self.metrics.iter())
            .map(|m| {
                context! {
                    method => m.method.clone(),
                    accuracy => percent(m.accuracy),
                    low => percent(m.low),
                    high => percent(m.high),
                    total => m.total,
                    forward_tokens => format!("{:.0}", m.forward_tokens),
                }
            })
            .collect();
        let subject = match subject {
            Subject::Policy => "policy",
            Subject::LinearValue => "linear",
            Subject::MlpValue => "mlp",
        };
        let context = context! {
            subject,
            metrics,
            title => self.title.clone(),
            base_model => self.base_model.clone(),
            licence => self.licence.clone(),
            datasets => self.datasets.clone(),
            data => self.data.clone(),
            recipe => self.recipe.trim_end(),
        };
        environment.template_from_str(TEMPLATE)?.render(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            title: "tiny".into(),
            base_model: Some("owner/base".into()),
            licence: Some("apache-2.0".into()),
            datasets: vec!["openai/gsm8k".into()],
            data: "500 train questions an iteration.".into(),
            recipe: "[loop]\niterations = 3\n".into(),
            metrics: vec![Metric {
                method: "greedy".into(),
                accuracy: 0.25,
                low: 0.2,
                high: 0.3051,
                total: 400,
                forward_tokens: 28.4,
            }],
        }
    }

    #[test]
    fn states_recipe_data_metrics_and_licence() {
        let text = card().render(Subject::Policy).unwrap();
        assert!(text.starts_with(
            "---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: \"apache-2.0\"\nbase_model: \"owner/base\"\ndatasets:\n- \"openai/gsm8k\"\ntags:\n- tokenzero\n- mcts\n---\n\n# tiny\n"
        ), "{text}");
        for part in [
            "| greedy | 25.0% | 20.0% to 30.5% | 400 | 28 |\n",
            "500 train questions",
            "````toml\n[loop]\niterations = 3\n````\n",
            "AutoModelForCausalLM",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_value_net_says_how_to_read_it() {
        let linear = card().render(Subject::LinearValue).unwrap();
        assert!(linear.contains("AutoModelForTokenClassification"));
        assert!(linear.contains("- value-model\n"));
        let mlp = card().render(Subject::MlpValue).unwrap();
        assert!(mlp.contains("head.safetensors") && !mlp.contains("TokenClassification"));
    }

    #[test]
    fn an_empty_card_invents_nothing() {
        let text = Card::default().render(Subject::Policy).unwrap();
        assert!(text.contains("Not evaluated.") && text.contains("random weights"));
        assert!(!text.contains("license:") && !text.contains("base_model:"));
    }
}
