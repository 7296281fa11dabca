//! The tables that a run prints.

use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::frontier::Frontier;
use crate::evaluate::ranking::Place;
use crate::evaluate::statistics::Interval;
use crate::evaluate::{Evaluation, METHODS, MethodReport, Ranking};
use crate::iterate::Outcome;
use crate::recipe::sweep::Variant;
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
    let ranking = held_out_ranking(outcome).map_or_else(String::new, |r| format!("{r:.2}"));
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

/// How often the fitted value preferred a right text to a wrong one of the same held-out question.
fn held_out_ranking(outcome: &Outcome) -> Option<f64> {
    let trained = outcome.trained.as_ref()?;
    let fit = trained.joint.as_ref().or(trained.value.as_ref())?;
    fit.value.as_ref()?.ranking.last().copied().flatten()
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
    let place = |name: &str| {
        METHODS
            .iter()
            .position(|o| *o == name)
            .unwrap_or(METHODS.len())
    };
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
    let ranked = last.ranking.as_ref().map(ranking);
    format!(
        "{} questions of the {:?} split, {} draws for votes, after iteration {}:\n{}{}",
        last.questions,
        last.split,
        last.samples,
        last.iteration,
        plain(head, rows),
        ranked.map_or_else(String::new, |table| format!("\n\n{table}"))
    )
}

/// How texts of the same question rank by the value and by their log-probability.
pub(super) fn ranking(ranking: &Ranking) -> String {
    let about = format!(
        "{} draws for each of {} questions of the {:?} split, {:.0} forward tokens a question; {} questions \
         have right and wrong texts. Pairs of such in the right order, ties half, in percent with 95% \
         intervals over questions:",
        ranking.draws, ranking.questions, ranking.split, ranking.forward_tokens, ranking.mixed
    );
    let around = |e: Estimate, percent: fn(f64) -> String| {
        let Interval { low, high } = e.interval;
        let [mean, low, high] = [e.mean, low, high].map(|x| percent(100.0 * x));
        format!("{mean} ({low} to {high})")
    };
    let signed = |e| around(e, |x| format!("{x:+.1}"));
    let share = |e| around(e, |x| format!("{x:.1}"));
    let row = |name: String, place: &Place| {
        [
            name,
            place.pairs.to_string(),
            format!("{:.0}", 100.0 * place.apart),
            share(place.value),
            share(place.log_prob_sum),
            share(place.log_prob_mean),
            signed(place.value_over_sum),
            signed(place.value_over_mean),
        ]
    };
    let fractions = ranking.by_fraction.iter();
    let fractions =
        fractions.map(|place| row(format!("{:.0}/8 of the text", 8.0 * place.at), place));
    let depths = ranking.by_depth.iter();
    let depths = depths.map(|place| row(format!("{} tokens", place.at), place));
    let head = [
        "after",
        "pairs",
        "differ %",
        "value",
        "log-prob. sum",
        "mean a token",
        "value - sum",
        "value - mean",
    ];
    format!(
        "{about}\n{}",
        plain(head, fractions.chain(depths).collect())
    )
}

/// All points of a frontier and what may be said of them.
pub(super) fn frontier(frontier: &Frontier) -> String {
    let rows = frontier
        .points
        .iter()
        .enumerate()
        .map(|(index, point)| {
            let report = &point.report;
            let verdict = frontier.verdicts.iter().find(|v| v.point == index);
            [
                point.source.clone(),
                point.method.clone(),
                point.budget.to_string(),
                format!("{:.1}", 100.0 * report.accuracy),
                format!("{:.1} to {:.1}", 100.0 * report.low, 100.0 * report.high),
                format!("{:.0}", report.forward_tokens),
                format!("{:.2}", point.flops / 1e9),
                format!("{:.1}", point.ms_per_question),
                format!("{:.1}", point.us_per_token),
                verdict.map_or_else(String::new, |v| p(v.paired.p)),
            ]
        })
        .collect();
    let head = [
        "recipe",
        "method",
        "budget",
        "accuracy %",
        "95% interval",
        "tokens/question",
        "GFLOP/question",
        "ms/question",
        "us/token",
        "p vs vote",
    ];
    let verdicts: Vec<&str> = frontier.verdicts.iter().map(|v| v.text.as_str()).collect();
    let seeds = match frontier.seeds() {
        0 | 1 => "intervals are Wilson's".to_string(),
        seeds => format!(
            "means of {seeds} checkpoints, intervals by a bootstrap over checkpoints and questions"
        ),
    };
    format!(
        "{} questions of the {:?} split, {} at a time (which the times are of); {seeds}; p by the exact \
         paired test against a vote with at least as many tokens, corrected by Holm:\n{}\n\n{}",
        frontier.questions,
        frontier.split,
        frontier.workers,
        plain(head, rows),
        verdicts.join("\n")
    )
}

/// How often the value prefers a right text to a wrong one of the same question: in the evaluation where it
/// ranked, else on what the fit held out.
pub(super) fn ranked(outcome: &Outcome) -> Option<f64> {
    let evaluated = outcome.evaluation.ranking.as_ref();
    match evaluated.and_then(|ranking| ranking.by_fraction.last()) {
        Some(end) => Some(end.value.mean),
        None => held_out_ranking(outcome),
    }
}

/// The last evaluation of each run of a sweep.
pub(super) fn sweep<'a>(runs: impl Iterator<Item = &'a (Variant, Vec<Outcome>)>) -> String {
    let rows = runs
        .map(|(variant, outcomes)| {
            let last = outcomes.last().map(|outcome| &outcome.evaluation.methods);
            let accuracy = |name: &str| {
                let method = last.and_then(|methods| methods.get(name));
                method.map_or_else(String::new, |m| format!("{:.1}", 100.0 * m.accuracy))
            };
            [
                variant.name.clone(),
                accuracy("greedy"),
                accuracy("vote"),
                accuracy("best_of_n"),
                accuracy("searched"),
                outcomes
                    .last()
                    .and_then(ranked)
                    .map_or_else(String::new, |r| format!("{r:.3}")),
            ]
        })
        .collect();
    let head = ["run", "greedy", "vote", "best of n", "searched", "ranking"];
    plain(head, rows)
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
