//! What searches move by and who judges their leaves.

use super::Checker;
use crate::recipe::toml_source::Error;
use crate::search::{self, Actions, GuidedParams, Judge, Rollout, check_judges};
use crate::tree::{self, Gate};

impl Checker<'_> {
    /// A search for training traces, which the recipe has at `at`.
    pub(super) fn training_search(&self, search: &search::Params, at: &str) -> Result<(), Error> {
        let cap = &search.playout_cap;
        self.share(cap.share, &format!("{at}.playout_cap.share"))?;
        let simulations = format!("{at}.playout_cap.simulations");
        self.at_least(1, cap.simulations as usize, &simulations)?;
        self.share(search.stop.variance, &format!("{at}.stop.variance"))?;
        self.moves(&search.actions, &search.tree, at)?;
        self.judges(&search.judges, search.rollout, at)
    }

    /// A search for an answer, which the recipe has at `at`.
    pub(super) fn guided_search(&self, search: &GuidedParams, at: &str) -> Result<(), Error> {
        self.share(search.stop_variance, &format!("{at}.stop_variance"))?;
        self.moves(&search.actions, &search.tree, at)?;
        self.judges(&search.judges, search.rollout, at)?;
        match search.rollout {
            Rollout::Greedy => Ok(()),
            Rollout::Sampled { temperature } => {
                self.positive(temperature, &format!("{at}.rollout.temperature"))
            }
            // Its texts have no recorded states, so nothing to judge them by.
            Rollout::Beam { .. } => Err(self.invalid(
                &format!("{at}.rollout"),
                "a search for an answer does not roll out by beams".into(),
                "write { kind = \"greedy\" } or { kind = \"sampled\", temperature = 1.0 }",
            )),
        }
    }

    fn moves(&self, actions: &Actions, tree: &tree::Params, at: &str) -> Result<(), Error> {
        if let Err((key, message, help)) = actions.check() {
            return Err(self.invalid(&format!("{at}.actions.{key}"), message, help));
        }
        let gated = tree.gate != Gate::Every || tree.plain > 0.0;
        if *actions != Actions::Token && gated {
            return Err(self.invalid(
                &format!("{at}.tree.gate"),
                "a gate picks tokens to branch at, and this search moves by options".into(),
                "leave out `gate` and `plain`, or write actions = { kind = \"token\" }",
            ));
        }
        Ok(())
    }

    fn judges(&self, judges: &[Judge], rollout: Rollout, at: &str) -> Result<(), Error> {
        let path = format!("{at}.judges");
        if let Err(message) = check_judges(judges) {
            return Err(self.invalid(&path, message, "write weights of at least 0, one above 0"));
        }
        let sure = judges.iter().any(|j| matches!(j, Judge::Confidence { .. }));
        if sure && matches!(rollout, Rollout::Beam { .. }) {
            return Err(self.invalid(
                &path,
                "the probabilities of a beam's texts are not recorded".into(),
                "leave the judge `confidence` out, or roll out greedily or by draws",
            ));
        }
        Ok(())
    }
}
