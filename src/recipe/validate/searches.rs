//! What searches move by and who judges their leaves.

use super::Checker;
use crate::recipe::toml_source::Error;
use crate::search::{self, Actions, GuidedParams, Judge, Rollout, check_judges};
use crate::tree::{self, Gate};

fn is_confidence(judge: &Judge) -> bool {
    matches!(judge, Judge::Confidence { .. })
}

impl Checker<'_> {
    /// A search for training traces, which the recipe has at `at`.
    pub(super) fn training_search(&self, search: &search::Params, at: &str) -> Result<(), Error> {
        let cap = &search.playout_cap;
        self.share(cap.share, &format!("{at}.playout_cap.share"))?;
        let simulations = format!("{at}.playout_cap.simulations");
        self.at_least(1, cap.simulations as usize, &simulations)?;
        self.share(search.stop.variance, &format!("{at}.stop.variance"))?;
        self.moves(&search.actions, &search.tree, at)?;
        self.judges(&search.judges, search.rollout, at)?;
        let beam = matches!(search.rollout, Rollout::Beam { .. });
        let sure = search.judges.iter().any(is_confidence);
        if !search.player.is_empty() && (beam || sure) {
            return Err(self.invalid(
                &format!("{at}.player"),
                "another checkpoint plays greedily or by draws, and leaves no probabilities".into(),
                "leave out `player`, or the beam and the judge `confidence`",
            ));
        }
        Ok(())
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
        if let Err((message, help)) = check_judges(judges) {
            return Err(self.invalid(&path, message, help));
        }
        let sure = judges.iter().any(is_confidence);
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

#[cfg(test)]
mod tests {
    use crate::recipe::Recipe;
    use std::path::Path;

    fn complaint(set: &str) -> Option<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/quickstart.toml");
        let read = Recipe::read(&path, &[set.to_string()]);
        read.err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_search_cannot_do_is_refused() {
        for (set, why) in [
            (
                "collect.search.actions={ kind = \"span\", tokens = 0 }",
                "has no tokens",
            ),
            (
                "collect.search.actions={ kind = \"step\", stop = [\"\"] }",
                "empty string",
            ),
            (
                "collect.search.actions={ kind = \"step\", options = { count = 0 } }",
                "0 options",
            ),
            (
                "evaluate.search.searched.judges=[{ kind = \"rollout\", weight = 0.0 }]",
                "no judge",
            ),
            (
                "collect.search.judges=[{ kind = \"rubric\", prompt = \"Right? {{ question }}\" }]",
                "has to hold {{ solution }}",
            ),
            (
                "collect.search.judges=[{ kind = \"rubric\", prompt = \"{{ solution\" }]",
                "syntax error",
            ),
            (
                "evaluate.search.searched.judges=[{ kind = \"rubric\", yes = \"x\", no = \"x\" }]",
                "for yes,",
            ),
            (
                "evaluate.search.searched.rollout={ kind = \"beam\", width = 2 }",
                "by beams",
            ),
            (
                "collect.search.tree.gate={ kind = \"nth\", n = 0 }",
                "gate.n",
            ),
            ("collect.search.playout_cap.share=1.5", "playout_cap.share"),
            ("collect.search.stop.variance=-1", "stop.variance"),
        ] {
            let found = complaint(set).unwrap_or_else(|| panic!("{set} is taken"));
            assert!(found.contains(why), "{set}: {found}");
        }
        let taken = "collect.search.actions={ kind = \"step\", stop = [\"\\n\"], max_tokens = 16 }";
        assert_eq!(complaint(taken), None);
    }

    #[test]
    fn a_gate_needs_tokens() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/quickstart.toml");
        let sets = [
            "collect.search.actions={ kind = \"span\", tokens = 4 }",
            "collect.search.tree.plain=0.5",
        ];
        let error = Recipe::read(&path, &sets.map(String::from)).unwrap_err();
        assert!(error.to_string().contains("a gate picks tokens"), "{error}");
    }
}
