//! What a collection does beside searching.

use super::Checker;
use crate::collect::{self, imagine};
use crate::recipe::Recipe;
use crate::recipe::toml_source::Error;
use crate::task::Kind;
use crate::train::calibrate::Calibrate;

impl Checker<'_> {
    /// Texts beside trees need trees.
    pub(super) fn samples(&self, params: &collect::Params) -> Result<(), Error> {
        if params.samples == 0 || params.draws == 0 {
            return Ok(());
        }
        Err(self.invalid(
            "collect.samples",
            "with collect.draws there is no tree to draw texts beside".into(),
            "set one of collect.samples and collect.draws to 0",
        ))
    }

    /// A calibration with features needs texts whose probabilities are known from their prompts on.
    pub(super) fn begins_at_prompts(
        &self,
        section: &str,
        how: Calibrate,
        params: &collect::Params,
    ) -> Result<(), Error> {
        let within = params.search.random_root.share >= 1.0 && params.draws + params.samples == 0;
        if how != Calibrate::Features || !within {
            return Ok(());
        }
        Err(self.invalid(
            &format!("{section}.calibrate"),
            "every tree starts inside a solution, and the probabilities before its root are not recorded"
                .into(),
            "set collect.search.random_root.share below 1, draw collect.samples, or calibrate otherwise",
        ))
    }

    /// A calibration with features reads the policy's probabilities, of which a phrase has none.
    pub(super) fn revises_nothing(
        &self,
        section: &str,
        how: Calibrate,
        recipe: &Recipe,
    ) -> Result<(), Error> {
        let mut answers = recipe.evaluate.search.values();
        let revises = recipe.collect.search.revise.asks() || answers.any(|s| s.revise.asks());
        if how != Calibrate::Features || !revises {
            return Ok(());
        }
        Err(self.invalid(
            &format!("{section}.calibrate"),
            "a search revises solutions, and the phrases behind them have no probabilities".into(),
            "leave out `revise.phrases`, or calibrate otherwise",
        ))
    }

    /// Questions that the policy writes.
    pub(super) fn imagination(&self, params: &imagine::Params, kind: Kind) -> Result<(), Error> {
        let at = |key: &str| format!("collect.imagine.{key}");
        self.share(params.share, &at("share"))?;
        self.share(params.agreement, &at("agreement"))?;
        self.share(params.resemblance, &at("resemblance"))?;
        self.positive(params.resemblance, &at("resemblance"))?;
        self.positive(params.temperature, &at("temperature"))?;
        self.at_least(1, params.attempts, &at("attempts"))?;
        self.at_least(1, params.votes, &at("votes"))?;
        self.at_least(1, params.max_new_tokens, &at("max_new_tokens"))?;
        if params.share > 0.0 && kind == Kind::Countdown {
            return Err(self.invalid(
                &at("share"),
                "the policy cannot write questions of countdown".into(),
                "set it to 0, or use a task of word problems",
            ));
        }
        Ok(())
    }
}
