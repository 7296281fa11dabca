//! Storage: two flat vectors, one of nodes and one of edges.
//!
//! The edges of a node lie side by side, in the order of the expansion. An edge holds what is
//! known before its child exists. A node is one cache line, and parents come before children.

use super::rule::RootGumbel;
use super::{Expansion, Params, Stage, Terminals};

/// A node of one [`Tree`]. Ids are dense, `0` is the root, parents come before children; they
/// hold until the next [`Tree::commit`], which deals them anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Position in [`Tree::nodes`], from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) fn new(index: usize) -> Self {
        assert!(index < NONE as usize, "a tree has too many nodes");
        Self(index as u32)
    }
}

/// Place of one token's key and value vectors. The tree stores slots and hands them back; what
/// they mean is the engine's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// No parent, no edge.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Sum of the returns of the simulations through here.
    pub total: f64,
    pub parent: u32,
    /// The edge that leads here; `NONE` at the root.
    pub edge: u32,
    pub token: u32,
    pub first_edge: u32,
    pub edge_count: u16,
    pub terminal: bool,
    /// Some leaf in flight is about to evaluate this node.
    pub claimed: bool,
    /// Tokens below the first root.
    pub depth: u32,
    /// Simulations through here.
    pub visits: u32,
    /// Simulations that ended here.
    pub ends: u32,
    /// Leaves in flight through here.
    pub in_flight: u32,
    pub value: f32,
    pub log_sum_exp: f32,
    /// Return of the greedy continuation; NaN while unknown.
    pub outcome: f32,
    pub slot: Option<Slot>,
}

impl Node {
    pub fn edges(&self) -> std::ops::Range<usize> {
        let first = self.first_edge as usize;
        first..first + usize::from(self.edge_count)
    }
}

/// Where an edge leads: to a node, or nowhere yet; then it counts the leaves that wait for its
/// expansion and knows whether one of them was asked to bring it, and whether an option ends there.
/// One word for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(u32);

impl Link {
    const MISSING: u32 = 1 << 31;
    const CLAIMED: u32 = 1 << 30;
    const BOUNDARY: u32 = 1 << 29;
    pub const EMPTY: Link = Link(Self::MISSING);

    pub fn to(node: NodeId) -> Self {
        assert!(node.0 < Self::MISSING, "a tree has too many nodes");
        Self(node.0)
    }

    pub fn child(self) -> Option<NodeId> {
        (self.0 & Self::MISSING == 0).then_some(NodeId(self.0))
    }

    /// Leaves that wait here. Only for an edge without a child.
    pub fn waiting(self) -> u32 {
        self.0 & (Self::BOUNDARY - 1)
    }

    pub fn claimed(self) -> bool {
        self.0 & Self::CLAIMED != 0
    }

    /// Whether the child, once it is there, is a boundary between options.
    pub fn boundary(self) -> bool {
        self.child().is_none() && self.0 & Self::BOUNDARY != 0
    }

    pub fn set_boundary(&mut self) {
        self.0 |= Self::BOUNDARY;
    }

    pub fn add_waiting(&mut self) {
        self.0 += 1;
    }

    pub fn remove_waiting(&mut self) {
        self.0 -= 1;
    }

    pub fn set_claimed(&mut self, claimed: bool) {
        if claimed {
            self.0 |= Self::CLAIMED;
        } else {
            self.0 &= !Self::CLAIMED;
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub token: u32,
    pub prior: f32,
    pub log_prob: f32,
    pub link: Link,
}

/// The search tree of one question. See the [module](super) for how it is driven.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) params: Params,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// Of each node.
    pub(super) stages: Vec<Stage>,
    /// Of each node, the sum of the squared returns; empty where nobody asks for variances.
    pub(super) squares: Vec<f64>,
    /// Tokens committed so far: they lead from the first root to the present one.
    pub(super) committed_tokens: Vec<u32>,
    /// Slots of the committed tokens above the present root.
    pub(super) committed_slots: Vec<Slot>,
    /// Leaves in flight.
    pub(super) in_flight: u32,
    pub(super) terminals: Terminals,
    /// Paths of finished leaves, to be used again.
    pub(super) spare_paths: Vec<Vec<NodeId>>,
    pub(super) gumbel: Option<RootGumbel>,
}

impl Tree {
    /// A tree of the root alone. The root is the prompt; its slots stay with the caller.
    ///
    /// # Panics
    /// Where the expansion is malformed (see [`Expansion`]).
    pub fn new(params: Params, root: Expansion) -> Self {
        let mut tree = Self {
            params,
            nodes: Vec::new(),
            edges: Vec::new(),
            stages: Vec::new(),
            squares: Vec::new(),
            committed_tokens: Vec::new(),
            committed_slots: Vec::new(),
            in_flight: 0,
            terminals: Terminals::default(),
            spare_paths: Vec::new(),
            gumbel: None,
        };
        tree.push_node(NONE, NONE, NONE, 0);
        tree.expand(NodeId(0), &root, None);
        if tree.params.driven.options {
            tree.stages[0] = Stage::Closed;
        }
        tree
    }

    /// Appends a terminal node without value; [`Tree::expand`] makes it one that goes on.
    pub(super) fn push_node(&mut self, parent: u32, edge: u32, token: u32, depth: u32) -> NodeId {
        let id = NodeId::new(self.nodes.len());
        self.nodes.push(Node {
            total: 0.0,
            parent,
            edge,
            token,
            first_edge: self.edges.len() as u32,
            edge_count: 0,
            terminal: true,
            claimed: false,
            depth,
            visits: 0,
            ends: 0,
            in_flight: 0,
            value: 0.0,
            log_sum_exp: 0.0,
            outcome: f32::NAN,
            slot: None,
        });
        self.stages.push(Stage::Choice);
        if self.params.keeps_squares() {
            self.squares.push(0.0);
        }
        id
    }

    pub(super) fn expand(&mut self, id: NodeId, expansion: &Expansion, slot: Option<Slot>) {
        let mut kept = expansion.priors(&self.params);
        if let Some(only) = self.forced(id, expansion, &kept) {
            self.stages[id.index()] = Stage::Passed;
            for (rank, continuation) in kept.iter_mut().enumerate() {
                continuation.1 = f32::from(u8::from(rank == only));
            }
        }
        let first_edge = u32::try_from(self.edges.len()).expect("a tree has too many edges");
        let edge_count =
            u16::try_from(kept.len()).expect("an expansion has more than 65535 tokens");
        self.edges
            .extend(kept.into_iter().map(|(token, prior, log_prob)| Edge {
                token,
                prior,
                log_prob,
                link: Link::EMPTY,
            }));
        let node = &mut self.nodes[id.index()];
        node.terminal = false;
        node.first_edge = first_edge;
        node.edge_count = edge_count;
        node.value = expansion.value;
        node.log_sum_exp = expansion.log_sum_exp;
        node.slot = slot;
    }

    /// Gives the root its draw for [`Rule::Gumbel`](super::Rule::Gumbel): `noise` has a standard Gumbel
    /// number for each of its choices, and `simulations` more will be run. Nothing with another rule.
    ///
    /// # Panics
    /// Where `noise` is not as long as `choices(root)`.
    pub fn set_root_gumbel(&mut self, noise: Vec<f64>, simulations: usize) {
        assert_eq!(
            noise.len(),
            self.open_edges(NodeId(0)).count(),
            "a root's draw needs one number for each choice of the root"
        );
        if let super::Rule::Gumbel { considered, .. } = self.params.rule {
            self.gumbel = Some(RootGumbel::new(noise, considered, simulations));
        }
    }

    /// Mixes ready-made noise into the root's priors, `(1 - fraction) * prior + fraction * noise`.
    /// `noise` has one share for each of the root's choices and adds up to 1 (a Dirichlet draw;
    /// Silver et al. 2017, "Mastering the game of Go without human knowledge"). After
    /// [`Tree::commit`] the new root has no noise yet.
    ///
    /// # Panics
    /// Where `noise` is not as long as `choices(root)`.
    pub fn add_root_noise(&mut self, noise: &[f32], fraction: f32) {
        let edges: Vec<usize> = self.open_edges(NodeId(0)).collect();
        assert_eq!(
            noise.len(),
            edges.len(),
            "root noise needs one number for each choice of the root"
        );
        for (edge, noise) in edges.into_iter().zip(noise) {
            let edge = &mut self.edges[edge];
            edge.prior = (1.0 - fraction) * edge.prior + fraction * noise;
        }
    }

    /// Sets the root's priors to `p^(1 / temperature)`, scaled to the sum they had: above 1 flattens.
    /// `p` is the probability of a token, and the prior of an option. Overwrites noise, so comes before
    /// it. Log-probabilities stay.
    ///
    /// # Panics
    /// Where `temperature` is not above 0.
    pub fn set_root_priors_temperature(&mut self, temperature: f32) {
        assert!(temperature > 0.0, "a root temperature must be above 0");
        let by_prior = self.stages[0].chooses_by_prior();
        let open: Vec<usize> = self.open_edges(NodeId(0)).collect();
        let logit = |edge: &Edge| match by_prior {
            true => edge.prior.ln(),
            false => edge.log_prob,
        };
        let Some(top) = open.first().map(|&edge| logit(&self.edges[edge])) else {
            return;
        };
        let mass: f32 = open.iter().map(|&edge| self.edges[edge].prior).sum();
        for &edge in &open {
            let edge = &mut self.edges[edge];
            edge.prior = ((logit(edge) - top) / temperature).exp();
        }
        let scale = mass / open.iter().map(|&edge| self.edges[edge].prior).sum::<f32>();
        for edge in open {
            self.edges[edge].prior *= scale;
        }
    }

    pub(super) fn edge_of(&self, node: NodeId, token: u32) -> Option<usize> {
        self.nodes[node.index()]
            .edges()
            .find(|&edge| self.edges[edge].token == token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(probs: &[f32]) -> Tree {
        let root = Expansion {
            tokens: (0..probs.len() as u32).collect(),
            log_probs: probs.iter().map(|p| p.ln()).collect(),
            log_sum_exp: 0.0,
            value: 0.0,
        };
        Tree::new(Params::default(), root)
    }

    fn priors(tree: &Tree) -> Vec<f32> {
        tree.edges.iter().map(|edge| edge.prior).collect()
    }

    #[test]
    fn a_node_is_one_cache_line_and_an_edge_a_quarter() {
        assert_eq!(size_of::<Node>(), 64);
        assert_eq!(size_of::<Edge>(), 16);
    }

    #[test]
    fn noise_is_mixed_in() {
        let mut tree = tree(&[0.75, 0.25]);
        tree.add_root_noise(&[0.0, 1.0], 0.5);
        assert_eq!(priors(&tree), vec![0.375, 0.625]);
    }

    #[test]
    fn temperature_flattens_and_keeps_the_sum() {
        let mut tree = tree(&[0.64, 0.16]);
        tree.set_root_priors_temperature(2.0);
        let flat = priors(&tree);
        assert!((flat[0] - 2.0 / 3.0).abs() < 1e-6 && (flat[1] - 1.0 / 3.0).abs() < 1e-6);
        tree.set_root_priors_temperature(1.0);
        assert!((priors(&tree)[0] - 0.8).abs() < 1e-6);
    }
}
