//! The knobs of a search for training traces.

use super::actions::Actions;
use super::judge::Judge;
use super::random::seed_of;
use super::{redraw, revise};
use crate::tree;
use serde::{Deserialize, Serialize};

/// How one question is searched. Which continuations a node has and how they are selected is the
/// tree's ([`tree::Params`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Simulations of a tree, its root's first evaluation included. More find more solutions and
    /// sharpen the value targets. Default 40.
    pub simulations: u32,
    /// Continuations of a node: its most probable tokens. Default 5.
    pub top_k: usize,
    /// What the search moves by: `{ kind = "token" }`, `{ kind = "span", tokens = 32 }` or `{ kind =
    /// "step", stop = ["\n"], max_tokens = 64 }`. Default token.
    pub actions: Actions,
    /// Revising finished solutions.
    pub revise: revise::Params,
    /// Leaves of one tree in flight at once, kept apart by virtual loss. More fill the batch where
    /// trees are few, and search a little less sharply. Default 1.
    pub leaves: usize,
    /// Tokens of a solution at most, its stop token included. Default 256.
    pub max_new_tokens: usize,
    /// Key-value slots that a tree may hold beside its prompt's; 0 for all that it could ever need. With
    /// fewer, more trees run at once in the same pool: a tree that would exceed them gives up the slots
    /// of its least visited tokens, and forwards those again that it comes back to. It finds the same
    /// for more forward tokens. At least `leaves * max_new_tokens`, with beams times their width, and with
    /// options or revisions as many more for each leaf as those of a node take. Default 0.
    pub slots: usize,
    /// Tokens of a draft at most: what followed the last tokens of a rollout where they occurred before,
    /// in the prompt or in another rollout of the tree, is forwarded along and kept as far as it is
    /// right. The tree is the same, in fewer steps and for more forward tokens; pays where few rows
    /// share a step. 0 is none. Default 0.
    pub draft_tokens: usize,
    /// Whether a rollout's path is kept in the tree, so that no continuation is computed twice.
    /// Applies to greedy rollouts. Default true.
    pub memoise: bool,
    /// How a leaf is played out.
    pub rollout: Rollout,
    /// Directory of a checkpoint that plays leaves out instead of the policy: a smaller and faster one with
    /// the same tokenizer. Its tokens cost their share of the policy's parameters, and its texts are not
    /// kept in the tree. Empty: the policy plays. Default empty.
    pub player: String,
    /// Who judges a leaf, each with its share: `[{ kind = "value", weight = 1.0 }, { kind = "rollout" }, { kind
    /// = "confidence" }, { kind = "reward", path = "DIR" }, { kind = "rubric" }]`: the value net; the grade of
    /// a rollout; how sure the policy was of the tokens up to the rollout's end (Marco-o1); the value net of
    /// another checkpoint; a language model asked whether the solution is right so far. The last is `{ kind =
    /// "rubric" }`, whose further keys are `prompt`, by default `"Here are a question and a solution to it,
    /// which may break off before its end.\n\nQuestion:\n{{ question }}\n\nSolution:\n{{ solution }}\n\nIs the
    /// solution right so far? Answer Yes or No."`, `yes = "Yes"`, `no = "No"` and `path`, empty for the policy
    /// itself (Zheng et al. 2023). A rubric's opinion is `2 p - 1` with `p = P(yes) / (P(yes) + P(no))` for the
    /// first tokens of `yes` and `no` after the prompt (Zhang et al. 2024), which goes through the model's chat
    /// template where it has one. The solution is put in as the tokens it was written in, so `{{ solution }}`
    /// stands once and as it is; the prompt is charged once a question, what follows for each leaf. Empty:
    /// value and rollout, mixed by `tree.lambda`. Default empty.
    pub judges: Vec<Judge>,
    /// When a tree ends before its simulations are used up.
    pub stop: Stop,
    /// Noise on the root's priors.
    pub noise: Noise,
    /// Starting some trees inside the greedy solution.
    pub random_root: RandomRoot,
    /// Whether a question that the greedy rollout answers right is left out after that rollout.
    /// Default false.
    pub skip_solved: bool,
    /// Standard deviations of an ensemble's values (`learn.heads`) that every value is lowered by; 0
    /// searches by the mean. Default 0.
    pub pessimism: f32,
    /// Playing right solutions anew from their middle.
    pub redraw: redraw::Params,
    /// Searching some questions at less cost.
    pub playout_cap: PlayoutCap,
    /// Selection, expansion and backup.
    pub tree: tree::Params,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            simulations: 40,
            top_k: 5,
            actions: Actions::Token,
            revise: revise::Params::default(),
            leaves: 1,
            max_new_tokens: 256,
            slots: 0,
            draft_tokens: 0,
            memoise: true,
            rollout: Rollout::default(),
            player: String::new(),
            judges: Vec::new(),
            stop: Stop::default(),
            noise: Noise::default(),
            random_root: RandomRoot::default(),
            skip_solved: false,
            pessimism: 0.0,
            redraw: redraw::Params::default(),
            playout_cap: PlayoutCap::default(),
            tree: tree::Params::default(),
        }
    }
}

/// How a leaf is played out to a finished text.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Rollout {
    /// By the most probable token.
    #[default]
    Greedy,
    /// By draws from the policy at `temperature`.
    Sampled {
        /// Softmax temperature; 1 is the policy itself.
        temperature: f32,
    },
    /// By beam search over `width` hypotheses; the most probable finished one counts.
    Beam {
        /// Hypotheses kept at each length.
        width: usize,
    },
}

/// When a tree ends early. A rule whose number is 0 is off.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Ends the tree at this many finished texts. Default 0.
    pub terminals: usize,
    /// With `wrong`: ends the tree once it holds this many right texts and `wrong` wrong ones.
    /// Default 0.
    pub correct: usize,
    /// With `correct`. Default 0.
    pub wrong: usize,
    /// Ends the tree once this many simulations returned +1, but not before
    /// `after_simulations`. Default 0.
    pub correct_simulations: u32,
    /// Simulations that `correct_simulations` and `variance` wait for. Default 0.
    pub after_simulations: u32,
    /// Ends the tree once it has cost this many forward tokens, its prompt included. Default 0.
    pub forward_tokens: u64,
    /// Ends the tree once the variance of the root's returns, 0 to 1, is at most this. Default 0.
    pub variance: f32,
}

/// Exploration noise at the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Concentration of the Dirichlet noise; smaller is spikier. Default 0.3.
    pub alpha: f32,
    /// Share of the noise in the root's priors; 0 is no noise. Default 0.
    pub fraction: f32,
    /// Temperature of the root's priors; above 1 flattens them. Default 1.
    pub temperature: f32,
}

impl Default for Noise {
    fn default() -> Self {
        Noise {
            alpha: 0.3,
            fraction: 0.0,
            temperature: 1.0,
        }
    }
}

/// Trees that start some tokens into the greedy solution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomRoot {
    /// Share of the trees that do; 0 is none. Default 0.
    pub share: f32,
    /// Fewest tokens. Default 1.
    pub min_depth: usize,
    /// Most tokens. Default 14.
    pub max_depth: usize,
}

impl Default for RandomRoot {
    fn default() -> Self {
        RandomRoot {
            share: 0.0,
            min_depth: 1,
            max_depth: 14,
        }
    }
}

/// Playout-cap randomisation (Wu 2019, "Accelerating self-play learning in Go", KataGo): few trees get all
/// simulations, and are worth learning a policy from; the others cost little, and still end in texts that
/// a value learns from. `traces.policy.min_simulations` keeps them apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlayoutCap {
    /// Share of the trees that get all simulations. Default 1.
    pub share: f32,
    /// Simulations of the others. Default 8.
    pub simulations: u32,
}

impl Default for PlayoutCap {
    fn default() -> Self {
        PlayoutCap {
            share: 1.0,
            simulations: 8,
        }
    }
}

impl Params {
    /// Slots that a session sets aside for a prompt of `prompt` tokens: `slots`, or the worst case, in
    /// which every simulation adds a whole solution.
    pub(crate) fn reserved_slots(&self, prompt: usize) -> usize {
        let worst = self.worst_case_slots();
        prompt
            + match self.slots {
                0 => worst,
                slots => slots.max(self.least_slots()).min(worst),
            }
    }

    /// The fewest `slots` that a tree can work with: a whole solution for each leaf in flight, the options of
    /// its end included, and for each text that is drawn anew.
    pub(crate) fn least_slots(&self) -> usize {
        let played = self.max_new_tokens * self.width();
        let opened = self.max_new_tokens + self.opened_slots();
        let leaves = self.leaves.max(1) * played.max(opened);
        leaves.max(self.redrawn_slots())
    }

    /// Slots of the options of a node, or of the revisions of a text, at worst.
    fn opened_slots(&self) -> usize {
        let left = self.max_new_tokens;
        self.actions.slots(left).max(self.revise.slots(left))
    }

    /// Slots of the texts that are drawn anew at once.
    fn redrawn_slots(&self) -> usize {
        match self.redraw.texts {
            0 => 0,
            _ => self.redraw.draws.max(1) * (self.max_new_tokens + 1),
        }
    }

    fn worst_case_slots(&self) -> usize {
        let width = self.width();
        let texts = match self.stop.terminals {
            0 => self.simulations as usize,
            n => n.min(self.simulations as usize),
        };
        let options = self.opened_slots();
        let own = (self.leaves + 1) * self.max_new_tokens * width + self.redrawn_slots();
        let own = own + self.leaves * options;
        let grown = texts * self.max_new_tokens * width + self.simulations as usize * options;
        // A slot costs a forward token.
        match self.stop.forward_tokens {
            0 => own + grown,
            limit => own + grown.min(limit as usize),
        }
    }

    /// Texts that a leaf is played out to at once.
    fn width(&self) -> usize {
        match self.rollout {
            Rollout::Beam { width } => width.max(1),
            _ => 1,
        }
    }

    /// Whether leaves need finished texts.
    pub(crate) fn rolls_out(&self) -> bool {
        match self.judges.is_empty() {
            true => self.tree.lambda > 0.0,
            false => self.judges.iter().any(|judge| judge.plays()),
        }
    }

    /// Paths of the checkpoints that help this search, each with whether it judges by its value net.
    pub(crate) fn aides(&self) -> Vec<(String, bool)> {
        let rubrics = self.judges.iter().filter_map(Judge::rubric);
        let rubrics = rubrics.filter(|path| !path.is_empty());
        let mut aides = self.readers();
        aides.extend(rubrics.map(|path| (path.clone(), false)));
        aides
    }

    /// Those of them that go on from the prompt, reward models first.
    pub(super) fn readers(&self) -> Vec<(String, bool)> {
        let rewards = self.judges.iter().filter_map(Judge::path);
        let player = Some(&self.player).filter(|path| !path.is_empty());
        let rewards = rewards.map(|path| (path.clone(), true));
        rewards
            .chain(player.map(|path| (path.clone(), false)))
            .collect()
    }

    /// Places of the rubrics among the judges.
    pub(super) fn rubrics(&self) -> impl Iterator<Item = usize> {
        let judges = self.judges.iter().enumerate();
        judges
            .filter(|(_, judge)| judge.rubric().is_some())
            .map(|(place, _)| place)
    }

    /// Whether rollouts grow the tree, so that none is repeated.
    pub(super) fn grows(&self) -> bool {
        self.memoise && self.rollout == Rollout::Greedy && self.player.is_empty()
    }

    /// Whether a judge looks at the probabilities of a rollout's tokens.
    pub(super) fn reads_probabilities(&self) -> bool {
        self.judges.iter().any(|judge| judge.reads_probabilities())
    }

    /// The tree of this search: `left` tokens fit below its root, and its draws come from `seed`.
    pub(super) fn tree(&self, left: usize, seed: u64) -> tree::Params {
        tree::Params {
            max_depth: left as u32,
            driven: tree::Driven {
                options: self.actions.options().is_some(),
                variance: self.stop.variance > 0.0,
                seed: seed_of(seed, &[6]),
            },
            ..self.tree.clone()
        }
    }
}
