"""Runs an exported policy and value net in transformers, f32.

usage: transformers_logits.py KIND DIR TOKENS
KIND is policy, linear or mlp; TOKENS a JSON list. Prints the logits as one flat JSON list.
"""

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification

kind, directory, tokens = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
tokens = torch.tensor([tokens])


def load(auto):
    model, info = auto.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info.get(problem), (problem, info[problem])
    return model.eval()


with torch.no_grad():
    if kind == "policy":
        logits = load(AutoModelForCausalLM)(tokens).logits
    elif kind == "linear":
        model = load(AutoModelForTokenClassification)
        assert model.config.num_labels == 1, model.config.num_labels
        logits = model(tokens).logits
    else:
        hidden = load(AutoModel)(tokens).last_hidden_state
        head = load_file(f"{directory}/head.safetensors")
        hidden = hidden @ head["inner.weight"] + head["inner.bias"]
        hidden = torch.nn.functional.gelu(hidden)
        logits = hidden @ head["score.weight"].T + head["score.bias"]
print(json.dumps(logits.flatten().tolist()))
