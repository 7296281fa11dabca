//! Checks of values that a type cannot state, each with its place in the recipe.

use super::toml_source::{Error, Source};
use super::{Mode, Pretrain, Recipe};
use crate::search::Rollout;
use crate::task::Kind;
use crate::tree;

/// Checks a recipe. Cheap: nothing is loaded.
pub(super) fn recipe(recipe: &Recipe, source: &Source) -> Result<(), Error> {
    let check = Checker { source };
    check.at_least(1, recipe.collect.questions, "collect.questions")?;
    check.at_least(1, recipe.collect.workers, "collect.workers")?;
    check.at_least(1, recipe.collect.shard, "collect.shard")?;
    check.at_least(1, recipe.engine.max_rows, "engine.max_rows")?;
    check.at_least(1, recipe.engine.max_step_tokens, "engine.max_step_tokens")?;
    check.at_least(1, recipe.evaluate.samples, "evaluate.samples")?;
    check.at_least(1, recipe.evaluate.workers, "evaluate.workers")?;
    check.at_least(1, recipe.evaluate.max_new_tokens, "evaluate.max_new_tokens")?;
    check.at_least(1, recipe.learn.head_width, "learn.head_width")?;
    let search = &recipe.collect.search;
    check.at_least(1, search.simulations as usize, "collect.search.simulations")?;
    check.at_least(1, search.top_k, "collect.search.top_k")?;
    check.at_least(1, search.leaves, "collect.search.leaves")?;
    check.at_least(1, search.max_new_tokens, "collect.search.max_new_tokens")?;
    check.tree(&search.tree, "collect.search.tree")?;
    check.share(search.noise.fraction, "collect.search.noise.fraction")?;
    check.positive(search.noise.alpha, "collect.search.noise.alpha")?;
    check.positive(search.noise.temperature, "collect.search.noise.temperature")?;
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
    check.positive(
        recipe.evaluate.sampling.temperature,
        "evaluate.sampling.temperature",
    )?;
    if !(recipe.evaluate.sampling.top_p > 0.0 && recipe.evaluate.sampling.top_p <= 1.0) {
        return Err(check.invalid(
            "evaluate.sampling.top_p",
            format!("top_p is {}", recipe.evaluate.sampling.top_p),
            "write a number above 0 and at most 1",
        ));
    }
    for (name, guided) in &recipe.evaluate.search {
        let at = format!("evaluate.search.{name}");
        check.at_least(1, guided.simulations as usize, &format!("{at}.simulations"))?;
        check.at_least(1, guided.top_k, &format!("{at}.top_k"))?;
        check.at_least(1, guided.leaves, &format!("{at}.leaves"))?;
        check.at_least(1, guided.max_new_tokens, &format!("{at}.max_new_tokens"))?;
        check.tree(&guided.tree, &format!("{at}.tree"))?;
        if ["greedy", "vote", "weighted_vote", "best_of_n"].contains(&name.as_str()) {
            return Err(check.invalid(
                &at,
                format!("`{name}` is the name of another method"),
                "give the search a name of its own, such as `searched_wide`",
            ));
        }
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
        Mode::Joint => of("joint", recipe.joint.check()),
        Mode::Separate => {
            of("value", recipe.value.check())?;
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
