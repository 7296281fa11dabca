//! What a collection makes of one question: its tree, and the texts drawn beside it.

use super::{Error, Params, record};
use crate::search::{
    self, Drafts, Grader, Policy, SampleParams, draw_problem, search_problem, seed_of,
};
use crate::task::{Problem, Train};
use crate::trace::TreeRecord;
use std::sync::Arc;

/// Marks the random streams of samples among those of a collection.
const SAMPLES: u64 = u64::MAX;

/// A question and all that its search needs.
pub(super) struct Question {
    pub policy: Policy,
    pub grader: Grader,
    pub problem: Problem<Train>,
    /// Its tokens, or why it has none.
    pub prompt: Result<Vec<u32>, String>,
    pub params: Arc<Params>,
    pub iteration: u32,
    /// Seed of the iteration.
    pub seed: u64,
}

impl Question {
    /// Its records: the tree, then what was drawn beside it where that is asked for. A question that
    /// cannot be searched has as many, which say why.
    pub async fn records(self) -> Result<Vec<TreeRecord>, Error> {
        let found = match &self.prompt {
            Ok(prompt) => self.found(prompt).await,
            Err(reason) => return Ok(self.failed(reason)),
        };
        match found {
            Ok(mut records) => {
                for record in &mut records {
                    record.imagined = self.problem.imagined;
                }
                Ok(records)
            }
            Err(search::Error::Engine(error)) if error.is_of_request() => {
                Ok(self.failed(&error.to_string()))
            }
            Err(search::Error::Reward(fault)) => Ok(self.failed(&fault.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    async fn found(&self, prompt: &[u32]) -> Result<Vec<TreeRecord>, search::Error> {
        let (params, iteration) = (&self.params, self.iteration);
        if params.draws > 0 {
            let how = params.sampling.clone();
            let drafts = self.draw(prompt, params.draws, how, self.seed).await?;
            return Ok(vec![record::of_draws(&drafts, iteration)]);
        }
        let (problem, search) = (&self.problem, &params.search);
        let (policy, grader) = (&self.policy, &self.grader);
        let tree = search_problem(policy, grader, problem, prompt, search, self.seed).await?;
        let mut records = vec![record::of(&tree, iteration)];
        drop(tree);
        if params.samples > 0 {
            let how = SampleParams {
                max_new_tokens: params.sampling.max_new_tokens.min(search.max_new_tokens),
                ..params.sampling.clone()
            };
            let seed = seed_of(self.seed, &[SAMPLES]);
            let drafts = self.draw(prompt, params.samples, how, seed).await?;
            records.push(TreeRecord {
                tree: TreeRecord::SAMPLES,
                ..record::of_draws(&drafts, iteration)
            });
        }
        Ok(records)
    }

    async fn draw(
        &self,
        prompt: &[u32],
        count: usize,
        how: SampleParams,
        seed: u64,
    ) -> Result<Drafts, search::Error> {
        let wanted = (count, self.params.search.top_k);
        let (policy, problem) = (&self.policy, &self.problem);
        draw_problem(policy, &self.grader, problem, prompt, wanted, &how, seed).await
    }

    fn failed(&self, reason: &str) -> Vec<TreeRecord> {
        let records = 0..self.params.records();
        let record = |number| TreeRecord {
            tree: number as u32,
            imagined: self.problem.imagined,
            ..TreeRecord::failed(self.problem.id, self.iteration, reason.to_string())
        };
        records.map(record).collect()
    }
}
