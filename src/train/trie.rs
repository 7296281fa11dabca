//! Token sequences as a trie: what several begin with is forwarded once.
//!
//! A causal net's state at a position is a function of the tokens up to it, so that one state serves
//! every sequence that begins with them. A node attends to its ancestors, at its depth for a position.

use super::batch::Rows;

/// The nodes that a sequence has to itself and to those that branch off later: a chain, whose numbers
/// follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Branch {
    /// A sequence whose path ends in the chain.
    pub row: usize,
    /// Depth of its first node.
    pub past: usize,
    /// Its first node.
    pub first: usize,
    /// Its nodes.
    pub own: usize,
}

/// The trie of some sequences. Its nodes are numbered branch after branch, parents first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trie {
    /// The token of each node.
    pub tokens: Vec<usize>,
    pub branches: Vec<Branch>,
    /// For each sequence, in the order given, its nodes from the root on.
    pub paths: Vec<Vec<usize>>,
}

impl Trie {
    /// The trie of the rows, without their padding.
    pub fn new(rows: &Rows) -> Trie {
        let lines = (0..rows.rows).map(|row| &rows.tokens[row * rows.time..][..rows.lengths[row]]);
        let lines: Vec<&[i32]> = lines.collect();
        let mut trie = Trie {
            paths: vec![Vec::new(); lines.len()],
            ..Trie::default()
        };
        let mut before: Option<usize> = None;
        for row in sorted(&lines) {
            // In this order the longest beginning shared with any line before is that with the last.
            let past = before.map_or(0, |before| shared(lines[before], lines[row]));
            let (first, own) = (trie.tokens.len(), lines[row].len() - past);
            let mut path = before.map_or(Vec::new(), |before| trie.paths[before][..past].to_vec());
            path.extend(first..first + own);
            trie.paths[row] = path;
            let new = lines[row][past..].iter().map(|&token| token as usize);
            trie.tokens.extend(new);
            if own > 0 {
                trie.branches.push(Branch {
                    row,
                    past,
                    first,
                    own,
                });
            }
            before = Some(row);
        }
        trie
    }

    /// The nodes that lead to a branch and its own.
    pub fn path(&self, branch: &Branch) -> &[usize] {
        &self.paths[branch.row][..branch.past + branch.own]
    }
}

/// Indices of `sequences` in the order of a dictionary, those that are equal in their own.
pub(crate) fn sorted<T: Ord>(sequences: &[&[T]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&i| sequences[i]);
    order
}

/// Tokens that two sequences begin with together.
pub(crate) fn shared<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Nodes of the trie of `sequences`: the tokens that a pass over them forwards.
pub(crate) fn distinct(sequences: &[&[u32]]) -> usize {
    let order = sorted(sequences);
    let all: usize = sequences.iter().map(|line| line.len()).sum();
    let again = |pair: &[usize]| shared(sequences[pair[0]], sequences[pair[1]]);
    all - order.windows(2).map(again).sum::<usize>()
}

/// How many of `groups` of sequences go through each node of the trie of them all.
pub(crate) fn crowds(groups: &[Vec<&[u32]>]) -> Vec<usize> {
    let all: Vec<&[u32]> = groups.iter().flatten().copied().collect();
    let trie = Trie::new(&Rows::new(&all));
    let mut crowds = vec![0; trie.tokens.len()];
    let mut last = vec![usize::MAX; crowds.len()];
    let mut paths = trie.paths.iter();
    for (number, group) in groups.iter().enumerate() {
        for &node in paths.by_ref().take(group.len()).flatten() {
            if std::mem::replace(&mut last[node], number) != number {
                crowds[node] += 1;
            }
        }
    }
    crowds
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    #[test]
    fn nodes_are_the_distinct_beginnings_and_paths_spell_the_sequences() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for count in [0, 1, 2, 7, 40] {
            let lines: Vec<Vec<u32>> = (0..count)
                .map(|_| {
                    let length = rng.random_range(1..7);
                    (0..length).map(|_| rng.random_range(0..3)).collect()
                })
                .collect();
            let lines: Vec<&[u32]> = lines.iter().map(Vec::as_slice).collect();
            let trie = Trie::new(&Rows::new(&lines));
            let beginnings: BTreeSet<&[u32]> = lines
                .iter()
                .flat_map(|line| (1..=line.len()).map(|end| &line[..end]))
                .collect();
            assert_eq!(trie.tokens.len(), beginnings.len());
            assert_eq!(distinct(&lines), beginnings.len());
            for (line, path) in lines.iter().zip(&trie.paths) {
                let spelt: Vec<u32> = path.iter().map(|&n| trie.tokens[n] as u32).collect();
                assert_eq!(&spelt, line);
                assert!(path.is_sorted(), "parents come first");
            }
            let mut next = 0;
            for branch in &trie.branches {
                assert_eq!(branch.first, next, "branches follow each other");
                next += branch.own;
                let path = trie.path(branch);
                let own: Vec<usize> = (branch.first..next).collect();
                assert_eq!(path[branch.past..], own);
                assert!(path[..branch.past].iter().all(|&n| n < branch.first));
            }
            assert_eq!(next, trie.tokens.len());
        }
    }

    #[test]
    fn a_beginning_of_another_sequence_and_a_copy_of_one_need_no_node() {
        let lines: [&[u32]; 4] = [&[1, 2, 3], &[1, 2], &[1, 2, 3], &[4]];
        let trie = Trie::new(&Rows::new(&lines));
        assert_eq!(trie.tokens, [1, 2, 3, 4]);
        assert_eq!(
            trie.paths,
            [vec![0, 1, 2], vec![0, 1], vec![0, 1, 2], vec![3]]
        );
    }

    #[test]
    fn a_group_goes_through_a_node_once() {
        let (a, b, c): (&[u32], &[u32], &[u32]) = (&[1, 2, 3], &[1, 2], &[1, 4]);
        assert_eq!(crowds(&[vec![a], vec![b], vec![c]]), [3, 2, 1, 1]);
        assert_eq!(crowds(&[vec![a, b], vec![c]]), [2, 1, 1, 1]);
        assert_eq!(crowds(&[vec![a, b, c]]), [1, 1, 1, 1]);
    }
}
