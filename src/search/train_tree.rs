//! The search of one training question.

use super::decode::Policy;
use super::driver::Driver;
use super::grader::Grader;
use super::lookup::Lookup;
use super::params::Params;
use super::random::{seed_of, stream};
use super::rollout::Played;
use super::{Error, Ledger};
use crate::engine::{Choose, Finish, Output, Session, Slot};
use crate::model::Trail;
use crate::task::{Problem, Train};
use crate::tree::{NodeId, Stage, Tree};
use rand::RngExt;
use rand_distr::{Distribution, Gamma};
use std::collections::HashMap;

/// A searched question.
#[derive(Debug)]
pub struct Searched {
    /// The question's id in the train split.
    pub problem: u64,
    /// The root's context: the prompt, then `root_depth` tokens of the greedy solution.
    pub context: Vec<u32>,
    pub root_depth: usize,
    pub tree: Tree,
    pub ledger: Ledger,
    pub simulations: u32,
    /// Simulations that needed no forward pass, because their leaf was known already.
    pub memo_hits: u32,
    /// Whether the policy's greedy solution is right, where it was played.
    pub solved_greedily: Option<bool>,
    /// For ends of right solutions that were played anew from their middle, the share that ended right.
    pub agreements: Vec<(NodeId, f32)>,
}

/// Searches `problem`. All randomness comes from `seed` and the problem's id, so the result does
/// not depend on what else runs.
///
/// # Errors
/// An engine that refuses the prompt or has stopped, and a reward that is not there.
pub async fn search_problem(
    policy: &Policy,
    grader: &Grader,
    problem: &Problem<Train>,
    prompt: &[u32],
    params: &Params,
    seed: u64,
) -> Result<Searched, Error> {
    let seed = seed_of(seed, &[problem.id]);
    let slots = params.reserved_slots(prompt.len());
    let asked = policy.asked(params, Some(&problem.question))?;
    let (session, own) = policy.sessions(slots, &asked, params).await?;
    let mut ledger = Ledger::default();
    let reply = policy
        .prefill(&session, prompt, params.top_k, &mut ledger)
        .await?;
    let mut root = Root {
        context: prompt.to_vec(),
        slots: reply.slots.clone(),
        output: reply.last().clone(),
        trail: Trail::default(),
        depth: 0,
    };
    let mut rng = stream(seed, &[0]);
    let grows = params.grows() && params.rolls_out();
    let moves = rng.random::<f32>() < params.random_root.share;
    let mut greedy = None;
    if grows || params.skip_solved || moves {
        let played = play_greedily(policy, &session, &root, params, &mut ledger).await?;
        let outcome = grader.outcome(&played.tokens, played.finished).await?;
        greedy = Some((played, outcome));
    }
    let solved_greedily = greedy.as_ref().map(|(_, outcome)| *outcome > 0.0);
    if let (true, Some((played, _))) = (moves, &mut greedy) {
        let range = params.random_root.min_depth..=params.random_root.max_depth;
        root.descend(played, rng.random_range(range));
    }
    let preamble = root.context[prompt.len()..].to_vec();
    let tree_params = params.tree(params.max_new_tokens - preamble.len(), seed);
    let helpers = policy
        .helpers(params, prompt, asked, own, &mut ledger)
        .await?;
    let mut driver = Driver {
        tree: Tree::new(
            tree_params,
            policy.expansion(&root.output, params.pessimism, &root.trail),
        ),
        session,
        policy,
        params,
        grader: Some(grader),
        root: root.slots,
        preamble,
        trail: root.trail,
        root_token: root.context[root.context.len() - 1],
        lookup: Lookup::new(&root.context, params.draft_tokens),
        ledger,
        seed,
        simulations: 0,
        correct_simulations: 0,
        memo_hits: 0,
        helpers,
        opinions: HashMap::new(),
        phrases: policy.phrases(&params.revise)?,
    };
    if let Some((played, outcome)) = greedy {
        driver.plant(played, outcome);
    }
    if !(params.skip_solved && solved_greedily == Some(true)) {
        let simulations = simulations(params, seed);
        if driver.tree.stage(driver.tree.root()) == Stage::Closed {
            driver.open_now(driver.tree.root()).await?;
        }
        add_noise(&mut driver.tree, params, seed);
        draw_root(&mut driver.tree, simulations, seed);
        driver.run(simulations).await?;
    }
    let agreements = match params.redraw.texts {
        0 => Vec::new(),
        _ => driver.redraw(&params.redraw).await?,
    };
    Ok(Searched {
        problem: problem.id,
        root_depth: root.depth,
        context: root.context,
        tree: driver.tree,
        ledger: driver.ledger,
        simulations: driver.simulations,
        memo_hits: driver.memo_hits,
        solved_greedily,
        agreements,
    })
}

/// Where a tree starts.
struct Root {
    context: Vec<u32>,
    slots: Vec<Slot>,
    output: Output,
    /// What leads from the prompt here.
    trail: Trail,
    depth: usize,
}

impl Root {
    /// Moves `depth` tokens into a played solution, short of its end; what lies below stays in
    /// `played`.
    fn descend(&mut self, played: &mut Played, depth: usize) {
        let depth = depth.min(played.states.len());
        self.context.extend(played.tokens.drain(..depth));
        for (output, slot) in played.states.drain(..depth) {
            self.slots.push(slot);
            // Each token was the most probable one.
            self.trail.push(self.output.log_probs[0]);
            self.output = output;
        }
        self.depth = depth;
    }
}

/// The policy's greedy solution from the root, with all its states.
async fn play_greedily(
    policy: &Policy,
    session: &Session,
    root: &Root,
    params: &Params,
    ledger: &mut Ledger,
) -> Result<Played, Error> {
    let first = root.output.tokens[0];
    let finished = policy.stop.contains(&first);
    let mut played = Played {
        tokens: vec![first],
        finished,
        ..Played::default()
    };
    if finished || params.max_new_tokens <= 1 {
        return Ok(played);
    }
    let request = policy.continuation(
        root.slots.clone(),
        vec![first],
        Choose::Greedy,
        params.max_new_tokens - 1,
        Some(params.top_k),
    );
    let reply = session.run(request).await?;
    ledger.rollout(reply.slots.len(), policy.engine.nets());
    played.finished = reply.finish == Finish::Stop;
    played.tokens.extend(reply.generated);
    played.states = reply.outputs.into_iter().zip(reply.slots).collect();
    Ok(played)
}

/// The root's draw, for the rule that needs one. Its own evaluation is the first simulation.
fn draw_root(tree: &mut Tree, simulations: u32, seed: u64) {
    let mut rng = stream(seed, &[3]);
    let uniform = || rng.random::<f64>().max(f64::MIN_POSITIVE);
    let noise = std::iter::repeat_with(uniform)
        .map(|u| -(-u.ln()).ln())
        .take(tree.choices(tree.root()).count())
        .collect();
    tree.set_root_gumbel(noise, simulations.saturating_sub(1) as usize);
}

/// Simulations of a tree: all of them, or as many as the playout cap leaves it.
fn simulations(params: &Params, seed: u64) -> u32 {
    let cap = &params.playout_cap;
    if cap.share >= 1.0 || stream(seed, &[4]).random::<f32>() < cap.share {
        return params.simulations;
    }
    cap.simulations.min(params.simulations)
}

fn add_noise(tree: &mut Tree, params: &Params, seed: u64) {
    let noise = &params.noise;
    if noise.temperature != 1.0 {
        tree.set_root_priors_temperature(noise.temperature);
    }
    if noise.fraction <= 0.0 {
        return;
    }
    // A symmetric Dirichlet draw is a normalised set of gamma draws.
    let Ok(gamma) = Gamma::new(noise.alpha, 1.0) else {
        return;
    };
    let mut rng = stream(seed, &[1]);
    let draws: Vec<f32> = (0..tree.choices(tree.root()).count())
        .map(|_| gamma.sample(&mut rng))
        .collect();
    let sum: f32 = draws.iter().sum();
    if sum > 0.0 {
        let shares: Vec<f32> = draws.iter().map(|d| d / sum).collect();
        tree.add_root_noise(&shares, noise.fraction);
    }
}
