"""Prints the counts in study.rs: `python3 tests/tree_reference/study.py`.

The search is the Python study's, unchanged but for the model, which is the random world of
world.rs here. Nodes are computed at once instead of in lock-step batches.
"""

import math

MASK = (1 << 64) - 1
STOP = 0


# The world: the same integer arithmetic as in world.rs.


def splitmix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def path_hash(seed, path, salt):
    x = splitmix(seed)
    for token in path:
        x = splitmix(x ^ (token + 1))
    return splitmix(x ^ (salt << 32))


def expansion(seed, path):
    k = 1 if path_hash(seed, path, 1) % 10 < 2 else 2 + path_hash(seed, path, 2) % 4
    base = path_hash(seed, path, 3) % 11
    weighted = [(1 + path_hash(seed, path, 10 + i) % (1 << 20), (base + i) % 11) for i in range(k)]
    weighted.sort(key=lambda x: (-x[0], x[1]))
    mass = sum(w for w, _ in weighted) + path_hash(seed, path, 4) % (1 << 19)
    value = (path_hash(seed, path, 5) % 2049) / 1024 - 1
    return [t for _, t in weighted], [w / mass for w, _ in weighted], value


def grade(seed, path):
    return 1.0 if path_hash(seed, path, 6) % 2 else -1.0


# The study's search.


class Node:
    def __init__(self, tok, par):
        self.tok, self.par, self.term, self.rew = tok, par, False, None
        self.N, self.W, self.v, self.ch = 0, 0.0, 0.0, {}


def sol_of(n):
    o = []
    while n.par is not None:
        o.append(n.tok)
        n = n.par
    return o[::-1]


class Tree:
    def __init__(self, seed, max_depth, pmin):
        self.seed, self.max_depth, self.pmin, self.fwd = seed, max_depth, pmin, 0
        self.root = Node(-1, None)
        self.fill(self.root)

    def fill(self, n):
        toks, p, n.v = expansion(self.seed, sol_of(n))
        kept = [j for j in range(len(toks)) if j == 0 or p[j] >= self.pmin]
        s = sum(p[j] for j in kept)
        n.toks, n.pri, n.am = [toks[j] for j in kept], [p[j] / s for j in kept], toks[0]


def child(t, n, tok):
    c = n.ch.get(tok)
    if c is None:
        c = Node(tok, n)
        n.ch[tok] = c
        if tok == STOP or len(sol_of(n)) >= t.max_depth - 1:
            c.term, c.v, c.toks, c.pri = True, n.v, [], []
        else:
            t.fwd += 1
            t.fill(c)
    return c


def rollout(t, n):
    path = [n]
    while n.rew is None and not n.term:
        n = child(t, n, n.am)
        path.append(n)
    if n.rew is None:
        n.rew = grade(t.seed, sol_of(n))
    for x in path:
        x.rew = n.rew
    return n.rew


def select(n, c, fpu):
    sq = math.sqrt(n.N)
    best, b = -1e9, None
    q0 = n.W / n.N if n.N else 0
    for tok, p in zip(n.toks, n.pri):
        x = n.ch.get(tok)
        if x is None or x.N == 0:
            s = (q0 - fpu) + c * p * sq
        else:
            s = x.W / x.N + c * p * sq / (1 + x.N)
        if s > best:
            best, b = s, tok
    return b


def simulate(t, root, c, fpu, mode):
    n, path = root, [root]
    while n.N > 0 and not n.term:
        n = child(t, n, select(n, c, fpu))
        path.append(n)
        while len(n.toks) == 1 and not n.term:
            n = child(t, n, n.toks[0])
            path.append(n)
    r = rollout(t, n) if mode == "roll" else n.v
    for x in path:
        x.N += 1
        x.W += r


def best_child(n, by):
    b, bs = None, -1e9
    for tok in n.toks:
        x = n.ch.get(tok)
        if x is None or x.N == 0:
            continue
        s = x.N + 0.5 * (x.W / x.N) if by == "N" else x.W / x.N
        if s > bs:
            bs, b = s, tok
    return b


def traces(t):
    out, seen, stack, terms = [], set(), [t.root], []
    while stack:
        n = stack.pop()
        if n.term:
            terms.append(n)
        stack += list(n.ch.values())
    for e in terms:
        if e.rew is None:
            continue
        targets, weights, n = [], [], e
        while n is not None:
            own = id(n) not in seen
            seen.add(id(n))
            q = (n.W / n.N) if n.N > 0 else n.rew
            if n.rew is None and n.N == 0:
                own, q = False, 0
            targets.append(q)
            weights.append(max(1, n.N) if own else 0)
            n = n.par
        out.append((targets, weights))
    return out


# What study.rs holds.


def run(seed, mode, sims, c, fpu, pmin, max_depth):
    t = Tree(seed, max_depth, pmin)
    for _ in range(sims):
        simulate(t, t.root, c, fpu, mode)
    return t


def visits(n):
    return [n.N] + [v for tok in n.toks if tok in n.ch for v in visits(n.ch[tok])]


def fnv(numbers):
    x = 0xCBF29CE484222325
    for n in numbers:
        x = ((x ^ n) * 0x100000001B3) & MASK
    digits = "%016x" % x
    return "0x" + "_".join(digits[i : i + 4] for i in range(0, 16, 4))


def best_path(t, by):
    n, o = t.root, ""
    while not n.term and (b := best_child(n, by)) is not None:
        n = n.ch[b]
        o += "%x" % b
    return f'"{o}"'


if __name__ == "__main__":
    for seed in range(1, 25):
        mode = "roll" if seed % 2 else "v"
        c, fpu = [1.5, 1.0, 2.0][seed % 3], [0.0, 0.2][seed // 2 % 2]
        pmin, max_depth = [0.01, 0.05][seed // 4 % 2], [12, 20][seed % 2]
        t = run(seed, mode, 200, c, fpu, pmin, max_depth)
        v, tr = visits(t.root), traces(t)
        row = [seed, str(mode == "roll").lower(), c, fpu, pmin, max_depth, len(v), fnv(v), t.fwd]
        row += [f"{t.root.W:.3f}", best_path(t, "N"), best_path(t, "Q"), len(tr)]
        row += [sum(sum(w) for _, w in tr), f"{sum(sum(g) for g, _ in tr):.3f}"]
        print("    Study(" + ", ".join(map(str, row)) + "),")
    print(visits(run(101, "roll", 40, 1.5, 0.0, 0.01, 12).root))
    print(visits(run(102, "v", 60, 1.0, 0.2, 0.01, 12).root))
