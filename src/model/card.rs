//! The model card: README.md of an exported model.

use super::calibration::Calibration;
use super::readout::Readout;
use super::value::HeadKind;
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subject<'a> {
    Policy,
    /// A value net with a head of this kind, whose logits are read like this.
    Value(HeadKind, &'a Readout),
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
{% if plain %}
A value net trained by tokenzero on tree searches: for each prefix of a solution, the logit of ending
in a right answer. `tanh(logit / 2)` is the expected return in (-1, 1), `sigmoid(logit)` the
probability. The logit at a position judges the text up to and including that token.
{% else %}
A value net trained by tokenzero on tree searches: for each prefix of a solution, the return in [-1, 1]
that is expected of it. It is read like this:

{% if bins > 1 %}
- {{ bins }} logits are a categorical distribution over bins of equal width on [-1, 1]; the value is its
  expectation, the mean of the bins' middles.
{% else %}
- A logit gives the value `tanh(logit / 2)`.
{% endif %}
{% if members > 1 %}
- There are {{ members }} heads; the value is the mean of theirs, and their standard deviation tells how
  far they disagree.
{% endif %}
{% if calibration == "temperature" %}
- That value goes through a calibration: its logit `2 * atanh(value)` is scaled and shifted.
{% elif calibration == "isotonic" %}
- That value goes through a calibration: a monotone table in `value.json`, linear between its points.
{% elif calibration == "features" %}
- **The value that tokenzero's searches use is not this net's alone.** They blend it with the policy's own
  log-probabilities of the text by a logistic regression, which is not part of the exported net: it lies
  beside it as `calibration` in `value.json`. There `tanh(z / 2)` is the value of a text, `z` being the
  `bias` and the weighed sum of: `logit`, that of the net's value, `2 * atanh(value)`; `mean_log_prob`,
  `least_log_prob` and `last_log_prob` of the solution's tokens so far; `entropy` in nats of the next token,
  as two outcomes, the most probable one and all others; `log_tokens`, `ln(1 + tokens)` of the solution.
{% endif %}

The value at a position judges the text up to and including that token.
{% endif %}

{% if subject == "linear" %}
```python
{% if calibration == "isotonic" %}
import json

import numpy
{% endif %}
import torch
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast.from_pretrained(DIR)
model = AutoModelForTokenClassification.from_pretrained(DIR).eval()
{% if plain %}
logits = model(torch.tensor([tokens])).logits[..., 0]  # [1, time]
value = torch.tanh(logits / 2)
{% else %}
logits = model(torch.tensor([tokens])).logits.unflatten(-1, ({{ members }}, {{ bins }}))
{{ reading }}{% endif %}
```
{% else %}
The trunk is a plain decoder; the head is an MLP in `head.safetensors`: `inner.weight`
{% if plain %}
`[hidden, width]`, `inner.bias` `[width]`, `score.weight` `[1, width]`, `score.bias` `[1]`, with an
exact GELU between.
{% else %}
`[hidden, heads * width]`, `inner.bias` `[heads * width]`, `score.weight` `[heads * bins, width]`,
`score.bias` `[heads * bins]`, with an exact GELU between.
{% endif %}

```python
{% if calibration == "isotonic" %}
import json

import numpy
{% endif %}
import torch
from safetensors.torch import load_file
from transformers import AutoModel, PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast.from_pretrained(DIR)
trunk = AutoModel.from_pretrained(DIR).eval()
head = load_file(f"{DIR}/head.safetensors")
hidden = trunk(torch.tensor([tokens])).last_hidden_state
hidden = torch.nn.functional.gelu(hidden @ head["inner.weight"] + head["inner.bias"])
{% if plain %}
logits = (hidden @ head["score.weight"].T + head["score.bias"])[..., 0]  # [1, time]
value = torch.tanh(logits / 2)
{% else %}
score = head["score.weight"].unflatten(0, ({{ members }}, {{ bins }}))
logits = torch.einsum("btmw,mnw->btmn", hidden.unflatten(-1, ({{ members }}, -1)), score)
logits = logits + head["score.bias"].unflatten(0, ({{ members }}, {{ bins }}))
{{ reading }}{% endif %}
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

/// Lines of Python from `logits`, `[1, time, members, bins]`, to `value`, `[1, time]`.
fn reading(readout: &Readout) -> String {
    let mut lines = match readout.bins {
        1 => String::from("values = torch.tanh(logits[..., 0] / 2)\n"),
        bins => format!(
            "middles = (2 * torch.arange({bins}) + 1) / {bins} - 1\n\
             values = (torch.softmax(logits, -1) * middles).sum(-1)\n"
        ),
    };
    lines += "value = values.mean(-1)\n";
    lines += &match &readout.calibration {
        Calibration::None | Calibration::Features(_) => String::new(),
        Calibration::Temperature { scale, bias } => format!(
            "logit = 2 * torch.atanh(value.clamp(1e-7 - 1, 1 - 1e-7))\n\
             value = torch.tanh(({scale} * logit + {bias}) / 2)\n"
        ),
        Calibration::Isotonic { .. } => String::from(
            "table = json.load(open(f\"{DIR}/value.json\"))[\"calibration\"]\n\
             value = torch.tensor(numpy.interp(value.detach(), table[\"from\"], table[\"to\"]))\n",
        ),
    };
    lines
}

impl Card {
    /// The text of README.md.
    pub fn render(&self, subject: Subject<'_>) -> Result<String, minijinja::Error> {
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
        let one = Readout::plain();
        let (subject, readout) = match subject {
            Subject::Policy => ("policy", &one),
            Subject::Value(HeadKind::Linear, readout) => ("linear", readout),
            Subject::Value(HeadKind::Mlp, readout) => ("mlp", readout),
        };
        let context = context! {
            subject,
            plain => *readout == one,
            bins => readout.bins,
            members => readout.members,
            calibration => match readout.calibration {
                Calibration::None => "none",
                Calibration::Temperature { .. } => "temperature",
                Calibration::Isotonic { .. } => "isotonic",
                Calibration::Features(_) => "features",
            },
            reading => reading(readout),
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
    use crate::model::Blend;

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
        let of = |kind, readout: &Readout| card().render(Subject::Value(kind, readout)).unwrap();
        let plain = Readout::plain();
        let linear = of(HeadKind::Linear, &plain);
        assert!(linear.contains("AutoModelForTokenClassification"));
        assert!(linear.contains("- value-model\n"));
        let mlp = of(HeadKind::Mlp, &plain);
        assert!(mlp.contains("head.safetensors") && !mlp.contains("TokenClassification"));
        let binned = Readout {
            bins: 51,
            members: 3,
            calibration: Calibration::Temperature {
                scale: 1.25,
                bias: -0.5,
            },
        };
        let blended = Readout {
            calibration: Calibration::Features(Blend::default()),
            ..Readout::plain()
        };
        let text = of(HeadKind::Mlp, &blended);
        assert!(text.contains("not part of the exported net") && text.contains("`value.json`"));
        for kind in [HeadKind::Linear, HeadKind::Mlp] {
            let text = of(kind, &binned);
            for part in [
                "51 logits are a categorical distribution",
                "There are 3 heads",
                "(3, 51)",
                "/ 51 - 1\nvalues = (torch.softmax",
                "(1.25 * logit + -0.5) / 2)\n```",
            ] {
                assert!(text.contains(part), "{part}\n{text}");
            }
            assert!(!text.contains("torch.tanh(logits / 2)"));
        }
    }

    #[test]
    fn an_empty_card_invents_nothing() {
        let text = Card::default().render(Subject::Policy).unwrap();
        assert!(text.contains("Not evaluated.") && text.contains("random weights"));
        assert!(!text.contains("license:") && !text.contains("base_model:"));
    }
}
