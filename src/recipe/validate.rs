//! Checks of values that a type cannot state, each with its place in the recipe.

mod collection;
mod searches;

use super::toml_source::{Error, Source};
use super::{Mode, Pretrain, Recipe};
use crate::evaluate::METHODS;
use crate::search::{Rollout, SampleParams};
use crate::task::Kind;
use crate::train::calibrate::Calibrate;
use crate::train::distil::{self, Teach};
use crate::train::loss::ValueLoss;
use crate::tree;

/// Checks a recipe. Cheap: nothing is loaded.
pub(super) fn recipe(recipe: &Recipe, source: &Source) -> Result<(), Error> {
    let check = Checker { source };
    check.at_least(1, recipe.collect.questions, "collect.questions")?;
    check.at_least(1, recipe.collect.workers, "collect.workers")?;
    check.at_least(1, recipe.collect.shard, "collect.shard")?;
    recipe.reward.check().map_err(|wrong| {
        check.invalid(&format!("reward.{}", wrong.key), wrong.message, wrong.help)
    })?;
    check.at_least(1, recipe.engine.max_rows, "engine.max_rows")?;
    check.at_least(1, recipe.engine.max_step_tokens, "engine.max_step_tokens")?;
    check.at_least(1, recipe.engine.queued_steps, "engine.queued_steps")?;
    check.at_least(1, recipe.evaluate.samples, "evaluate.samples")?;
    check.at_least(1, recipe.evaluate.workers, "evaluate.workers")?;
    if recipe.evaluate.rank == 1 {
        return Err(check.invalid(
            "evaluate.rank",
            "one text has no other to be ranked against".into(),
            "draw 2 or more, or 0 for no ranking",
        ));
    }
    check.at_least(1, recipe.evaluate.max_new_tokens, "evaluate.max_new_tokens")?;
    check.at_least(1, recipe.learn.head_width, "learn.head_width")?;
    check.at_least(1, recipe.learn.bins, "learn.bins")?;
    check.at_least(1, recipe.learn.heads, "learn.heads")?;
    let search = &recipe.collect.search;
    check.at_least(1, search.simulations as usize, "collect.search.simulations")?;
    check.at_least(1, search.top_k, "collect.search.top_k")?;
    check.at_least(1, search.leaves, "collect.search.leaves")?;
    check.at_least(1, search.max_new_tokens, "collect.search.max_new_tokens")?;
    check.slots(search.slots, search.least_slots(), "collect.search.slots")?;
    check.tree(&search.tree, "collect.search.tree")?;
    check.not_negative(search.pessimism, "collect.search.pessimism")?;
    check.training_search(search, "collect.search")?;
    check.share(search.noise.fraction, "collect.search.noise.fraction")?;
    check.positive(search.noise.alpha, "collect.search.noise.alpha")?;
    check.positive(search.noise.temperature, "collect.search.noise.temperature")?;
    let redraw = "collect.search.redraw";
    check.at_least(1, search.redraw.draws, &format!("{redraw}.draws"))?;
    check.positive(search.redraw.temperature, &format!("{redraw}.temperature"))?;
    check.share(search.random_root.share, "collect.search.random_root.share")?;
    if search.random_root.min_depth > search.random_root.max_depth {
        return Err(check.invalid(
            "collect.search.random_root.min_depth",
            "min_depth is above max_depth".into(),
            "make min_depth at most max_depth",
        ));
    }
    match search.rollout {
        Rollout::Sampled { temperature } => {
            check.positive(temperature, "collect.search.rollout.temperature")?;
        }
        Rollout::Beam { width } => check.at_least(1, width, "collect.search.rollout.width")?,
        Rollout::Greedy => {}
    }
    check.sampling(&recipe.evaluate.sampling, "evaluate.sampling")?;
    check.sampling(&recipe.collect.sampling, "collect.sampling")?;
    check.samples(&recipe.collect)?;
    check.imagination(&recipe.collect.imagine, recipe.task.kind)?;
    check.teaching(&recipe.traces.policy, "traces.policy")?;
    let sound = &recipe.traces.sound;
    check.share(sound.max_jump / 2.0, "traces.sound.max_jump")?;
    check.share(sound.min_agreement, "traces.sound.min_agreement")?;
    let gate = &recipe.gate;
    check.share(gate.level as f32, "gate.level")?;
    if gate.method != "greedy" && !recipe.evaluate.search.contains_key(&gate.method) {
        return Err(check.invalid(
            "gate.method",
            format!("there is no search `{}`", gate.method),
            "write greedy, or the name of a table under [evaluate.search]",
        ));
    }
    for (name, guided) in &recipe.evaluate.search {
        let at = format!("evaluate.search.{name}");
        check.at_least(1, guided.simulations as usize, &format!("{at}.simulations"))?;
        check.at_least(1, guided.top_k, &format!("{at}.top_k"))?;
        check.at_least(1, guided.leaves, &format!("{at}.leaves"))?;
        check.at_least(1, guided.max_new_tokens, &format!("{at}.max_new_tokens"))?;
        check.slots(guided.slots, guided.least_slots(), &format!("{at}.slots"))?;
        check.not_negative(guided.pessimism, &format!("{at}.pessimism"))?;
        check.tree(&guided.tree, &format!("{at}.tree"))?;
        check.guided_search(guided, &at)?;
        check.own_name(name, &at, recipe.evaluate.beam.contains_key(name))?;
    }
    for (name, beam) in &recipe.evaluate.beam {
        let at = format!("evaluate.beam.{name}");
        check.at_least(1, beam.width, &format!("{at}.width"))?;
        check.at_least(1, beam.top_k, &format!("{at}.top_k"))?;
        check.at_least(1, beam.max_new_tokens, &format!("{at}.max_new_tokens"))?;
        check.not_negative(beam.pessimism, &format!("{at}.pessimism"))?;
        check.own_name(name, &at, false)?;
    }
    if !(0.0..1.0).contains(&search.tree.lambda) && search.tree.lambda != 1.0 {
        return Err(check.invalid(
            "collect.search.tree.lambda",
            format!("lambda is {}", search.tree.lambda),
            "write a number from 0 (value only) to 1 (rollout only)",
        ));
    }
    fits(recipe, &check)
}

fn fits(recipe: &Recipe, check: &Checker<'_>) -> Result<(), Error> {
    let of = |section: &str, result: Result<(), crate::train::Error>| {
        result.map_err(|e| {
            check.invalid(
                section,
                e.to_string(),
                "change the value to one in its range",
            )
        })
    };
    match recipe.learn.mode {
        Mode::Joint => {
            let fit = &recipe.joint;
            of("joint", fit.check())?;
            check.value("joint", fit.loss, recipe.learn.bins)?;
            check.held_out("joint", fit.calibrate, fit.validation)?;
            check.begins_at_prompts("joint", fit.calibrate, &recipe.collect)?;
            check.revises_nothing("joint", fit.calibrate, recipe)
        }
        Mode::Separate => {
            let fit = &recipe.value;
            of("value", fit.check())?;
            check.value("value", fit.loss, recipe.learn.bins)?;
            check.held_out("value", fit.calibrate, fit.validation)?;
            check.begins_at_prompts("value", fit.calibrate, &recipe.collect)?;
            check.revises_nothing("value", fit.calibrate, recipe)?;
            of("policy", recipe.policy.check())
        }
    }
}

/// Checks a pretraining recipe.
pub(super) fn pretrain(recipe: &Pretrain, source: &Source) -> Result<(), Error> {
    let check = Checker { source };
    let shape = &recipe.model;
    check.at_least(1, shape.layers, "model.layers")?;
    check.at_least(1, shape.heads, "model.heads")?;
    check.at_least(1, shape.kv_heads, "model.kv_heads")?;
    check.at_least(1, shape.intermediate, "model.intermediate")?;
    if shape.hidden == 0 || !shape.hidden.is_multiple_of(2 * shape.heads) {
        return Err(check.invalid(
            "model.hidden",
            format!("hidden is {}", shape.hidden),
            "make it a multiple of twice the number of heads",
        ));
    }
    if !shape.heads.is_multiple_of(shape.kv_heads) {
        return Err(check.invalid(
            "model.kv_heads",
            format!(
                "{} heads cannot share {} kv_heads",
                shape.heads, shape.kv_heads
            ),
            "make kv_heads a divisor of heads",
        ));
    }
    if !matches!(recipe.task, Kind::Countdown | Kind::Arithmetic) {
        return Err(check.invalid(
            "task",
            format!("`{}` has no generator of pretraining texts", recipe.task),
            "write countdown or arithmetic",
        ));
    }
    if recipe.stages.is_empty() {
        return Err(check.invalid(
            "stage",
            "there is no [[stage]]".into(),
            "add at least one [[stage]] with `texts` and a fit",
        ));
    }
    for (index, stage) in recipe.stages.iter().enumerate() {
        check.at_least(1, stage.texts, &format!("stage.{index}.texts"))?;
    }
    Ok(())
}

struct Checker<'a> {
    source: &'a Source,
}

impl Checker<'_> {
    fn invalid(&self, path: &str, message: String, help: &str) -> Error {
        self.source.invalid(path, message, help)
    }

    fn at_least(&self, least: usize, found: usize, path: &str) -> Result<(), Error> {
        if found >= least {
            return Ok(());
        }
        Err(self.invalid(
            path,
            format!("`{path}` is {found}"),
            &format!("write a number of at least {least}"),
        ))
    }

    /// A tree's own budget; 0 is none.
    fn slots(&self, found: usize, least: usize, path: &str) -> Result<(), Error> {
        if found == 0 || found >= least {
            return Ok(());
        }
        Err(self.invalid(
            path,
            format!("`{path}` is {found}, too few for the solutions that a tree plays at once"),
            &format!("write a number of at least {least}, or 0 for the worst case"),
        ))
    }

    fn positive(&self, found: f32, path: &str) -> Result<(), Error> {
        if found > 0.0 && found.is_finite() {
            return Ok(());
        }
        Err(self.invalid(
            path,
            format!("`{path}` is {found}"),
            "write a number above 0",
        ))
    }

    fn not_negative(&self, found: f32, path: &str) -> Result<(), Error> {
        if found >= 0.0 && found.is_finite() {
            return Ok(());
        }
        Err(self.invalid(
            path,
            format!("`{path}` is {found}"),
            "write a number of at least 0",
        ))
    }

    /// A distribution over returns and its loss go together.
    fn value(&self, section: &str, loss: ValueLoss, bins: usize) -> Result<(), Error> {
        match (loss == ValueLoss::HlGauss, bins > 1) {
            (true, false) => Err(self.invalid(
                "learn.bins",
                format!("{section}.loss is hl_gauss, but the head has one logit"),
                "set learn.bins to the number of bins, such as 51",
            )),
            (false, true) => Err(self.invalid(
                &format!("{section}.loss"),
                format!("the head has {bins} bins, which {section}.loss does not fit"),
                "set it to hl_gauss, or learn.bins to 1",
            )),
            _ => Ok(()),
        }
    }

    /// A calibration needs held-out questions.
    fn held_out(&self, section: &str, how: Calibrate, validation: f64) -> Result<(), Error> {
        if how == Calibrate::None || validation > 0.0 {
            return Ok(());
        }
        Err(self.invalid(
            &format!("{section}.validation"),
            format!("{section}.calibrate has no held-out questions to calibrate on"),
            "hold out a share of them, such as 0.1, or set calibrate to none",
        ))
    }

    fn share(&self, found: f32, path: &str) -> Result<(), Error> {
        if (0.0..=1.0).contains(&found) {
            return Ok(());
        }
        Err(self.invalid(
            path,
            format!("`{path}` is {found}"),
            "write a number from 0 to 1",
        ))
    }

    fn sampling(&self, params: &SampleParams, path: &str) -> Result<(), Error> {
        self.positive(params.temperature, &format!("{path}.temperature"))?;
        let new_tokens = format!("{path}.max_new_tokens");
        self.at_least(1, params.max_new_tokens, &new_tokens)?;
        if params.top_p > 0.0 && params.top_p <= 1.0 {
            return Ok(());
        }
        Err(self.invalid(
            &format!("{path}.top_p"),
            format!("top_p is {}", params.top_p),
            "write a number above 0 and at most 1",
        ))
    }

    fn teaching(&self, params: &distil::Params, path: &str) -> Result<(), Error> {
        self.share(params.min_shift as f32, &format!("{path}.min_shift"))?;
        match params.teach {
            Teach::Solutions => Ok(()),
            Teach::Visits { temperature } => {
                self.positive(temperature as f32, &format!("{path}.teach.temperature"))
            }
            Teach::CompletedQ { scale } => {
                self.positive(scale.scale as f32, &format!("{path}.teach.scale.scale"))
            }
            Teach::Prefer { beta, .. } => self.positive(beta, &format!("{path}.teach.beta")),
            Teach::Push { clip, kl, .. } => {
                self.share(clip, &format!("{path}.teach.clip"))?;
                self.share(kl, &format!("{path}.teach.kl"))
            }
        }
    }

    /// A search goes by its name in tables and files, beside the other methods.
    fn own_name(&self, name: &str, path: &str, taken: bool) -> Result<(), Error> {
        if !taken && !METHODS.contains(&name) && !name.contains('@') {
            return Ok(());
        }
        let message = match name.contains('@') {
            true => format!("`{name}` has an @ in it, which marks budgets"),
            false => format!("`{name}` is the name of another method"),
        };
        Err(self.invalid(
            path,
            message,
            "give the search a name of its own, such as `searched_wide`",
        ))
    }

    fn tree(&self, params: &tree::Params, path: &str) -> Result<(), Error> {
        params.validate().map_err(|wrong| {
            self.invalid(
                &format!("{path}.{}", wrong.field),
                wrong.to_string(),
                "write a number in that range",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sets: &[&str]) -> Option<String> {
        let mut source = Source::from_text("recipe", "seed = 1").unwrap();
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        source.apply_sets(&sets).unwrap();
        let parsed: Recipe = source.parse().unwrap();
        let error = recipe(&parsed, &source).err()?;
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        Some(format!("{error}; {}", help.unwrap_or_default()))
    }

    #[test]
    fn a_budget_of_slots_holds_a_solution_for_each_leaf() {
        let collect = |slots: &str, more: &[&str]| {
            let slots = format!("collect.search.slots={slots}");
            let own = ["collect.search.max_new_tokens=50", slots.as_str()];
            told(&[&own[..], more].concat())
        };
        let leaves = "collect.search.leaves=3";
        let beam = "collect.search.rollout={ kind = \"beam\", width = 2 }";
        assert_eq!(collect("0", &[leaves, beam]), None);
        for (enough, short, more) in [
            ("50", "49", &[][..]),
            ("150", "149", &[leaves][..]),
            ("300", "299", &[leaves, beam][..]),
        ] {
            assert_eq!(collect(enough, more), None);
            let said = collect(short, more).unwrap();
            assert!(said.contains("`collect.search.slots` is"), "{said}");
            assert!(said.contains(&format!("at least {enough}, or 0")), "{said}");
        }
        let said = told(&["evaluate.search.searched.slots=9"]).unwrap();
        assert!(said.contains("evaluate.search.searched.slots"), "{said}");
    }
}
