"""One optimiser step of the policy in PyTorch: forward, backward, clipping, AdamW."""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), weight_decay=0.05)
    ids = torch.arange(args.rows * args.context).mul(7919).add(13) % model.config.vocab_size
    ids = ids.view(args.rows, args.context)
    half = args.context // 2
    repeats = []
    for repeat in range(args.repeats + 1):
        start = time.perf_counter()
        hidden = model.model(ids).last_hidden_state[:, half - 1:-1]
        loss = F.cross_entropy(model.lm_head(hidden).flatten(0, 1), ids[:, half:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if repeat:
            repeats.append(ids.numel() / (time.perf_counter() - start))
    repeats.sort()
    print(json.dumps({
        "tokens_per_s": repeats[len(repeats) // 2], "low": repeats[0], "high": repeats[-1]}))


main()
