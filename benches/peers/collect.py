"""Collection in PyTorch: the control of `tokenzero bench --what collect`.

By default all trees advance in step and share a pool of keys and values, one slot a token. With
--seed-pipeline one tree runs at a time, transformers encodes every prefix anew, and nothing is
remembered between simulations.
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

import search


class Decoder:
    """A Qwen2 decoder over a pool of slots."""

    def __init__(self, directory, device, dtype):
        self.config = json.load(open(f"{directory}/config.json"))
        c = self.config
        c.setdefault("head_dim", c["hidden_size"] // c["num_attention_heads"])
        self.device, self.dtype = device, dtype
        weights = load_file(f"{directory}/model.safetensors")
        weights = {k: v.to(device, dtype) for k, v in weights.items()}
        self.embedding = weights["model.embed_tokens.weight"]
        self.norm = weights["model.norm.weight"]
        self.head = weights.get("lm_head.weight", self.embedding)
        self.layers = []
        for i in range(c["num_hidden_layers"]):
            prefix = f"model.layers.{i}."
            layer = {k[len(prefix):]: v for k, v in weights.items() if k.startswith(prefix)}
            parts = [f"self_attn.{p}_proj" for p in "qkv"]
            layer["qkv"] = torch.cat([layer[f"{p}.weight"] for p in parts])
            layer["qkv_bias"] = torch.cat([layer[f"{p}.bias"] for p in parts])
            layer["gate_up"] = torch.cat([layer["mlp.gate_proj.weight"], layer["mlp.up_proj.weight"]])
            self.layers.append(layer)
        half = c["head_dim"] // 2
        inverse = c["rope_theta"] ** -(torch.arange(half) / half)
        angles = torch.outer(torch.arange(c["max_position_embeddings"]), inverse)
        self.cos, self.sin = angles.cos().to(device, dtype), angles.sin().to(device, dtype)
        self.slots, self.free = 0, 0
        self.keys, self.values = None, None

    def reserve(self, count):
        if self.free + count > self.slots:
            c, old = self.config, self.free
            self.slots = max(2 * self.slots, self.free + count, 4096)
            shape = (self.slots, c["num_key_value_heads"], c["head_dim"])
            place = {"device": self.device, "dtype": self.dtype}
            fresh = [[torch.zeros(shape, **place) for _ in self.layers] for _ in range(2)]
            for new, present in zip(fresh, (self.keys, self.values)):
                for buffer, before in zip(new, present or []):
                    buffer[:old] = before[:old]
            self.keys, self.values = fresh
        first, self.free = self.free, self.free + count
        return torch.arange(first, first + count)

    def rms(self, x, weight):
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return x.to(self.dtype) * weight

    @torch.inference_mode()
    def forward(self, tokens, positions, own, seen, mask):
        """Hidden states of single tokens that write `own` and see `seen`, `[n, t]`, under `mask`."""
        c = self.config
        heads, kv, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        tokens, positions, own, seen, mask = (
            x.to(self.device) for x in (tokens, positions, own, seen, mask))
        n, x = len(tokens), self.embedding[tokens]
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        for index, layer in enumerate(self.layers):
            qkv = F.linear(self.rms(x, layer["input_layernorm.weight"]), layer["qkv"], layer["qkv_bias"])
            qkv = qkv.view(n, heads + 2 * kv, d)
            a, b = qkv[:, :heads + kv].chunk(2, -1)
            rotated = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
            self.keys[index][own] = rotated[:, heads:]
            self.values[index][own] = qkv[:, heads + kv:]
            k, v = self.keys[index][seen], self.values[index][seen]
            q = rotated[:, :heads].reshape(n, kv, heads // kv, d)
            attended = F.scaled_dot_product_attention(
                q, k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask[:, None, None, :])
            x = x + F.linear(attended.reshape(n, heads * d), layer["self_attn.o_proj.weight"])
            gate, up = F.linear(
                self.rms(x, layer["post_attention_layernorm.weight"]), layer["gate_up"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer["mlp.down_proj.weight"])
        return self.rms(x, self.norm)

    @torch.inference_mode()
    def top(self, hidden, k):
        p = F.linear(hidden, self.head).float().softmax(-1)
        probabilities, tokens = p.topk(min(k, p.shape[-1]))
        return tokens.tolist(), probabilities.tolist()


def in_step(decoder, prompts, make, simulations, top_k, min_prior, width):
    trees = []
    for start in range(0, len(prompts), width):
        decoder.free = 0
        live = []
        for prompt in prompts[start:start + width]:
            root = search.Node(None, None)
            own = decoder.reserve(len(prompt["tokens"]))
            t = len(prompt["tokens"])
            mask = torch.ones(t, t, dtype=torch.bool).tril()
            hidden = decoder.forward(
                torch.tensor(prompt["tokens"]), torch.arange(t), own, own.expand(t, t), mask)
            tokens, probabilities = decoder.top(hidden[-1:], top_k)
            root.expand(tokens[0], probabilities[0], min_prior)
            root.slots = own.tolist()
            tree = make(prompt, root)
            trees.append(tree)
            steps = tree.run(simulations)
            node = next(steps, None)
            if node is not None:
                live.append((steps, node))
        while live:
            own = decoder.reserve(len(live))
            longest = max(len(node.parent.slots) for _, node in live) + 1
            seen, mask = [], torch.zeros(len(live), longest, dtype=torch.bool)
            for row, ((_, node), slot) in enumerate(zip(live, own.tolist())):
                node.slots = node.parent.slots + [slot]
                mask[row, :len(node.slots)] = True
                seen.append(node.slots + [slot] * (longest - len(node.slots)))
            hidden = decoder.forward(
                torch.tensor([node.token for _, node in live]),
                torch.tensor([len(node.slots) - 1 for _, node in live]), own, torch.tensor(seen), mask)
            tokens, probabilities = decoder.top(hidden, top_k)
            again = []
            for (steps, node), some, p in zip(live, tokens, probabilities):
                node.expand(some, p, min_prior)
                following = next(steps, None)
                if following is not None:
                    again.append((steps, following))
            live = again
    return trees


class SeedTree(search.Tree):
    """No memo: every leaf is played out by `generate`, every expansion encodes its prefix."""

    def __init__(self, model, prompt, *rest):
        super().__init__(search.Node(None, None), *rest)
        self.model, self.prompt = model, prompt

    def encode(self, node, top_k, min_prior):
        ids = torch.tensor([self.prompt + node.solution()], device=self.model.device)
        self.forwarded += ids.shape[1]
        probabilities, tokens = self.model(ids).logits[0, -1].float().softmax(-1).topk(top_k)
        node.expand(tokens.tolist(), probabilities.tolist(), min_prior)

    def play(self, node):
        if node.terminal:
            return self.result(node)
        prefix = self.prompt + node.solution()
        text = self.model.generate(
            torch.tensor([prefix], device=self.model.device), do_sample=False, pad_token_id=0,
            max_new_tokens=self.limit - node.depth,
            attention_mask=torch.ones(1, len(prefix), dtype=torch.long, device=self.model.device))
        solution = text[0, len(self.prompt):].tolist()
        self.forwarded += text.shape[1] - 1
        right = solution[-1] in self.stop and self.grade(solution)
        self.right += right
        return 1.0 if right else -1.0

    def go(self, simulations, top_k, min_prior):
        self.encode(self.root, top_k, min_prior)
        for _ in range(simulations):
            node, path = self.root, [self.root]
            while not node.terminal and (node.visits or (len(node.tokens) == 1 and node.parent)):
                token = node.tokens[0] if len(node.tokens) == 1 else self.select(node)
                child = node.children.get(token)
                if child is None:
                    child = node.children[token] = search.Node(token, node)
                    child.terminal = token in self.stop or child.depth >= self.limit
                    if not child.terminal:
                        self.encode(child, top_k, min_prior)
                node = child
                path.append(node)
            outcome = self.play(node)
            for node in path:
                node.visits += 1
                node.total += outcome
            self.simulations += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("prompts", help="JSON lines with question, gold and tokens")
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--simulations", type=int, default=30)
    parser.add_argument("--max-new-tokens", type=int, default=38)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed-pipeline", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    dtype = getattr(torch, args.dtype)
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    prompts = [json.loads(line) for line in open(args.prompts)][:args.questions]
    eos = json.load(open(f"{args.model}/config.json"))["eos_token_id"]
    stop = {eos} if isinstance(eos, int) else set(eos)

    def grader(prompt):
        grade = search.countdown(prompt["question"])
        return lambda solution: grade(tokenizer.decode(solution))

    repeats = []
    if args.seed_pipeline:
        from transformers import AutoModelForCausalLM
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval().to(args.device)
    else:
        decoder = Decoder(args.model, args.device, dtype)
    for _ in range(args.repeats):
        start = time.perf_counter()
        if args.seed_pipeline:
            trees = []
            with torch.inference_mode():
                for prompt in prompts:
                    tree = SeedTree(
                        model, prompt["tokens"], grader(prompt), stop, args.max_new_tokens)
                    tree.go(args.simulations, 5, 0.01)
                    trees.append(tree)
        else:
            trees = in_step(
                decoder, prompts,
                lambda prompt, root: search.Tree(root, grader(prompt), stop, args.max_new_tokens),
                args.simulations, 5, 0.01, args.rows)
        repeats.append(sum(tree.simulations for tree in trees) / (time.perf_counter() - start))
    ordered = sorted(repeats)
    print(json.dumps({
        "simulations_per_s": ordered[len(ordered) // 2],
        "low": ordered[0], "high": ordered[-1],
        "simulations": sum(tree.simulations for tree in trees),
        "solved": sum(tree.right > 0 for tree in trees),
        "forwarded": sum(tree.forwarded for tree in trees),
    }))


main()
