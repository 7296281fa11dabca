"""Prints the searches in gumbel.rs: `pip install mctx jax; python3 tests/tree_reference/gumbel.py`.

The tree is this file's; which child is selected, the completed returns and the final policy are
mctx's own functions, called on one node at a time. The world is that of world.rs.
"""

import types

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
from mctx._src import action_selection, qtransforms, seq_halving

import study

DEPTH = 8


class Node:
    def __init__(self, seed, path, above):
        self.path, self.visits, self.total, self.children = path, 0, 0.0, {}
        self.terminal = bool(path) and (path[-1] == study.STOP or len(path) >= DEPTH)
        self.tokens, self.logits, self.value = [], [], above
        if not self.terminal:
            tokens, probs, self.value = study.expansion(seed, path)
            mass = sum(probs)
            self.tokens, self.logits = tokens, [float(np.log(p / mass)) for p in probs]

    def seen(self):
        children = [self.children.get(t) for t in self.tokens]
        visits = [c.visits if c else 0 for c in children]
        means = [c.total / c.visits if c and c.visits else 0.0 for c in children]
        return visits, means


def as_tree(node, gumbel=None):
    visits, means = node.seen()
    one = lambda x: jnp.asarray([x])
    return types.SimpleNamespace(
        children_visits=one(visits),
        children_prior_logits=one(node.logits),
        raw_values=one(node.value),
        qvalues=lambda _: jnp.asarray(means),
        root_invalid_actions=jnp.zeros(len(node.tokens)),
        extra_data=types.SimpleNamespace(root_gumbel=gumbel),
    )


def gumbel_of(seed, count):
    uniform = [(study.path_hash(seed, [], 50 + i) % (1 << 20) + 0.5) / (1 << 20) for i in range(count)]
    return jnp.asarray([-np.log(-np.log(u)) for u in uniform])


def search(seed, simulations, considered, rescale):
    def transform(tree, index):
        return qtransforms.qtransform_completed_by_mix_value(
            tree, index, rescale_values=rescale, value_scale=0.1 if rescale else 0.05
        )

    root = Node(seed, [], 0.0)
    gumbel = gumbel_of(seed, len(root.tokens))
    # The root's own evaluation is the first simulation.
    root.visits, root.total = 1, root.value
    for _ in range(simulations):
        path, node = [root], root
        while not node.terminal and node.visits > 0:
            if node is root:
                action = action_selection.gumbel_muzero_root_action_selection(
                    None,
                    as_tree(node, gumbel),
                    0,
                    num_simulations=simulations,
                    max_num_considered_actions=considered,
                    qtransform=transform,
                )
            else:
                action = action_selection.gumbel_muzero_interior_action_selection(
                    None, as_tree(node), 0, 0, qtransform=transform
                )
            token = node.tokens[int(action)]
            if token not in node.children:
                node.children[token] = Node(seed, node.path + [token], node.value)
            node = node.children[token]
            path.append(node)
        for x in path:
            x.visits += 1
            x.total += node.value
    visits, _ = root.seen()
    tree = as_tree(root, gumbel)
    completed = transform(tree, 0)
    logits = jnp.asarray(root.logits)
    scores = seq_halving.score_considered(
        max(visits), gumbel, logits, completed, jnp.asarray(visits)
    )
    policy = jax.nn.softmax(logits + completed)
    shares = ", ".join(f"{float(p):.9f}" for p in policy)
    flag = "true" if rescale else "false"
    print(
        f"    ({seed}, {simulations}, {considered}, {flag}, &{visits}, "
        f"{int(jnp.argmax(scores))}, &[{shares}]),"
    )


for seed in range(1, 13):
    search(seed, [8, 16, 50][seed % 3], 2 + seed % 3, seed % 2 == 0)
