//! Questions that the policy writes for itself before a collection.

use super::plan::Plan;
use super::searched::TEXT;

impl Plan<'_> {
    /// Questions that a collection searches: those of the data, and as many written ones as may be kept.
    pub fn searched(&self) -> f64 {
        let params = &self.recipe.collect;
        (params.questions + params.imagine.wanted(params.questions)) as f64
    }

    /// Tokens that are forwarded to write questions and to vote on their answers. Each wanted one takes
    /// from a single attempt to all that are allowed.
    pub fn writing_tokens(&self) -> f64 {
        let how = &self.recipe.collect.imagine;
        let attempts = how.wanted(self.recipe.collect.questions) as f64
            * (1.0 + how.attempts.max(1) as f64)
            / 2.0;
        attempts * (self.written() + self.voted())
    }

    /// Slots that writing and voting hold at once.
    pub fn writing_slots(&self) -> f64 {
        let params = &self.recipe.collect;
        let wanted = params.imagine.wanted(params.questions);
        params.workers.min(wanted) as f64 * self.written().max(self.voted())
    }

    /// Tokens of a written question and of the ones that are shown for it.
    fn written(&self) -> f64 {
        let how = &self.recipe.collect.imagine;
        how.examples as f64 * self.sample.prompt.mean + TEXT * how.max_new_tokens as f64
    }

    /// Tokens of a question and the solutions that vote.
    fn voted(&self) -> f64 {
        let limit = self.recipe.collect.sampling.max_new_tokens as f64;
        self.sample.prompt.mean + TEXT * self.recipe.collect.imagine.votes as f64 * limit
    }
}
