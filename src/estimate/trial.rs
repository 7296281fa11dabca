//! The model at work on a few questions.

use super::helpers::Helpers;
use super::methods::methods;
use super::probe::{Error, spread};
use super::sample::{Sample, Spread};
use super::shape::Fit;
use super::texts::{Texts, siblings};
use crate::engine::{Choose, Engine, Generate, Request};
use crate::evaluate::SplitName;
use crate::iterate::Ground;
use crate::model::{Tokenizer, Value, ValueHead};
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use crate::search::Policy;
use crate::stop::Stop;
use crate::task::{HeldOut, Problem};
use crate::trace::{self, TreeRecord};
use crate::train::batch::{policy_input, value_input};
use crate::train::from_traces::{policy_examples, value_examples};
use crate::train::{Context, PolicyExample, ValueExample, fit_joint, fit_policy, fit_value};
use crate::{collect, evaluate};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Decode steps that are timed.
const STEPS: usize = 4;

/// Seconds below which a first prompt says more of the start than of the model.
const COLD: f64 = 0.3;

/// Optimiser steps that are timed, after one that starts threads and fills buffers.
pub(super) const FIT_STEPS: usize = 3;

/// How fast the engine goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    /// Seconds for a token of a prompt.
    pub prefill: f64,
    /// Rows that advanced together, and seconds of such a step.
    pub rows: usize,
    pub step: f64,
}

/// The first model in an engine, and the questions.
pub(super) struct Bench<'a> {
    pub recipe: &'a Recipe,
    ground: &'a Ground,
    tokenizer: Arc<Tokenizer>,
    helpers: &'a Helpers,
    head: ValueHead,
    policy: Policy,
    monitor: Monitor,
    stop: Stop,
    /// The first iteration that collects.
    first: u32,
    /// What was searched.
    trees: RefCell<Vec<TreeRecord>>,
    _engine: Engine,
}

impl<'a> Bench<'a> {
    pub fn start(
        recipe: &'a Recipe,
        ground: &'a Ground,
        tokenizer: Arc<Tokenizer>,
        helpers: &'a Helpers,
        first: u32,
    ) -> Result<Bench<'a>, Error> {
        let base = &ground.base;
        let head = match &base.value {
            Some(value) => value.head().clone(),
            None => {
                let (shape, hidden) = (recipe.learn.head_shape(), base.config().hidden_size);
                let device = base.policy.embedding.val().device();
                ValueHead::shaped(shape, hidden, recipe.seed, &device)
            }
        };
        let value = Value::Shared(head.clone());
        let engine = Engine::start(base.policy.clone(), Some(value), recipe.engine.clone())?;
        Ok(Bench {
            policy: Policy::new(engine.handle(), &tokenizer),
            recipe,
            ground,
            tokenizer,
            helpers,
            head,
            monitor: Monitor::silent(),
            stop: Stop::default(),
            first,
            trees: RefCell::default(),
            _engine: engine,
        })
    }

    /// Times a prompt, and a few steps of `rows` rows that go on from it.
    pub fn pace(&self, prompt: &[u32], rows: usize) -> Result<Pace, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(Error::Runtime)?;
        runtime.block_on(self.timed_steps(prompt, rows.max(1)))
    }

    async fn timed_steps(&self, prompt: &[u32], rows: usize) -> Result<Pace, Error> {
        let engine = &self.policy.engine;
        let room = engine.capacity().saturating_sub(2 * prompt.len());
        let rows = rows.min(room / (STEPS + 1)).max(1);
        let slots = 2 * prompt.len() + rows * (STEPS + 1);
        let session = Arc::new(engine.session(slots).await?);
        let request = |context, tokens, generate| Request {
            context,
            tokens,
            top_k: self.recipe.collect.search.top_k,
            generate,
            ..Request::default()
        };
        let prompted = || request(Vec::new(), prompt.to_vec(), None);
        let from = Instant::now();
        let mut reply = session.run(prompted()).await?;
        let mut prefill = from.elapsed().as_secs_f64();
        if prefill < COLD {
            // Threads and buffers are there now.
            let from = Instant::now();
            reply = session.run(prompted()).await?;
            prefill = from.elapsed().as_secs_f64();
        }
        let prefill = prefill / prompt.len().max(1) as f64;
        let next = reply.last().tokens[0];
        let mut tasks = JoinSet::new();
        let from = Instant::now();
        for _ in 0..rows {
            let generate = Generate {
                draft: None,
                choose: Choose::Greedy,
                max_new_tokens: STEPS,
                stop: Arc::from([]),
                until: None,
                record: true,
            };
            let row = request(reply.slots.clone(), vec![next], Some(generate));
            let session = session.clone();
            tasks.spawn(async move { session.run(row).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(crate::search::Error::from)??;
        }
        Ok(Pace {
            prefill,
            rows,
            step: from.elapsed().as_secs_f64() / STEPS as f64,
        })
    }

    /// Searches `count` train questions; seconds of one.
    pub fn search(&self, sample: &mut Sample, count: usize) -> Result<f64, Error> {
        let mut problems = Vec::new();
        for at in spread(self.recipe, self.first, count) {
            problems.extend(self.ground.task.train(at..at + 1)?);
        }
        let all: Vec<&_> = problems.iter().collect();
        let setting = collect::Setting {
            policy: &self.policy,
            tokenizer: &self.tokenizer,
            task: &self.ground.task,
            rewards: &self.ground.rewards,
            monitor: &self.monitor,
            iteration: self.first,
            seed: self.recipe.seed,
            stop: &self.stop,
        };
        let mut trees = Vec::new();
        let from = Instant::now();
        collect::search_each(&setting, &all, &self.recipe.collect, |_, tree| {
            trees.push(tree);
            Ok(())
        })?;
        let seconds = from.elapsed().as_secs_f64();
        trees.retain(|tree| tree.failure.is_none());
        if trees.is_empty() {
            return Ok(seconds / count.max(1) as f64);
        }
        let searched = trees.iter().filter(|tree| !tree.is_samples()).count();
        let number = searched as f64;
        // What was drawn beside a tree comes right behind it.
        let questions = || trees.chunks(trees.len() / searched);
        let nodes: usize = trees.iter().map(|tree| tree.nodes.len()).sum();
        // What a file has once, its schema and statistics, must not count for every tree.
        let bytes = |trees: &[TreeRecord]| -> Result<f64, Error> {
            let name = Path::new("a sample of trees");
            Ok(trace::encode_shard(name, trees)?.len() as f64)
        };
        let half: Vec<TreeRecord> = questions().step_by(2).flatten().cloned().collect();
        let tree_bytes = match searched - searched.div_ceil(2) {
            0 => bytes(&trees)?,
            rest => (bytes(&trees)? - bytes(&half)?) / rest as f64,
        };
        let values = value_examples(&trees, &self.recipe.traces, self.recipe.seed);
        let (solutions, _) = policy_examples(&trees, &self.recipe.traces, &self.tokenizer);
        sample.searched = searched;
        let held = |of: &[TreeRecord]| of.iter().map(|tree| self.held(tree)).sum();
        sample.tree = Spread::of(questions().map(held));
        let all: u64 = trees.iter().map(|tree| tree.forward_tokens).sum();
        let passed = (all as f64 / number - sample.tree.mean).max(0.0);
        if sample.helped > 0.0 {
            sample.passing = sample.passing.min(passed);
            sample.helped = passed - sample.passing;
        } else {
            sample.passing = passed;
        }
        sample.nodes = nodes as f64 / number;
        sample.tree_bytes = tree_bytes.max(1.0);
        let together = siblings(self.recipe);
        let inputs: Vec<(u64, &[u32])> = values
            .iter()
            .map(|example| (example.question, value_input(example)))
            .collect();
        sample.values = Texts::of(&inputs, number, together.0);
        if !solutions.is_empty() {
            let inputs: Vec<(u64, &[u32])> = solutions
                .iter()
                .map(|example| (example.question, policy_input(example)))
                .collect();
            sample.solutions = Texts::of(&inputs, number, together.1);
        }
        self.trees.replace(trees);
        Ok(seconds / number)
    }

    /// Tokens of a tree that hold slots to its end: no more than the prompt and its nodes have.
    fn held(&self, tree: &TreeRecord) -> f64 {
        let forwarded = tree.forward_tokens as f64;
        // Nodes of drawn texts are what they have in common, and each text has slots of its own.
        match self.recipe.collect.draws > 0 || tree.is_samples() {
            true => forwarded,
            false => forwarded.min((tree.prompt.len() + tree.nodes.len()) as f64),
        }
    }

    /// Evaluates on `count` held-out questions; seconds of one.
    pub fn answer(&self, sample: &mut Sample, count: usize) -> Result<f64, Error> {
        let params = &self.recipe.evaluate;
        let task = &self.ground.task;
        match params.split {
            SplitName::Dev => {
                self.answer_some(sample, params.choose(|limit| task.dev(limit))?, count)
            }
            SplitName::Test => {
                self.answer_some(sample, params.choose(|limit| task.test(limit))?, count)
            }
        }
    }

    fn answer_some<S: HeldOut>(
        &self,
        sample: &mut Sample,
        all: Vec<Problem<S>>,
        count: usize,
    ) -> Result<f64, Error> {
        let every = (all.len() / count.max(1)).max(1);
        let some: Vec<Problem<S>> = all.into_iter().step_by(every).take(count).collect();
        let setting = evaluate::Setting {
            policy: &self.policy,
            tokenizer: &self.tokenizer,
            task: &self.ground.task,
            monitor: &self.monitor,
            iteration: 0,
            seed: self.recipe.seed,
            stop: &self.stop,
        };
        let params = &self.recipe.evaluate;
        let found = evaluate::evaluate(&setting, &some, params)?;
        let tokens = |name: &str| {
            let method = found.methods.get(name);
            method.map_or(0.0, |method| method.forward_tokens)
        };
        let mut seen = vec![tokens("greedy"), tokens("weighted_vote")];
        let named = params.search.keys().chain(params.beam.keys());
        seen.extend(named.map(|name| tokens(name)));
        seen.extend(found.ranking.map(|ranking| ranking.forward_tokens));
        sample.methods = methods(self.recipe, sample.prompt, self.helpers, Some(&seen));
        Ok(found.seconds / some.len().max(1) as f64)
    }

    /// Seconds of a forwarded token in the fits of `these`, in a few steps on what was searched. Its
    /// few questions, over and over, share more than those of the run: a step's time would say less.
    pub fn learn(&self, these: &[Fit]) -> Result<Vec<(Fit, f64)>, Error> {
        let trees = self.trees.borrow();
        let values = value_examples(&trees, &self.recipe.traces, self.recipe.seed);
        let (solutions, _) = policy_examples(&trees, &self.recipe.traces, &self.tokenizer);
        let mut timed = Vec::new();
        for &fit in these {
            let one = self.fit(fit, 1, &values, &solutions)?;
            let more = self.fit(fit, FIT_STEPS, &values, &solutions)?;
            if let (Some(one), Some(more)) = (one, more) {
                // What a fit takes once must not count for every step.
                let tokens = (more.1 - one.1).max(1.0);
                timed.push((
                    fit,
                    ((more.0 - one.0) / tokens).max(more.0 / (4.0 * more.1)),
                ));
            }
        }
        Ok(timed)
    }

    /// Seconds of `steps` steps of `fit`, and their forwarded tokens; `None` where there is nothing to
    /// learn from.
    fn fit(
        &self,
        fit: Fit,
        steps: usize,
        values: &[ValueExample],
        solutions: &[PolicyExample],
    ) -> Result<Option<(f64, f64)>, Error> {
        if values.is_empty() || solutions.is_empty() {
            return Ok(None);
        }
        let (recipe, policy) = (self.recipe, &self.ground.base.policy);
        // As many as a step takes, over and over where there are fewer.
        let values = |batch: usize| repeated(values, batch * steps);
        let solutions = |batch: usize| repeated(solutions, batch * steps);
        let context = Context::new(&self.monitor);
        let report = match fit {
            Fit::Joint => {
                let params = fit_joint::Params {
                    steps,
                    validation: 0.0,
                    ..recipe.joint.clone()
                };
                let (values, solutions) =
                    (values(params.value_batch), solutions(params.policy_batch));
                let head = &self.head;
                fit_joint::fit_joint(policy, head, &values, &solutions, &params, &context)?.2
            }
            Fit::Value => {
                let params = fit_value::Params {
                    steps,
                    validation: 0.0,
                    ..recipe.value.clone()
                };
                if params.kind == fit_value::Kind::Head {
                    return Ok(None);
                }
                let values = values(params.batch);
                fit_value::fit_value(policy, &self.head, &values, &params, &context)?.2
            }
            Fit::Policy => {
                let params = fit_policy::Params {
                    steps,
                    validation: 0.0,
                    ..recipe.policy.clone()
                };
                let solutions = solutions(params.batch);
                fit_policy::fit_policy(policy, &solutions, &params, &context)?.1
            }
        };
        Ok(Some((report.seconds, report.tokens.max(1) as f64)))
    }
}

fn repeated<T: Clone>(some: &[T], count: usize) -> Vec<T> {
    some.iter().cycle().take(count).cloned().collect()
}
