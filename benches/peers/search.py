"""The search of a training tree: PUCT over the most probable tokens, greedy rollouts, and the memo.

A tree is a generator: it yields the nodes that need a forward pass and is resumed once they have
one. What forwards them is the caller's business.
"""

import math


class Node:
    __slots__ = ("token", "parent", "depth", "slots", "children", "tokens", "priors", "terminal",
                 "outcome", "visits", "total")

    def __init__(self, token, parent):
        self.token, self.parent = token, parent
        self.depth = 0 if parent is None else parent.depth + 1
        self.children, self.tokens, self.priors = {}, None, None
        self.terminal, self.outcome, self.visits, self.total = False, None, 0, 0.0
        self.slots = None

    def expand(self, tokens, probabilities, min_prior):
        kept = [i for i, p in enumerate(probabilities) if i == 0 or p >= min_prior]
        total = sum(probabilities[i] for i in kept)
        self.tokens = [tokens[i] for i in kept]
        self.priors = [probabilities[i] / total for i in kept]

    def solution(self):
        tokens, node = [], self
        while node.parent is not None:
            tokens.append(node.token)
            node = node.parent
        return tokens[::-1]


class Tree:
    def __init__(self, root, grade, stop, limit, c_puct=1.5):
        self.root, self.grade, self.stop, self.limit, self.c_puct = root, grade, stop, limit, c_puct
        self.simulations, self.right, self.forwarded = 0, 0, 0

    def child(self, node, token):
        found = node.children.get(token)
        if found is None:
            found = node.children[token] = Node(token, node)
            if token in self.stop or found.depth >= self.limit:
                found.terminal = True
            else:
                self.forwarded += 1
                yield found
        return found

    def select(self, node):
        root, mean = math.sqrt(node.visits), node.total / node.visits
        best, choice = -math.inf, None
        for token, prior in zip(node.tokens, node.priors):
            child = node.children.get(token)
            if child is not None and child.visits:
                score = child.total / child.visits + self.c_puct * prior * root / (1 + child.visits)
            else:
                score = mean + self.c_puct * prior * root
            if score > best:
                best, choice = score, token
        return choice

    def result(self, node):
        if node.outcome is None:
            solution = node.solution()
            right = node.token in self.stop and self.grade(solution)
            node.outcome = 1.0 if right else -1.0
            self.right += right
        return node.outcome

    def rollout(self, node):
        """Plays greedily to the end; every node on the way learns the outcome."""
        path = [node]
        while not node.terminal and node.outcome is None:
            node = yield from self.child(node, node.tokens[0])
            path.append(node)
        outcome = self.result(node) if node.terminal else node.outcome
        for node in path:
            node.outcome = outcome
        return outcome

    def run(self, simulations):
        yield from self.rollout(self.root)
        for _ in range(simulations):
            node, path = self.root, [self.root]
            while not node.terminal and (node.visits or (len(node.tokens) == 1 and node.parent)):
                token = node.tokens[0] if len(node.tokens) == 1 else self.select(node)
                node = yield from self.child(node, token)
                path.append(node)
            outcome = yield from self.rollout(node)
            for node in path:
                node.visits += 1
                node.total += outcome
            self.simulations += 1


def countdown(question):
    """Grades a solution of `3 5 7 make 22`: every step legal, every number used once."""
    numbers, target = question.split(" make ")
    target, results = int(target), {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}

    def grade(text):
        left = [int(n) for n in numbers.split()]
        lines = [line.split() for line in text.strip().split("\n")]
        try:
            for line in lines[:-2]:
                a, op, b, equals, result = int(line[0]), line[1], int(line[2]), line[3], int(line[4])
                left.remove(a)
                left.remove(b)
                if equals != "=" or results[op](a, b) != result:
                    return False
                left.append(result)
            return left == [target] and lines[-1] == ["####", str(target)]
        except (ValueError, IndexError, KeyError):
            return False

    return grade
