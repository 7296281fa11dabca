//! What a collection does beside searching.

use super::Checker;
use crate::collect::{self, imagine};
use crate::recipe::toml_source::Error;
use crate::task::Kind;

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
