"""Log-probabilities of a device against transformers in f32 on the CPU, on the same tokens.

    logits.py MODEL --tokenzero target/release/tokenzero --device cuda

transformers continues some prompts greedily in f32; `tokenzero generate --follow` says what it thinks
of every one of these tokens, each in a step of its own. Two figures: how far log-probabilities lie
apart (over those tokens that both name among the most probable), and how often the most probable
token differs, which is only right where the reference's two best are closer than --tolerance. Prints
one JSON object; exits with 1 where a token differs for any other reason.
"""

import argparse
import json
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

NAMES = ["Natalia", "Weng", "Betty", "Julie", "James", "Mark", "Tina", "Ken"]
THINGS = ["clips", "apples", "pages", "letters", "flowers", "boxes", "coins", "pens"]


def prompts(count):
    for i in range(count):
        name, thing = NAMES[i % 8], THINGS[i // 8 % 8]
        a, b = 7 + 13 * i % 41, 2 + 5 * i % 17
        yield (f"Question: {name} has {a} {thing} and gets {b} more each day. How many {thing} does "
               f"{name} have after {2 + i % 5} days?\nAnswer: Let us think step by step.")


@torch.inference_mode()
def reference(model, tokens, length, top):
    """The greedy continuation, and of each place the best ids and their log-probabilities."""
    ids, cache, follow, ranked = torch.tensor([tokens]), None, [], []
    for _ in range(length):
        out = model(ids, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        best = out.logits[0, -1].double().log_softmax(-1).topk(top)
        ranked.append(dict(zip(best.indices.tolist(), best.values.tolist())))
        follow.append(best.indices[0].item())
        ids = best.indices[:1][None]
    return follow, ranked


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--tokenzero", default="target/release/tokenzero")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--tolerance", type=float, default=0.1, help="in nats, for bfloat16")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    texts = [tokenizer(text)["input_ids"] for text in prompts(args.prompts)]
    expected = [reference(model, tokens, args.length, args.top) for tokens in texts]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for tokens, (follow, _) in zip(texts, expected):
            file.write(json.dumps({"tokens": tokens, "follow": follow}) + "\n")
        file.flush()
        done = subprocess.run(
            [args.tokenzero, "generate", "--model", args.model, "--follow", file.name,
             "--top", str(args.top), "--device", args.device, "--weights", args.weights],
            capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(texts), done.stdout
    apart, differing = [], []
    for (_, ranked), one in zip(expected, found):
        for places, tokens, log_probs in zip(ranked, one["tokens"], one["log_probs"]):
            apart += [abs(p - places[t]) for t, p in zip(tokens, log_probs) if t in places]
            first, second = list(places.items())[:2]
            if tokens[0] != first[0]:
                differing.append(first[1] - second[1])
    apart.sort()
    good = all(gap < args.tolerance for gap in differing)
    print(json.dumps({
        "places": args.prompts * args.length,
        "compared": len(apart),
        "median_apart": apart[len(apart) // 2],
        "apart_99_percent": apart[len(apart) * 99 // 100],
        "most_apart": apart[-1],
        "differing": len(differing),
        "widest_gap_where_differing": max(differing, default=0.0),
        "tolerance": args.tolerance,
        "good": good,
    }))
    sys.exit(not good)


main()
