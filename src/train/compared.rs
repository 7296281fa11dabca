//! What a policy learns from texts compared with each other: preferences between siblings of a tree, and
//! advantages of finished texts.

use super::distil::Advantage;
use super::example::{Aim, PolicyExample};
use super::from_traces::{Text, children, texts};
use super::pull::Pull;
use crate::trace::{NodeRecord, TreeRecord};

/// The log-probability of a child's token under the policy that searched.
fn log_prob(parent: &NodeRecord, child: &NodeRecord) -> Option<f32> {
    let rank = parent.child_tokens.iter().position(|&t| t == child.token)?;
    parent.child_log_probs.get(rank).copied()
}

fn mean(node: &NodeRecord) -> f64 {
    node.return_sum / f64::from(node.visits.max(1))
}

/// One example for each node of `min_visits` whose visited children differ by `margin` or more in mean
/// return: its text so far, and the best child preferred to the worst.
pub(super) fn preferences(
    tree: &TreeRecord,
    min_visits: u32,
    beta: f32,
    margin: f64,
) -> Vec<PolicyExample> {
    let mut examples = Vec::new();
    for (index, below) in children(tree).iter().enumerate() {
        let node = &tree.nodes[index];
        if node.visits < min_visits {
            continue;
        }
        let visited = || {
            let all = below.iter().map(|&child| &tree.nodes[child]);
            all.filter(|child| child.visits > 0 && !child.given)
        };
        let by_mean = |a: &&NodeRecord, b: &&NodeRecord| mean(a).total_cmp(&mean(b));
        let (Some(best), Some(worst)) = (visited().max_by(by_mean), visited().min_by(by_mean))
        else {
            continue;
        };
        if mean(best) - mean(worst) < margin {
            continue;
        }
        let (Some(preferred), Some(rejected)) = (log_prob(node, best), log_prob(node, worst))
        else {
            continue;
        };
        let mut tokens = tree.prompt.clone();
        tokens.extend(tree.path(index));
        let position = tokens.len() as u32 - 1;
        tokens.push(best.token);
        examples.push(PolicyExample {
            tokens,
            first: tree.prompt_len(),
            weight: 1.0,
            question: tree.problem,
            aims: vec![Aim {
                position,
                token: best.token,
                share: 1.0,
                pull: Pull::Prefer {
                    rival: worst.token,
                    reference: preferred - rejected,
                    beta,
                },
            }],
        });
    }
    examples
}

/// Keeps an advantage finite where all returns are nearly the same.
const EPSILON: f64 = 1e-4;

/// What GRPO credits each text of a question with (Shao et al. 2024, "DeepSeekMath", with the deviation of a
/// sample, as TRL takes it): its return less the group's mean, divided by the group's standard deviation with
/// n - 1 in its denominator, plus 1e-4. `returns` are pairs of a return and how often it was drawn. A group
/// of one draw, or of equal returns, has advantages of 0.
pub fn group_advantages(returns: &[(f64, f64)]) -> Vec<f64> {
    let draws: f64 = returns.iter().map(|(_, count)| count).sum();
    let sum: f64 = returns.iter().map(|(of, count)| count * of).sum();
    let mean = sum / draws;
    let squares: f64 = returns
        .iter()
        .map(|(of, count)| count * (of - mean).powi(2))
        .sum();
    let same = returns.iter().all(|(of, _)| *of == returns[0].0);
    if draws <= 1.0 || same {
        return vec![0.0; returns.len()];
    }
    let deviation = (squares / (draws - 1.0)).sqrt();
    let advantage = |(of, _): &(f64, f64)| (of - mean) / (deviation + EPSILON);
    returns.iter().map(advantage).collect()
}

/// One example for each finished text, its tokens credited with an advantage; none where all texts of
/// the question returned the same. A text counts as often as it was drawn.
pub(super) fn pushes(
    tree: &TreeRecord,
    advantage: Advantage,
    clip: f32,
    kl: f32,
) -> Vec<PolicyExample> {
    let all = texts(tree);
    let count = |text: &Text| {
        let end = text.nodes[text.nodes.len() - 1];
        f64::from(tree.nodes[end].visits.max(1))
    };
    let returns: Vec<(f64, f64)> = all
        .iter()
        .map(|text| (f64::from(text.outcome), count(text)))
        .collect();
    let group = group_advantages(&returns);
    if group.iter().all(|&advantage| advantage == 0.0) {
        return Vec::new();
    }
    let mut examples = Vec::new();
    for (text, &advantage_in_group) in all.iter().zip(&group) {
        let mut tokens = tree.prompt.clone();
        let mut aims = Vec::new();
        for (step, pair) in text.nodes.windows(2).enumerate() {
            let (node, child) = (&tree.nodes[pair[0]], &tree.nodes[pair[1]]);
            let position = tokens.len() as u32 - 1;
            tokens.push(child.token);
            if step < text.start {
                continue;
            }
            let credit = match advantage {
                Advantage::Group => advantage_in_group,
                Advantage::Tree if child.visits == 0 => 0.0,
                Advantage::Tree => mean(child) - mean(node),
            };
            if let (Some(old), true) = (log_prob(node, child), credit != 0.0) {
                aims.push(Aim {
                    position,
                    token: child.token,
                    share: 1.0,
                    pull: Pull::Push {
                        advantage: credit as f32,
                        old,
                        clip,
                        kl,
                    },
                });
            }
        }
        if !aims.is_empty() {
            examples.push(PolicyExample {
                tokens,
                first: text.first(tree),
                weight: count(text) as f32,
                question: tree.problem,
                aims,
            });
        }
    }
    examples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::from_traces::tests::node;

    /// `5 0` won three times, `6 0` lost once.
    fn tree() -> TreeRecord {
        let mut nodes = vec![
            node(None, 0, 4, 2.0),
            node(Some(0), 5, 3, 3.0),
            node(Some(0), 6, 1, -1.0),
            node(Some(1), 0, 3, 3.0),
            node(Some(2), 0, 1, -1.0),
        ];
        nodes[0].child_tokens = vec![6, 5];
        nodes[0].child_log_probs = vec![-0.5, -1.0];
        for (end, outcome) in [(3, 1.0), (4, -1.0)] {
            nodes[end].terminal = true;
            nodes[end].outcome = Some(outcome);
            nodes[end - 2].child_tokens = vec![0];
            nodes[end - 2].child_log_probs = vec![-0.1];
        }
        TreeRecord {
            problem: 4,
            prompt: vec![1, 2],
            nodes,
            ..TreeRecord::default()
        }
    }

    #[test]
    fn the_better_sibling_is_preferred() {
        let examples = preferences(&tree(), 2, 0.2, 1.0);
        assert_eq!(examples.len(), 1);
        assert_eq!(examples[0].tokens, [1, 2, 5]);
        let aim = examples[0].aims[0];
        assert_eq!((aim.position, aim.token), (1, 5));
        let expected = Pull::Prefer {
            rival: 6,
            reference: -0.5,
            beta: 0.2,
        };
        assert_eq!(aim.pull, expected);
        assert!(preferences(&tree(), 2, 0.2, 2.1).is_empty());
    }

    #[test]
    fn advantages_are_normalised_in_the_group_or_taken_from_the_tree() {
        let credit = |advantage| -> Vec<f32> {
            let examples = pushes(&tree(), advantage, 0.2, 0.0);
            let aims = examples.iter().flat_map(|example| &example.aims);
            aims.map(|aim| match aim.pull {
                Pull::Push { advantage, .. } => advantage,
                _ => panic!("{aim:?}"),
            })
            .collect()
        };
        // Mean .5 and standard deviation sqrt(3 / 3) of 1, 1, 1, -1; texts by probability: `6 0` first.
        let group = credit(Advantage::Group);
        let sd = 1.0 + 1e-4;
        for (found, expected) in group.iter().zip([-1.5 / sd, -1.5 / sd, 0.5 / sd, 0.5 / sd]) {
            assert!((found - expected).abs() < 1e-5, "{group:?}");
        }
        assert_eq!(credit(Advantage::Tree), [-1.5, 0.5]);
        let weights: Vec<f32> = pushes(&tree(), Advantage::Group, 0.2, 0.0)
            .iter()
            .map(|example| example.weight)
            .collect();
        assert_eq!(weights, [1.0, 3.0]);
    }

    #[test]
    fn a_group_of_one_or_of_equal_returns_has_no_advantage() {
        assert!(group_advantages(&[]).is_empty());
        assert_eq!(group_advantages(&[(0.3, 1.0)]), [0.0]);
        assert_eq!(group_advantages(&[(0.1, 2.0), (0.1, 5.0)]), [0.0, 0.0]);
        // 0 and 1: a mean of a half, and a deviation of sqrt(2 / 4).
        let two = group_advantages(&[(0.0, 1.0), (1.0, 1.0)]);
        assert!((two[1] - 0.5 / (0.5f64.sqrt() + 1e-4)).abs() < 1e-12);
        assert_eq!(two[0], -two[1]);
    }

    #[test]
    fn texts_that_all_returned_the_same_teach_nothing() {
        let mut lost = tree();
        lost.nodes[3].outcome = Some(-1.0);
        assert!(pushes(&lost, Advantage::Group, 0.2, 0.0).is_empty());
    }
}
