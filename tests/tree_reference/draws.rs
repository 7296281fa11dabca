//! What options and revisions a boundary of a random world has.

use tokenzero::tree::*;

use super::world::{Slots, World};

/// Lists of tokens, each with its weight.
pub type Draws = Vec<(Vec<u32>, f64)>;

/// Draws of a boundary; equal ones occur.
pub fn drawn(world: &World, boundary: &[u32], length: usize) -> Draws {
    let count = 1 + world.hash(boundary, 20) % 5;
    let option = |index: u64| {
        let mut path = boundary.to_vec();
        while path.len() < boundary.len() + length && !world.terminal(&path) {
            let tokens = world.expansion(&path).tokens;
            let draw = world.hash(&path, 30 + index);
            // Now and then a token that is not among the kept ones.
            let token = match draw % 8 {
                0 => 11 + (draw >> 8) as u32 % 2,
                _ => tokens[(draw >> 8) as usize % tokens.len()],
            };
            path.push(token);
            // A rule on the option's tokens: some end early.
            if world.hash(&path[boundary.len()..], 40).is_multiple_of(5) {
                break;
            }
        }
        let weight = 1.0 + (world.hash(boundary, 50 + index) % 3) as f64;
        (path[boundary.len()..].to_vec(), weight)
    };
    (0..count).map(option).collect()
}

/// What is put before the end of a text that is revised. No world has these tokens.
pub const GIVEN: [u32; 2] = [13, 14];

/// The revisions of a text: what follows the tokens before its end.
pub fn revisions(world: &World, end: &[u32]) -> Draws {
    let mut given = end[..end.len() - 1].to_vec();
    given.extend(GIVEN);
    // As options behind the given tokens.
    let own = drawn(world, &given, 4).into_iter();
    own.map(|(tokens, weight)| ([&GIVEN[..], &tokens].concat(), weight))
        .collect()
}

/// Hands the tree what was drawn at a boundary, or the revisions of a text, states included.
pub fn open(tree: &mut Tree, node: NodeId, world: &World, length: usize, slots: &mut Slots) {
    let ends = tree.is_terminal(node);
    let mut path = tree.tokens(node);
    let drawn = match ends {
        true => revisions(world, &path),
        false => drawn(world, &path, length),
    };
    path.truncate(path.len() - usize::from(ends));
    let action = |(tokens, weight): (Vec<u32>, f64)| {
        let state = |n: usize| {
            let path = [&path, &tokens[..=n]].concat();
            (n + 1 < tokens.len()).then(|| (world.expansion(&path), slots.take()))
        };
        let states: Vec<_> = (0..tokens.len()).map(state).collect();
        let steps = tokens.iter().zip(states).enumerate();
        Action {
            steps: steps
                .map(|(n, (&token, state))| ActionStep {
                    token,
                    log_prob: -5.0,
                    given: ends && n < GIVEN.len(),
                    state,
                })
                .collect(),
            weight,
        }
    };
    let actions = drawn.into_iter().map(action).collect();
    slots.free(match ends {
        true => tree.revise(node, actions),
        false => tree.open(node, actions),
    });
}

/// Whether a text is to be revised: some are, up to twice, where there is room.
pub fn to_be_revised(world: &World, path: &[u32]) -> bool {
    let times = path.iter().filter(|token| **token == GIVEN[0]).count();
    let room = path.len() + GIVEN.len() < world.max_depth as usize;
    let ends = path.len() > 1 && path.last() == Some(&0);
    ends && room && times < 2 && !world.hash(path, 60).is_multiple_of(3)
}
