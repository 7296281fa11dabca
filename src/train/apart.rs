//! Revisions in traces.
//!
//! A solution that the search put in question and had written anew (`collect.search.revise`) is a text of
//! its own, and so is each of its revisions, with all that lies before it. The value learns from all of them
//! what comes of a text by itself: what its revisions returned counts behind the phrase, not before it, or
//! a wrong solution that a revision mends would count as good. The policy learns a revision's last solution
//! after all that came before; the phrases and the solution that failed have no weight.

use crate::trace::TreeRecord;
use std::borrow::Cow;

/// `tree` with what revisions returned taken off the nodes before them: only nodes behind a phrase keep it.
pub(super) fn apart(tree: &TreeRecord) -> Cow<'_, TreeRecord> {
    if !tree.nodes.iter().any(|node| node.given) {
        return Cow::Borrowed(tree);
    }
    let mut own = tree.clone();
    let mut lent = vec![(0, 0.0); own.nodes.len()];
    for index in (0..own.nodes.len()).rev() {
        let (visits, sum) = lent[index];
        let node = &mut own.nodes[index];
        let whole = (node.visits, node.return_sum);
        node.visits -= visits;
        let most = f64::from(node.visits);
        node.return_sum = (node.return_sum - sum).clamp(-most, most);
        let Some(parent) = node.parent.map(|parent| parent as usize) else {
            continue;
        };
        let begins = node.given && !tree.nodes[parent].given;
        let (visits, sum) = if begins { whole } else { (visits, sum) };
        lent[parent].0 += visits;
        lent[parent].1 += sum;
    }
    Cow::Owned(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::NodeRecord;
    use crate::train::distil::{Advantage, Teach};
    use crate::train::from_traces::tests::{all, node, tokenizer, tree};
    use crate::train::from_traces::{policy_examples, value_examples};

    /// The wrong text of [`tree`] with `8 9` put in the place of its stop token, and two texts behind: `5 0`,
    /// right, of three visits, and `7 0`, wrong, of one.
    fn revised() -> TreeRecord {
        let mut revised = tree();
        for index in [0, 3] {
            revised.nodes[index].visits += 4;
            revised.nodes[index].return_sum += 2.0;
        }
        let given = |parent, token| NodeRecord {
            given: true,
            ..node(Some(parent), token, 4, 2.0)
        };
        revised.nodes.extend([
            given(3, 8),
            given(5, 9),
            node(Some(6), 5, 3, 3.0),
            node(Some(7), 0, 3, 3.0),
            node(Some(6), 7, 1, -1.0),
            node(Some(9), 0, 1, -1.0),
        ]);
        revised.nodes[6].child_tokens = vec![5, 7];
        revised.nodes[6].child_log_probs = vec![-0.3, -1.5];
        for (stop, outcome) in [(8, 1.0), (10, -1.0)] {
            revised.nodes[stop].terminal = true;
            revised.nodes[stop].outcome = Some(outcome);
            revised.nodes[stop - 1].child_tokens = vec![0];
            revised.nodes[stop - 1].child_log_probs = vec![0.0];
        }
        revised
    }

    #[test]
    fn what_revisions_return_counts_behind_their_phrase() {
        let examples = value_examples(&[revised()], &all(), 0);
        let plain = value_examples(&[tree()], &all(), 0);
        assert_eq!(examples.len(), 4);
        assert_eq!(examples[..2], plain, "as if nothing had been revised");
        let better = &examples[2];
        assert_eq!(better.tokens, [1, 2, 3, 6, 8, 9, 5]);
        assert_eq!(better.targets, [0.5, -1.0, 0.5, 0.5, 1.0]);
        assert_eq!(better.weights, [0.0, 0.0, 4.0, 4.0, 3.0]);
        assert_eq!(examples[3].tokens, [1, 2, 3, 6, 8, 9, 7]);
        assert_eq!(examples[3].weights, [0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_policy_learns_the_last_solution_of_a_revised_text() {
        let (examples, _) = policy_examples(&[revised()], &all(), &tokenizer());
        let learned: Vec<_> = examples.iter().map(|e| (&e.tokens[..], e.first)).collect();
        let revision = (&[1, 2, 3, 6, 8, 9, 5, 0][..], 6);
        assert_eq!(learned, [(&[1, 2, 3, 5, 0][..], 3), revision]);
        assert_eq!(examples[1].weight, 0.5);
        let mut params = all();
        params.policy.min_visits = 1;
        for teach in [
            Teach::Visits { temperature: 1.0 },
            Teach::CompletedQ {
                scale: Default::default(),
            },
            Teach::Prefer {
                beta: 0.1,
                margin: 0.5,
            },
            Teach::Push {
                advantage: Advantage::Group,
                clip: 0.2,
                kl: 0.0,
            },
            Teach::Push {
                advantage: Advantage::Tree,
                clip: 0.2,
                kl: 0.0,
            },
        ] {
            params.policy.teach = teach;
            let (examples, _) = policy_examples(&[revised()], &params, &tokenizer());
            let mut behind = 0;
            for example in &examples {
                let phrase = example.tokens.windows(2).position(|pair| pair == [8, 9]);
                for aim in &example.aims {
                    assert!(![8, 9].contains(&aim.token), "{teach:?} teaches a phrase");
                    let after = phrase.is_some_and(|at| aim.position as usize > at);
                    behind += usize::from(after);
                    assert!(after || phrase.is_none(), "{teach:?} at {}", aim.position);
                }
            }
            assert!(behind > 0, "{teach:?} teaches nothing of a revision");
        }
    }
}
