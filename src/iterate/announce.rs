//! What a monitor is told about a run as a whole.

use crate::evaluate::ranking::SCORES;
use crate::monitor::{Category, Chart, Event, Layout, Lines, Monitor, Setting, Start};
use crate::recipe::Recipe;
use std::path::Path;

/// Reports the resolved recipe, the settings to compare runs by, and the charts to open first.
pub(super) fn start(recipe: &Recipe, dir: &Path, monitor: &Monitor) {
    let text = recipe.render();
    monitor.text(
        "run/recipe",
        0,
        &format!("```toml\n{}\n```", text.trim_end()),
    );
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let mut settings = Vec::new();
    if let Ok(value) = serde_json::to_value(recipe) {
        flatten("", &value, &mut settings);
    }
    let searches = recipe.evaluate.search.keys().map(String::as_str);
    let methods: Vec<&str> = [
        "greedy",
        "vote",
        "weighted_vote",
        "best_of_n",
        "most_probable",
    ]
    .into_iter()
    .chain(searches)
    .collect();
    monitor.record(&Event::Start(Start {
        name: name.into_owned(),
        settings,
        metrics: methods
            .iter()
            .flat_map(|name| [format!("eval/{name}"), format!("eval/{name}_tokens")])
            .chain(rankings(recipe))
            .collect(),
    }));
    monitor.record(&Event::Layout(layout(&methods, rankings(recipe))));
}

/// Reports that the run has come to its end.
pub(super) fn end(monitor: &Monitor) {
    monitor.record(&Event::End);
}

/// The settings in `value` by their dotted names; what is not set is left out.
fn flatten(path: &str, value: &serde_json::Value, settings: &mut Vec<(String, Setting)>) {
    use serde_json::Value;
    let setting = match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{name}"), value, settings);
            }
            return;
        }
        Value::Null => return,
        Value::Bool(on) => Setting::Flag(*on),
        Value::Number(number) => Setting::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Setting::Text(text.clone()),
        Value::Array(_) => Setting::Text(value.to_string()),
    };
    settings.push((path.to_owned(), setting));
}

/// Tags of how evaluations rank texts, where they do.
fn rankings(recipe: &Recipe) -> Vec<String> {
    match recipe.evaluate.rank {
        0 => Vec::new(),
        _ => SCORES.map(|score| format!("eval/ranking_{score}")).into(),
    }
}

/// The few charts that matter, first those of the results; `rankings` are tags.
fn layout(methods: &[&str], rankings: Vec<String>) -> Layout {
    let chart = |title: &str, lines| Chart {
        title: title.into(),
        lines,
    };
    let plain = |title: &str, tags: &[&str]| {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        chart(title, Lines::Plain(tags))
    };
    // TensorBoard has a colour for a run, not for a line: each method has a chart of its own.
    let accuracies = methods.iter().map(|name| {
        let tags = ["", "_low", "_high"].map(|end| format!("eval/{name}{end}"));
        chart(&format!("{name}: accuracy"), Lines::Intervals(vec![tags]))
    });
    let ranked =
        (!rankings.is_empty()).then(|| chart("ranking in evaluations", Lines::Plain(rankings)));
    let category = |title: &str, charts: Vec<Chart>| Category {
        title: title.into(),
        charts,
    };
    Layout {
        categories: vec![
            category("results", accuracies.collect()),
            category(
                "value",
                vec![
                    plain(
                        "ranking of texts of the same question",
                        &[
                            "value/same_question_ranking",
                            "value/ranking_two_thirds",
                            "value/ranking_third",
                            "value/ranking_question",
                        ],
                    ),
                    plain("calibration", &["value/brier", "value/ece"]),
                    plain("loss", &["value/loss", "value/valid_loss"]),
                ]
                .into_iter()
                .chain(ranked)
                .collect(),
            ),
            category(
                "policy",
                vec![
                    plain("loss", &["policy/loss", "policy/valid_loss"]),
                    plain("drift", &["policy/kl_to_base", "policy/entropy"]),
                ],
            ),
            category(
                "collection",
                vec![
                    plain(
                        "shares",
                        &[
                            "collect/solve_rate",
                            "collect/greedy",
                            "collect/true_step_rate",
                            "collect/memo_hit_rate",
                        ],
                    ),
                    plain("speed", &["collect/simulations_per_s"]),
                ],
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat_and_typed() {
        let value = serde_json::json!({"a": {"b": 1.5, "c": null}, "d": true, "e": [1], "f": "x"});
        let mut settings = Vec::new();
        flatten("", &value, &mut settings);
        assert_eq!(
            settings,
            [
                ("a.b".to_owned(), Setting::Number(1.5)),
                ("d".to_owned(), Setting::Flag(true)),
                ("e".to_owned(), Setting::Text("[1]".into())),
                ("f".to_owned(), Setting::Text("x".into())),
            ]
        );
    }
}
