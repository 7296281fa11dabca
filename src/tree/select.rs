//! The walk from the root to a leaf.

use super::arena::Edge;
use super::rule::{Candidate, Scene, growing_factor};
use super::{Child, NodeId, Rule, Stage, Tree};

/// What a [`Leaf`] needs next. `in_flight` tells that another leaf in flight was told the same
/// before and is to do the work: wait for it and [`Tree::advance`], or [`Tree::abandon`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The child that was selected is not in the tree. Unless `in_flight`, forward `token` below
    /// `parent` and [`Tree::attach`] the result; then [`Tree::advance`].
    Missing {
        /// The last node of the path.
        parent: NodeId,
        /// The continuation selected.
        token: u32,
        /// Another leaf brings this child.
        in_flight: bool,
    },
    /// The walk is over: `node` is terminal, or no simulation went through it yet. Evaluate it
    /// and [`Tree::complete`]. With `in_flight` that is allowed too and counts twice.
    Ready {
        /// The last node of the path.
        node: NodeId,
        /// Another leaf evaluates this node and its outcome is not known yet.
        in_flight: bool,
    },
    /// The walk stands at a boundary whose options are not drawn yet. Unless `in_flight`,
    /// [`Tree::open`] it; then [`Tree::advance`].
    Closed {
        /// The last node of the path.
        node: NodeId,
        /// Another leaf brings these options.
        in_flight: bool,
    },
}

/// A simulation on its way. It holds virtual loss on its path, and perhaps the claim to the work
/// that its status names, until it is given to [`Tree::complete`] or [`Tree::abandon`].
#[derive(Debug)]
#[must_use = "a leaf holds virtual loss until it is completed or abandoned"]
pub struct Leaf {
    pub(super) path: Vec<NodeId>,
    pub(super) status: Status,
}

impl Leaf {
    /// Nodes from the root to the last one reached, at least one.
    pub fn path(&self) -> &[NodeId] {
        &self.path
    }

    /// What it needs next.
    pub fn status(&self) -> Status {
        self.status
    }

    pub(super) fn last(&self) -> NodeId {
        self.path[self.path.len() - 1]
    }
}

impl Tree {
    /// Walks from the root by the rule of the [module](super) to the first node without a visit,
    /// a terminal node or a missing child, and puts virtual loss on the way.
    pub fn select(&mut self) -> Leaf {
        let root = NodeId::new(0);
        let mut path = self.spare_paths.pop().unwrap_or_default();
        path.clear();
        path.push(root);
        self.in_flight += 1;
        self.nodes[0].in_flight += 1;
        let mut leaf = Leaf {
            path,
            status: Status::Ready {
                node: root,
                in_flight: false,
            },
        };
        self.walk(&mut leaf);
        leaf
    }

    /// Goes on from where `leaf` stands. Past a child attached meanwhile, and past a node that
    /// another leaf completed meanwhile, the walk continues; otherwise the leaf stays, and takes
    /// over the work where the leaf that was to do it gave up.
    pub fn advance(&mut self, leaf: &mut Leaf) {
        match &mut leaf.status {
            Status::Missing {
                parent,
                token,
                in_flight,
            } => {
                let edge = self.missing_edge(*parent, *token);
                let link = &mut self.edges[edge].link;
                if let Some(child) = link.child() {
                    // `attach` has passed the virtual loss on already.
                    leaf.path.push(child);
                    self.walk(leaf);
                } else if *in_flight && !link.claimed() {
                    link.set_claimed(true);
                    *in_flight = false;
                }
            }
            Status::Ready { node, in_flight } | Status::Closed { node, in_flight } => {
                if !*in_flight {
                    self.nodes[node.index()].claimed = false;
                }
                self.walk(leaf);
            }
        }
    }

    /// The edge of a child that is not in the tree. Looked up each time: edges move where a node gets more.
    pub(super) fn missing_edge(&self, parent: NodeId, token: u32) -> usize {
        let edge = self.edge_of(parent, token);
        edge.expect("a leaf waits for a child that its parent does not have")
    }

    fn walk(&mut self, leaf: &mut Leaf) {
        loop {
            let id = leaf.last();
            let node = &self.nodes[id.index()];
            let stage = self.stages[id.index()];
            let passed = leaf.path.len() > 1
                && match stage {
                    Stage::Choice => self.params.pass_single_child && node.edge_count == 1,
                    Stage::Passed | Stage::Given => true,
                    Stage::Closed | Stage::Open => false,
                };
            if node.terminal && stage == Stage::Open {
                // A revised text: the walk goes on before its end.
                self.nodes[id.index()].in_flight -= 1;
                leaf.path.pop();
                continue;
            }
            let ended = node.terminal && stage != Stage::Closed;
            if ended || (node.visits == 0 && !passed) {
                // A known outcome is no work, so nobody has to wait for it.
                let in_flight = node.claimed && node.outcome.is_nan();
                if !in_flight {
                    self.nodes[id.index()].claimed = true;
                }
                leaf.status = Status::Ready {
                    node: id,
                    in_flight,
                };
                return;
            }
            if stage == Stage::Closed {
                let in_flight = node.claimed;
                self.nodes[id.index()].claimed = true;
                leaf.status = Status::Closed {
                    node: id,
                    in_flight,
                };
                return;
            }
            let edge = if node.edge_count == 1 {
                node.first_edge as usize
            } else {
                self.best_edge(id)
            };
            let depth = node.depth + 1;
            if self.edges[edge].link.child().is_none() && depth >= self.params.max_depth {
                self.attach_at(id, edge, Child::Terminal);
            }
            let Some(child) = self.edges[edge].link.child() else {
                let selected = &mut self.edges[edge];
                let in_flight = selected.link.claimed();
                selected.link.set_claimed(true);
                selected.link.add_waiting();
                leaf.status = Status::Missing {
                    parent: id,
                    token: selected.token,
                    in_flight,
                };
                return;
            };
            self.nodes[child.index()].in_flight += 1;
            leaf.path.push(child);
        }
    }

    /// The edge that the rule selects at a node with visits, on the way of a leaf that counts among
    /// the node's leaves in flight. In f64, so that rounding does not decide.
    fn best_edge(&self, id: NodeId) -> usize {
        let node = &self.nodes[id.index()];
        let loss = f64::from(self.params.virtual_loss);
        let c_puct = f64::from(self.params.c_puct);
        let visits = f64::from(node.visits);
        let mean = match node.visits {
            0 => f64::from(node.value),
            _ => node.total / visits,
        };
        let unvisited = mean - f64::from(self.params.first_play_urgency);
        let evaluated = match self.stages[id.index()] {
            stage if stage.passes() => visits + 1.0,
            _ => visits,
        };
        // The leaf's own virtual loss does not count: alone, it must walk as if there were none.
        let all = evaluated + loss * f64::from(node.in_flight - 1);
        let considered = self.considered(id);
        let by = |choose: &dyn Fn(&Scene<'_>) -> usize| {
            let edges = match &considered {
                None => node.edges().collect(),
                Some(edges) => edges.clone(),
            };
            edges[choose(&self.scene(id, all, &self.candidates(&edges)))]
        };
        let factor = match self.params.rule {
            Rule::Puct => c_puct,
            Rule::AlphaZero { base } => growing_factor(c_puct, base, all),
            Rule::Uct => return by(&|scene| scene.uct(c_puct)),
            Rule::Gumbel { scale, .. } => return by(&|scene| scene.gumbel(scale)),
        };
        let root = all.sqrt();
        let mut best = (f64::NEG_INFINITY, node.first_edge as usize);
        let mut consider = |at: usize| {
            let Candidate {
                prior,
                visits,
                total,
            } = self.candidate(&self.edges[at]);
            let explore = factor * prior * root;
            // Most children have no visit; they are spared both divisions.
            let score = if visits > 0.0 {
                total / visits + explore / (1.0 + visits)
            } else {
                unvisited + explore
            };
            if score > best.0 {
                best = (score, at);
            }
        };
        match considered {
            None => node.edges().for_each(&mut consider),
            Some(edges) => edges.into_iter().for_each(&mut consider),
        }
        best.1
    }

    /// What [`Pick::Improved`](super::Pick::Improved) ranks the choices of a node by.
    pub(super) fn improved_scores(&self, id: NodeId) -> Vec<f64> {
        let visits = f64::from(self.nodes[id.index()].visits);
        let edges: Vec<usize> = self.open_edges(id).collect();
        let children = self.candidates(&edges);
        self.params
            .rule
            .improved(&self.scene(id, visits, &children))
    }

    fn candidates(&self, edges: &[usize]) -> Vec<Candidate> {
        let of = |&edge: &usize| self.candidate(&self.edges[edge]);
        edges.iter().map(of).collect()
    }

    fn scene<'a>(&'a self, id: NodeId, visits: f64, children: &'a [Candidate]) -> Scene<'a> {
        Scene {
            visits,
            value: self.own_value(id),
            children,
            gumbel: self.gumbel.as_ref().filter(|_| id.index() == 0),
        }
    }

    /// A child with its leaves in flight.
    fn candidate(&self, edge: &Edge) -> Candidate {
        let loss = f64::from(self.params.virtual_loss);
        let (visits, total) = match edge.link.child() {
            Some(child) => {
                let child = &self.nodes[child.index()];
                let lost = loss * f64::from(child.in_flight);
                (f64::from(child.visits) + lost, child.total - lost)
            }
            None => {
                let lost = loss * f64::from(edge.link.waiting());
                (lost, -lost)
            }
        };
        Candidate {
            prior: f64::from(edge.prior),
            visits,
            total,
        }
    }

    /// Mean of the evaluations that ended at a node with visits.
    fn own_value(&self, id: NodeId) -> f64 {
        let node = &self.nodes[id.index()];
        let (mut visits, mut total) = (f64::from(node.visits), node.total);
        for child in self.children(id).filter_map(|child| child.node) {
            let child = &self.nodes[child.index()];
            visits -= f64::from(child.visits);
            total -= child.total;
        }
        match visits > 0.0 {
            true => (total / visits).clamp(-1.0, 1.0),
            // A node that is passed without an evaluation of its own.
            false => f64::from(node.value),
        }
    }
}
