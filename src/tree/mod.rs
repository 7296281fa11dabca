//! The search tree over the tokens of one question.
//!
//! A node is a state (the prompt and the tokens chosen so far), an edge one of the top-k next
//! tokens. The tree knows neither the model nor the grader: whoever drives it answers its
//! requests. It is pure and synchronous, draws no random number, and one owner drives it.
//!
//! One simulation:
//!
//! 1. [`Tree::select`] walks down by PUCT and yields a [`Leaf`].
//! 2. While the leaf is [`Status::Missing`], forward its token through the model,
//!    [`Tree::attach`] the result, [`Tree::advance`] the leaf.
//! 3. Once it is [`Status::Ready`], find the return of its node: known already
//!    ([`Tree::outcome`]), by a greedy rollout from the end of [`Tree::greedy_tail`] that
//!    [`Tree::record_rollout`] then stores, by the value ([`Tree::value`]), or both ([`mix`]).
//! 4. [`Tree::complete`] backs the return up ([`Tree::abandon`] gives the leaf up).
//!
//! Where the search moves by options of several tokens ([`Driven::options`]), a walk that needs those of
//! a boundary says [`Status::Closed`]: draw them, [`Tree::open`] it, [`Tree::advance`] the leaf.
//!
//! There a finished text can be made to go on before its end, where it is revised ([`Tree::reopen`]).
//!
//! Any number of leaves may be in flight between 1 and 4; virtual loss spreads them.
//!
//! # The selection rule
//!
//! By default ([`Rule`] has others), at a node `s` the child `a` with the largest score is chosen, the
//! earlier one (higher log-probability) among equals:
//!
//! ```text
//! score(a) = Q(a) + c_puct * P(a) * sqrt(N(s)) / (1 + N(a))
//! Q(a)     = W(a) / N(a)                           where N(a) > 0
//!          = W(s) / N(s) - first_play_urgency      otherwise
//! ```
//!
//! `N` counts simulations through a node, its own first evaluation included, so `N(s)` is
//! usually one more than the sum over its children. With `k` *other* leaves in flight through a
//! node and virtual loss `l`, its `N` is raised by `l*k`; a child's `W` is lowered by as much.
//! The parent's own `Q`, from which an unvisited child starts, stays free of virtual loss. A
//! child awaiting its expansion counts its waiting leaves in the same way. (Silver et al. 2016,
//! "Mastering the game of Go with deep neural networks and tree search", with KataGo's
//! first-play urgency.)
//!
//! A node that is passed ([`Stage::Passed`]) has no evaluation of its own: its `N` in the rule is one more
//! than its simulations, and without a simulation its value stands for `W(s) / N(s)`.

mod arena;
mod attach;
mod backup;
mod check;
mod choice;
mod commit;
mod evict;
mod expansion;
mod gate;
pub mod improved;
mod options;
mod params;
mod revise;
mod rollout;
mod rule;
mod select;
mod stage;
mod trajectory;
mod view;
mod width;

pub use arena::{NodeId, Slot, Tree};
pub use attach::Attached;
pub use check::Corrupt;
pub use choice::Pick;
pub use expansion::{Child, Expansion};
pub use gate::{Gate, entropy};
pub use options::{Action, ActionStep};
pub use params::{Driven, InvalidParams, Params, mix};
pub use rollout::{Recorded, RolloutStep, Tail};
pub use rule::Rule;
pub use select::{Leaf, Status};
pub use stage::Stage;
pub use trajectory::Trajectory;
pub use view::{Continuation, Terminals};
pub use width::Width;
