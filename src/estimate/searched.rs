//! What a search forwards for a question by the recipe's limits, where nothing was measured.

use super::helpers::Helpers;
use crate::search::{Actions, GuidedForm, GuidedParams, Params as Search};

/// Length of a text in shares of the limit, where none was measured. The bundled recipes' texts
/// have 0.4 to 0.7 of theirs.
pub(super) const TEXT: f64 = 0.55;

/// Share of a text that a simulation of a training search forwards anew, where none was measured: the
/// rest of its path is in the tree already. 0.35 in the quickstart's first collection.
pub(super) const NEW: f64 = 0.35;

/// Tokens that a simulation under the value net forwards: its leaf, and single children on the way.
const GUIDED: f64 = 2.0;

/// Share of the simulations that find a node without options and draw them.
const OPENED: f64 = 0.5;

/// Finished texts of a tree, and right ones, in shares of its simulations.
const FINISHED: f64 = 1.0 / 3.0;
const RIGHT: f64 = FINISHED / 2.0;

/// Tokens that a search forwards, in the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Forwarded {
    /// Those of the policy that keep their slots until the question is done, prompt included.
    pub held: f64,
    /// Those of the policy whose slots are given back at once.
    pub passing: f64,
    /// Those of other checkpoints, in tokens of the policy of the same cost.
    pub helped: f64,
}

impl Forwarded {
    /// By a search for training traces, after a prompt of `prompt` tokens.
    pub fn training(search: &Search, prompt: f64, helpers: &Helpers) -> Forwarded {
        let simulations = f64::from(search.simulations);
        let mut all = grown(search, simulations, prompt, helpers);
        // Each is drawn anew from its middle.
        let redraw = &search.redraw;
        let texts = (redraw.texts as f64).min(found(search, RIGHT));
        all.passing = texts * redraw.draws.max(1) as f64 * length(search) / 2.0;
        all
    }

    /// By a search for an answer.
    pub fn guided(params: &GuidedParams, prompt: f64, helpers: &Helpers) -> Forwarded {
        let search = params.tree_search();
        let text = length(&search);
        match params.form {
            GuidedForm::Whole => {
                let simulations = f64::from(params.simulations);
                let mut all = grown(&search, simulations, prompt, helpers);
                if !search.rolls_out() {
                    all.held += text;
                }
                all
            }
            GuidedForm::PerToken => {
                let visits = match params.root_simulations {
                    0 => params.simulations,
                    most => most.min(params.simulations),
                };
                // A root keeps what was found below it, and the text ends below the later ones: a
                // quarter of the visits of all roots is new.
                let roots = (text / option(&search).max(1.0) / 4.0).max(1.0);
                grown(&search, roots * f64::from(visits), prompt, helpers)
            }
        }
    }

    /// No more than `limit` tokens, 0 for no limit; the last simulation may exceed it by a text.
    fn within(self, limit: u64, prompt: f64, text: f64) -> Forwarded {
        let all = self.held - prompt + self.helped;
        let room = (limit as f64 + text - prompt).max(0.0);
        if limit == 0 || all <= room {
            return self;
        }
        Forwarded {
            held: prompt + (self.held - prompt) * room / all,
            helped: self.helped * room / all,
            ..self
        }
    }
}

/// Finished texts of a tree that stops at none.
pub(super) fn finished(search: &Search) -> f64 {
    found(search, FINISHED)
}

fn found(search: &Search, share: f64) -> f64 {
    (f64::from(search.simulations) * share).max(1.0)
}

/// Tokens of a text.
fn length(search: &Search) -> f64 {
    TEXT * search.max_new_tokens as f64
}

/// Tokens of an option; 0 where the search moves by tokens.
fn option(search: &Search) -> f64 {
    if search.actions.options().is_none() {
        return 0.0;
    }
    let limit = search.actions.limit(length(search) as usize) as f64;
    match &search.actions {
        Actions::Step { stop, .. } if !stop.is_empty() => TEXT * limit,
        _ => limit,
    }
}

/// Options of a node; 0 where the search moves by tokens.
pub(super) fn options(actions: &Actions) -> f64 {
    actions
        .options()
        .map_or(0.0, |options| options.count as f64)
}

/// By `simulations` of a tree.
fn grown(search: &Search, simulations: f64, prompt: f64, helpers: &Helpers) -> Forwarded {
    let (text, option) = (length(search), option(search));
    let plays = search.rolls_out();
    let visited = match plays && search.player.is_empty() {
        true => text * (1.0 + NEW * (simulations - 1.0).max(0.0)),
        false => GUIDED * simulations,
    };
    let opened = OPENED * simulations * options(&search.actions) * option;
    // Leaves lie anywhere in the text where it is searched by tokens, at its end where an option is all.
    let depth = (text + option) / 2.0;
    let helped = search.aides().into_iter().map(|(path, _)| {
        // The text up to the leaf is read anew each time; a player goes on to its end.
        let each = match path == search.player {
            false => 1.0 + depth,
            true if plays => 1.0 + text,
            true => 0.0,
        };
        let cost = helpers.get(&path).map_or(0.0, |helper| helper.cost);
        cost * (prompt + simulations * each)
    });
    let all = Forwarded {
        held: prompt + visited + opened,
        passing: 0.0,
        helped: helped.sum(),
    };
    all.within(search.stop.forward_tokens, prompt, text)
}

#[cfg(test)]
mod tests {
    use super::super::helpers::Helper;
    use super::*;
    use crate::recipe::Shape;
    use crate::search::Judge;

    /// 100 simulations over texts of 20 tokens.
    fn search() -> Search {
        Search {
            simulations: 100,
            max_new_tokens: (20.0 / TEXT).round() as usize + 1,
            ..Search::default()
        }
    }

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 0.05, "{found}, {expected}");
    }

    /// A checkpoint in `other` that costs half of the policy.
    fn half() -> Helpers {
        let shape = Shape {
            layers: 8,
            hidden: 64,
            heads: 4,
            kv_heads: 4,
            intermediate: 128,
            context: 512,
        };
        let mut helper = Helper::of(&shape.config(100, 0), None, &shape.config(100, 0));
        assert_eq!((helper.nets, helper.cost), (1.0, 1.0));
        helper.cost = 0.5;
        Helpers::from([("other".into(), helper)])
    }

    #[test]
    fn options_are_drawn_at_every_second_simulation() {
        let mut search = search();
        let none = Helpers::new();
        let tokens = Forwarded::training(&search, 10.0, &none).held;
        near(tokens, 10.0 + 20.0 * (1.0 + NEW * 99.0));
        search.actions =
            serde_json::from_str(r#"{"kind": "span", "tokens": 5, "options": {"count": 3}}"#)
                .unwrap();
        let spans = Forwarded::training(&search, 10.0, &none).held;
        near(spans - tokens, 50.0 * 3.0 * 5.0);
        // Lines end before their limit.
        search.actions = serde_json::from_str(
            r#"{"kind": "step", "stop": ["\n"], "max_tokens": 10, "options": {"count": 3}}"#,
        )
        .unwrap();
        let lines = Forwarded::training(&search, 10.0, &none).held;
        near(lines - tokens, 50.0 * 3.0 * 10.0 * TEXT);
        // A budget of tokens holds.
        search.stop.forward_tokens = 300;
        near(Forwarded::training(&search, 10.0, &none).held, 320.0);
    }

    #[test]
    fn a_player_writes_whole_texts_and_a_judge_reads_halves() {
        let mut search = search();
        search.player = "other".into();
        let found = Forwarded::training(&search, 10.0, &half());
        assert_eq!(found.held, 10.0 + 100.0 * GUIDED);
        near(found.helped, 0.5 * (10.0 + 100.0 * 21.0));

        search.player = String::new();
        search.judges = vec![
            Judge::Rollout { weight: 1.0 },
            Judge::Reward {
                path: "other".into(),
                weight: 1.0,
            },
        ];
        let found = Forwarded::training(&search, 10.0, &half());
        near(found.held, 10.0 + 20.0 * (1.0 + NEW * 99.0));
        near(found.helped, 0.5 * (10.0 + 100.0 * 11.0));
        // Without a judge of finished texts nothing is played out.
        search.judges.remove(0);
        let found = Forwarded::training(&search, 10.0, &half());
        assert_eq!(found.held, 10.0 + 100.0 * GUIDED);
    }

    #[test]
    fn texts_that_are_drawn_anew_give_their_slots_back() {
        let mut search = search();
        search.redraw.texts = 4;
        search.redraw.draws = 5;
        let found = Forwarded::training(&search, 10.0, &Helpers::new());
        near(found.passing, 4.0 * 5.0 * 10.0);
        // No more than are right.
        search.redraw.texts = 1000;
        let found = Forwarded::training(&search, 10.0, &Helpers::new());
        near(found.passing, 100.0 / 6.0 * 5.0 * 10.0);
    }

    #[test]
    fn a_search_for_an_answer_ends_in_a_text() {
        let mut params = GuidedParams {
            simulations: 100,
            max_new_tokens: search().max_new_tokens,
            ..GuidedParams::default()
        };
        let none = Helpers::new();
        let of = |params: &GuidedParams| Forwarded::guided(params, 10.0, &none).held;
        near(of(&params), 10.0 + 200.0 + 20.0);
        params.form = GuidedForm::PerToken;
        near(of(&params), 10.0 + 100.0 * 20.0 / 2.0);
        params.root_simulations = 10;
        near(of(&params), 10.0 + 10.0 * 20.0 / 2.0);
        params.max_forward_tokens = 50;
        near(of(&params), 70.0);
    }
}
