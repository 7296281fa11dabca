//! Which of the recorded trees a page shows.

use crate::trace::TreeRecord;
use serde::Serialize;

/// How a search went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Greedy decoding is right by itself.
    Greedy,
    /// A right text was found, and greedy decoding is not known to be right.
    Solved,
    /// No right text was found.
    Unsolved,
    /// The question could not be searched.
    Failed,
}

impl Outcome {
    /// All of them, in the order in which places on the page are given away.
    pub const ALL: [Outcome; 4] = [
        Outcome::Solved,
        Outcome::Unsolved,
        Outcome::Greedy,
        Outcome::Failed,
    ];

    /// Of one tree.
    pub fn of(tree: &TreeRecord) -> Outcome {
        let right = |node: &crate::trace::NodeRecord| {
            node.terminal && node.outcome.is_some_and(|outcome| outcome > 0.0)
        };
        if tree.failure.is_some() {
            Outcome::Failed
        } else if tree.solved_greedily == Some(true) {
            Outcome::Greedy
        } else if tree.nodes.iter().any(right) {
            Outcome::Solved
        } else {
            Outcome::Unsolved
        }
    }
}

/// At most how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub trees: usize,
    /// Nodes of all trees; the first tree is taken whatever it has.
    pub nodes: usize,
}

/// A random sample of trees that pass by, the same for the same trees, with as many of every
/// outcome as there are. It holds little more than what it will give.
#[derive(Debug)]
pub struct Sample {
    limit: Limit,
    /// By outcome, in the order of [`Outcome::ALL`]; the places in the draw come first.
    drawn: [Vec<(u64, TreeRecord)>; 4],
}

impl Sample {
    pub fn new(limit: Limit) -> Sample {
        Sample {
            limit,
            drawn: Default::default(),
        }
    }

    /// Lets `trees` take part in the draw.
    pub fn offer(&mut self, trees: Vec<TreeRecord>) {
        for tree in trees {
            let outcome = Outcome::of(&tree);
            let class = Outcome::ALL.iter().position(|o| *o == outcome).unwrap_or(0);
            self.drawn[class].push((place(&tree), tree));
        }
        for drawn in &mut self.drawn {
            drawn.sort_by_key(|(place, tree)| (*place, tree.problem, tree.tree));
            // More of one outcome are never taken, whatever the others have.
            let mut nodes = 0;
            let within = drawn.iter().take(self.limit.trees).take_while(|(_, tree)| {
                let before = nodes;
                nodes += tree.nodes.len();
                before <= self.limit.nodes
            });
            let keep = within.count();
            drawn.truncate(keep);
        }
    }

    /// The sample, by question and number.
    pub fn take(self) -> Vec<TreeRecord> {
        let mut drawn = self.drawn.map(|drawn| drawn.into_iter().map(|d| d.1));
        let mut taken: Vec<TreeRecord> = Vec::new();
        let mut nodes = 0;
        'full: loop {
            let before = taken.len();
            for trees in &mut drawn {
                if taken.len() == self.limit.trees {
                    break 'full;
                }
                let Some(tree) = trees.next() else {
                    continue;
                };
                nodes += tree.nodes.len();
                if nodes > self.limit.nodes && !taken.is_empty() {
                    break 'full;
                }
                taken.push(tree);
            }
            if taken.len() == before {
                break;
            }
        }
        taken.sort_by_key(|tree| (tree.problem, tree.tree));
        taken
    }
}

/// A tree's place in the draw: its name through SplitMix64's output function (Steele et al., 2014).
fn place(tree: &TreeRecord) -> u64 {
    let name = tree.problem ^ (u64::from(tree.tree) << 40) ^ (u64::from(tree.iteration) << 52);
    let z = name.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::NodeRecord;

    fn tree(problem: u64, greedy: bool, right: bool, nodes: usize) -> TreeRecord {
        let mut tree = TreeRecord {
            problem,
            solved_greedily: Some(greedy),
            nodes: vec![NodeRecord::default(); nodes],
            ..TreeRecord::default()
        };
        tree.nodes[0].terminal = true;
        tree.nodes[0].outcome = Some(if right { 1.0 } else { -1.0 });
        tree
    }

    fn drawn(limit: Limit, shards: Vec<Vec<TreeRecord>>) -> Vec<TreeRecord> {
        let mut sample = Sample::new(limit);
        for shard in shards {
            sample.offer(shard);
        }
        sample.take()
    }

    #[test]
    fn every_outcome_gets_its_share() {
        let mut trees: Vec<TreeRecord> = (0..90).map(|i| tree(i, false, false, 5)).collect();
        trees.extend((90..96).map(|i| tree(i, false, true, 5)));
        trees.extend((96..99).map(|i| tree(i, true, true, 5)));
        trees.push(TreeRecord::failed(99, 1, "too long".into()));
        let limit = Limit {
            trees: 20,
            nodes: usize::MAX,
        };
        let whole = drawn(limit, vec![trees.clone()]);
        let count = |outcome| whole.iter().filter(|t| Outcome::of(t) == outcome).count();
        assert_eq!(Outcome::ALL.map(count), [6, 10, 3, 1]);
        assert!(whole.is_sorted_by_key(|t| t.problem));
        let shards = trees.chunks(7).map(<[TreeRecord]>::to_vec).collect();
        assert_eq!(
            drawn(limit, shards),
            whole,
            "how they are cut does not matter"
        );
    }

    #[test]
    fn the_nodes_are_limited_too() {
        let trees: Vec<TreeRecord> = (0..50)
            .map(|i| tree(i, false, i % 2 == 0, 10_000))
            .collect();
        let of = |nodes| drawn(Limit { trees: 50, nodes }, vec![trees.clone()]).len();
        assert_eq!((of(1), of(45_000), of(usize::MAX)), (1, 4, 50));
        assert!(drawn(Limit { trees: 0, nodes: 9 }, vec![trees]).is_empty());
    }
}
