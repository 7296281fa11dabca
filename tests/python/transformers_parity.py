"""Logits of a prompt and its greedy continuation in transformers, f32.

usage: transformers_parity.py DIR TOKENS COUNT
TOKENS is a JSON list. Prints {"logits": [[...], ...], "generated": [...]}; logits of the last 8
positions of the prompt.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(2)
directory, tokens, count = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
with torch.no_grad():
    out = model(torch.tensor([tokens]), use_cache=True)
    logits = out.logits[0, -8:].tolist()
    generated = []
    while True:
        generated.append(int(out.logits[0, -1].argmax()))
        if len(generated) == count:
            break
        step = torch.tensor([generated[-1:]])
        out = model(step, past_key_values=out.past_key_values, use_cache=True)
print(json.dumps({"logits": logits, "generated": generated}))
