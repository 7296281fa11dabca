//! What searches move by and who judges their leaves.

use super::Checker;
use crate::recipe::toml_source::Error;
use crate::search::{
    self, Actions, GuidedForm, GuidedParams, Judge, ReviseParams, Rollout, When, check_judges,
};
use crate::tree::{self, Gate, Pick};

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
        self.revises(&search.revise, &search.actions, at)?;
        if search.revise.asks() && search.revise.when == When::Wrong && !search.rolls_out() {
            return Err(self.invalid(
                &format!("{at}.revise.when"),
                "a search without rollouts grades no solution".into(),
                "write \"always\" or { below = 0.0 }, or a lambda above 0",
            ));
        }
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
        self.revises(&search.revise, &search.actions, at)?;
        if search.revise.asks() {
            self.revises_answers(search, at)?;
        }
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

    fn revises(&self, revise: &ReviseParams, actions: &Actions, at: &str) -> Result<(), Error> {
        if let Err((key, message, help)) = revise.check() {
            return Err(self.invalid(&format!("{at}.revise.{key}"), message, help));
        }
        if revise.asks() && *actions == Actions::Token {
            return Err(self.invalid(
                &format!("{at}.revise.phrases"),
                "a solution is revised by options, and this search moves by tokens".into(),
                "write actions = { kind = \"step\" } or those of a span, or leave out `phrases`",
            ));
        }
        Ok(())
    }

    /// What goes with revisions in a search for an answer, which the recipe has at `at`.
    fn revises_answers(&self, search: &GuidedParams, at: &str) -> Result<(), Error> {
        let wrong = match (search.revise.when, search.form, search.pick) {
            (When::Wrong, _, _) => Some((
                "revise.when",
                "a search for an answer does not know which solutions are wrong",
                "write \"always\" or { below = 0.0 }",
            )),
            (_, GuidedForm::PerToken, _) => Some((
                "form",
                "a text that is committed token by token is not revised",
                "write whole, or leave out `revise.phrases`",
            )),
            (_, _, Pick::Improved) => Some((
                "pick",
                "`improved` ranks by priors, and a revised solution has none",
                "write mean_return or visits, or leave out `revise.phrases`",
            )),
            _ => None,
        };
        match wrong {
            None => Ok(()),
            Some((key, message, help)) => {
                Err(self.invalid(&format!("{at}.{key}"), message.into(), help))
            }
        }
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
    fn revisions_need_options_and_no_look_at_the_answer() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/quickstart.toml");
        let told = |section: &str, sets: &[&str]| {
            let steps = format!("{section}.actions={{ kind = \"step\" }}");
            let phrases = format!("{section}.revise.phrases=[\"make\"]");
            let own = sets.iter().map(|set| format!("{section}.{set}"));
            let sets: Vec<String> = [steps, phrases].into_iter().chain(own).collect();
            let error = Recipe::read(&path, &sets).err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        let (collect, answer) = ("collect.search", "evaluate.search.searched");
        for (section, sets, why) in [
            (collect, &["revise.when=wrong"][..], ""),
            (
                collect,
                &["revise.when={ below = 0.5 }", "revise.times=3"],
                "",
            ),
            (answer, &[], ""),
            (answer, &["revise.when={ below = 0.5 }"], ""),
            (collect, &["revise.phrases=[\"\"]"], "an empty phrase"),
            (collect, &["revise.times=0"], "revised 0 times"),
            (collect, &["revise.count=0"], "0 revisions"),
            (collect, &["revise.count=1001"], "1001 revisions"),
            (collect, &["revise.when={ below = nan }"], "below NaN"),
            (
                collect,
                &["actions={ kind = \"token\" }"],
                "moves by tokens",
            ),
            (
                collect,
                &["revise.when=wrong", "tree.lambda=0.0"],
                "grades no solution",
            ),
            (answer, &["revise.when=wrong"], "does not know which"),
            (answer, &["form=per_token"], "token by token"),
            (answer, &["pick=improved"], "ranks by priors"),
            (answer, &["actions={ kind = \"token\" }"], "moves by tokens"),
        ] {
            let found = told(section, sets);
            assert_eq!(found.is_empty(), why.is_empty(), "{sets:?}: {found}");
            assert!(found.contains(why), "{sets:?}: {found}");
        }
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
