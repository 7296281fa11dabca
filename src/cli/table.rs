//! The tables that a run prints.

use crate::evaluate::{Evaluation, MethodReport};
use crate::iterate::Outcome;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

const COLUMNS: [(&str, usize); 8] = [
    ("iteration", 9),
    ("greedy", 7),
    ("vote", 7),
    ("best of n", 9),
    ("searched", 8),
    ("tokens", 7),
    ("solved", 7),
    ("ranking", 7),
];

/// Head of the table with one row an iteration.
pub(super) fn head() -> String {
    line(COLUMNS.map(|(name, _)| name.to_string()))
}

/// One iteration: accuracies in percent, forward tokens of a searched question, the share of train
/// questions solved while collecting, and the value's ranking of texts of the same question.
pub(super) fn row(outcome: &Outcome) -> String {
    let methods = &outcome.evaluation.methods;
    let accuracy = |name: &str| {
        methods
            .get(name)
            .map_or_else(String::new, |m| format!("{:.1}", 100.0 * m.accuracy))
    };
    let tokens = methods
        .get("searched")
        .map_or_else(String::new, |m| format!("{:.0}", m.forward_tokens));
    let solved = outcome
        .collected
        .as_ref()
        .map_or_else(String::new, |c| format!("{:.1}", 100.0 * c.solved_share()));
    let ranking = outcome
        .trained
        .as_ref()
        .and_then(|t| t.joint.as_ref().or(t.value.as_ref()))
        .and_then(|fit| fit.value.as_ref())
        .and_then(|value| value.ranking.last().copied().flatten())
        .map_or_else(String::new, |r| format!("{r:.2}"));
    line([
        outcome.iteration.to_string(),
        accuracy("greedy"),
        accuracy("vote"),
        accuracy("best_of_n"),
        accuracy("searched"),
        tokens,
        solved,
        ranking,
    ])
}

fn line(cells: [String; 8]) -> String {
    let cells = cells.iter().zip(COLUMNS);
    cells
        .map(|(cell, (_, width))| format!("{cell:>width$}"))
        .collect::<Vec<_>>()
        .join("  ")
}

/// A table with the first column to the left and numbers to the right.
pub(super) fn plain<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// All methods of an evaluation, beside those before training.
pub(super) fn methods(last: &Evaluation, first: &Evaluation) -> String {
    let mut rows = Vec::new();
    let mut names: Vec<&String> = last.methods.keys().collect();
    let order = ["greedy", "vote", "weighted_vote", "best_of_n"];
    let place = |name: &str| order.iter().position(|o| *o == name).unwrap_or(order.len());
    names.sort_by_key(|name| (place(name), name.as_str()));
    for name in names {
        let method = &last.methods[name];
        rows.push([
            name.clone(),
            format!("{:.1}", 100.0 * method.accuracy),
            format!("{:.1} to {:.1}", 100.0 * method.low, 100.0 * method.high),
            format!("{:.0}", method.forward_tokens),
            p_value(method, "greedy"),
            p_value(method, "vote"),
            first
                .methods
                .get(name)
                .map_or_else(String::new, |m| format!("{:.1}", 100.0 * m.accuracy)),
        ]);
    }
    let head = [
        "method",
        "accuracy %",
        "95% interval",
        "tokens/question",
        "p vs greedy",
        "p vs vote",
        "before",
    ];
    format!(
        "{} questions of the {:?} split, {} draws for votes, after iteration {}:\n{}",
        last.questions,
        last.split,
        last.samples,
        last.iteration,
        plain(head, rows)
    )
}

fn p_value(method: &MethodReport, other: &str) -> String {
    match method.against.get(other) {
        None => String::new(),
        Some(test) => p(test.p),
    }
}

/// A p-value as it is printed.
pub(super) fn p(p: f64) -> String {
    match p < 0.001 {
        true => "< .001".into(),
        false => format!("{p:.3}"),
    }
}
