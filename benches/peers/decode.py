"""Greedy decoding, or one prefill, by transformers."""

import argparse
import json
import time

import torch
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    model = model.eval().to(args.device)
    rows = 1 if args.prefill else args.rows
    ids = torch.arange(args.context, device=args.device).mul(7919).add(13) % model.config.vocab_size
    ids = ids.expand(rows, -1)

    def now():
        if args.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    repeats = []
    with torch.inference_mode():
        for repeat in range(args.repeats + 1):
            start = now()
            if args.prefill:
                model(ids, logits_to_keep=1)
                done = ids.numel()
            else:
                cache = model(ids[:1], logits_to_keep=1).past_key_values
                cache.batch_repeat_interleave(rows)
                token = torch.ones(rows, 1, dtype=torch.long, device=args.device)
                start = now()
                for _ in range(args.steps):
                    out = model(token, past_key_values=cache)
                    cache, token = out.past_key_values, out.logits.argmax(-1)
                done = rows * args.steps
            seconds = now() - start
            if repeat:
                repeats.append(done / seconds)
    repeats.sort()
    print(json.dumps({
        "tokens_per_s": repeats[len(repeats) // 2], "low": repeats[0], "high": repeats[-1]}))


main()
